package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/notify"
	"github.com/accessbroker/accessbroker/test/kit"
)

// received is one request to a sink: an event, or a text.
type received struct {
	header http.Header
	body   []byte
	event  *event.Event
	data   notify.Data
	text   string
}

// sink is a receiver as somebody might write it, with the CloudEvents SDK.
type sink struct {
	*httptest.Server
	down atomic.Bool
	// hung is how many requests hang now.
	hung atomic.Int32

	mu    sync.Mutex
	got   []received // and answered with 2xx
	tries map[string]int
	wrong []string
}

// newSink is a sink that answers 204, or what answer says; 0 is no answer.
func newSink(answer func(*sink, received) int) *sink {
	s := &sink{tries: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if s.down.Load() {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		r, err := read(req)
		status := http.StatusNoContent
		if err == nil && answer != nil {
			status = answer(s, r)
		}
		if status == 0 {
			s.hung.Add(1)
			defer s.hung.Add(-1)
			<-req.Context().Done()
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.wrong = append(s.wrong, err.Error())
		} else if status == http.StatusNoContent {
			s.got = append(s.got, r)
		}
		w.WriteHeader(status)
	}))
	return s
}

func read(req *http.Request) (r received, err error) {
	r.header = req.Header
	if r.body, err = io.ReadAll(req.Body); err != nil {
		return r, err
	}
	if req.Header.Get("Content-Type") == "application/json; charset=utf-8" {
		var message struct{ Text string }
		err = json.Unmarshal(r.body, &message)
		r.text = message.Text
		return r, err
	}
	req.Body = io.NopCloser(bytes.NewReader(r.body))
	if r.event, err = cehttp.NewEventFromHTTPRequest(req); err != nil {
		return r, err
	}
	if err := r.event.Validate(); err != nil {
		return r, err
	}
	return r, r.event.DataAs(&r.data)
}

// wellAtTheThird fails twice for every event that asks for it.
func wellAtTheThird(s *sink, r received) int {
	if !strings.Contains(r.data.Reason, "flaky") {
		return http.StatusNoContent
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries[r.event.ID()]++; s.tries[r.event.ID()] < 3 {
		return http.StatusInternalServerError
	}
	return http.StatusNoContent
}

func never(*sink, received) int { return 0 }

// of lists the events of an object, in the order in which they came.
func (s *sink) of(uid types.UID) []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []received
	for _, r := range s.got {
		if r.event != nil && strings.HasPrefix(r.event.ID(), string(uid)+".") {
			out = append(out, r)
		}
	}
	return out
}

func (s *sink) ids() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for _, r := range s.got {
		out[r.event.ID()]++
	}
	return out
}

// wait waits until the last of some types has come for an object, and checks
// that they came once each, and in order.
func (s *sink) wait(t *testing.T, uid types.UID, want ...string) []received {
	t.Helper()
	var events []received
	var got []string
	err := lab.Until(t.Context(), kit.Patience, func(context.Context) (bool, error) {
		events, got = s.of(uid), nil
		for _, r := range events {
			got = append(got, strings.TrimPrefix(r.event.Type(), "dev.accessbroker."))
		}
		return slices.Contains(got, want[len(want)-1]), nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v; %v", got, want, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrong != nil {
		t.Errorf("what came is wrong: %v", s.wrong)
	}
	return events
}

// waitFor waits until an event of a type has come for an object.
func (s *sink) waitFor(t *testing.T, uid types.UID, want string) {
	t.Helper()
	kit.Eventually(t, want, func(context.Context) (bool, error) {
		return slices.ContainsFunc(s.of(uid), func(r received) bool { return r.event.Type() == "dev.accessbroker."+want }), nil
	})
}

// waitText waits for a message that says all of some things.
func (s *sink) waitText(t *testing.T, parts ...string) string {
	t.Helper()
	var text string
	kit.Eventually(t, fmt.Sprintf("a message that says %q", parts), func(context.Context) (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range s.got {
			missing := slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(r.text, part) })
			if !missing {
				text = r.text
			}
		}
		return text != "", nil
	})
	return text
}

// verify checks a signature as docs/notifications.md says.
func verify(r received, secret string, now time.Time) error {
	var seconds int64
	var signature string
	if _, err := fmt.Sscanf(r.header.Get(notify.SignatureHeader), "t=%d,v1=%s", &seconds, &signature); err != nil {
		return err
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > 5*time.Minute || age < -5*time.Minute {
		return fmt.Errorf("signed %s ago", age)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", seconds, r.body)
	sent, err := hex.DecodeString(signature)
	if err != nil || !hmac.Equal(sent, mac.Sum(nil)) {
		return fmt.Errorf("the signature is wrong")
	}
	return nil
}
