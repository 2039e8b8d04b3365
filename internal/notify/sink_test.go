package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
)

func TestSend(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef"
	r := pending()
	step := ofRequest(r, nil)[0]
	var got *http.Request
	var body []byte
	answer := http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got = req
		body, _ = io.ReadAll(req.Body)
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(answer)
	}))
	defer server.Close()
	send := func(s Sink) error {
		return s.send(t.Context(), newHTTPClient(), "x", r, step, start)
	}

	signed := Sink{Name: "a", URL: server.URL + "/hook", SecretFile: write(t, secret+"\n")}
	if err := send(signed); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", start.Unix(), body)
	if want := fmt.Sprintf("t=%d,v1=%s", start.Unix(), hex.EncodeToString(mac.Sum(nil))); got.Header.Get(SignatureHeader) != want {
		t.Errorf("signature %q, want %q", got.Header.Get(SignatureHeader), want)
	}
	if got.Method != http.MethodPost || got.URL.Path != "/hook" || got.Header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	if err := send(Sink{URL: server.URL, Format: FormatSlack}); err != nil || got.Header.Get(SignatureHeader) != "" || !strings.HasPrefix(string(body), `{"text":"*alice* asks`) {
		t.Errorf("%v %v %s", err, got.Header, body)
	}

	for status, wait := range map[int]time.Duration{302: 7 * time.Second, 308: 7 * time.Second, 400: 7 * time.Second, 429: 7 * time.Second, 500: 7 * time.Second} {
		answer = status
		err := send(signed)
		if err == nil || err.Error() != fmt.Sprintf("the sink answered %d", status) || pause(0, err) != wait {
			t.Errorf("%d: %v, wait %s", status, err, pause(0, err))
		}
		if got.URL.Path == "/elsewhere" {
			t.Error("the redirect was followed")
		}
	}

	if err := send(Sink{URL: server.URL, SecretFile: "/none"}); err == nil {
		t.Error("sent without the signature that it should have")
	}
	server.Close()
	hidden := strings.Replace(server.URL, "://", "://user:hunter2@", 1) + "/hunter3"
	if err := send(Sink{URL: hidden}); err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("%v", err)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]time.Duration{0: firstBackoff, 1: 2 * firstBackoff, 6: 32 * time.Second, 7: maxBackoff, 1000: maxBackoff} {
		if got := backoff(failures); got != want {
			t.Errorf("after %d: %s, want %s", failures, got, want)
		}
	}
}

func testQueue(url string, types ...string) *queue {
	sent := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sent"}, []string{"sink", "result"})
	pending := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pending"}, []string{"sink"})
	q := newQueue(Sink{Name: "a", URL: url, Types: types}, "x", clock.RealClock{}, sent, pending)
	q.cursor = newCursor(start)
	return q
}

// What a sink always refuses keeps nothing else from it, and each object's
// transitions come in order.
func TestRefusedIsNotInTheWay(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string
	refusals := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(string(body), "poison") {
			refusals++
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, phase := range []string{"pending", "approved", "active", "expired"} {
			if strings.Contains(string(body), `"dev.accessbroker.request.`+phase+`"`) {
				got = append(got, phase)
			}
		}
	}))
	defer server.Close()
	q := testQueue(server.URL, "dev.accessbroker.request.pending", "dev.accessbroker.request.approved", "dev.accessbroker.request.expired")
	bad := pending()
	bad.UID, bad.Spec.Reason = "bad", "poison"
	good := request(v1alpha1.RequestExpired, true, is(v1alpha1.ConditionPolicyMatched, "True", 1), is(v1alpha1.ConditionApproved, "True", 2),
		is(v1alpha1.ConditionGranted, "False", 3), is(v1alpha1.ConditionEnded, "True", 3))
	q.add(bad, ofRequest(bad, nil), false)
	q.add(good, ofRequest(good, nil), true)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { q.run(ctx) })
	err := lab.Until(ctx, 20*time.Second, func(context.Context) (bool, error) {
		return testutil.ToFloat64(q.waiting) == 1, nil
	})
	if err != nil {
		t.Fatal("the others wait for the one that is refused")
	}
	cancel()
	running.Wait()
	if strings.Join(got, " ") != "pending approved expired" || refusals == 0 {
		t.Errorf("got %v, and %d refusals", got, refusals)
	}
	if n := testutil.ToFloat64(q.delivered); n != 3 {
		t.Errorf("%v are said to be delivered, want 3", n)
	}
}

// Of what is deleted before it is told no more is kept than a bound.
func TestDeletedIsBounded(t *testing.T) {
	t.Parallel()
	q := testQueue("http://localhost:1")
	for i := range maxAway + 5 {
		g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprint(i))}}
		ended := at(1)
		g.Status = v1alpha1.AccessGrantStatus{Phase: v1alpha1.GrantEnded, EndedTime: &ended}
		q.add(g, ofGrant(g), false)
		q.deleted(g.UID)
	}
	q.deleted("unknown")
	if len(q.pending) != maxAway || testutil.ToFloat64(q.dropped) != 5 || testutil.ToFloat64(q.waiting) != maxAway {
		t.Errorf("%d kept, %v dropped", len(q.pending), testutil.ToFloat64(q.dropped))
	}
	object, step, _ := q.next("0")
	q.told(object.GetUID(), step)
	if q.away != maxAway-1 || len(q.pending) != maxAway-1 {
		t.Errorf("%d away, %d pending", q.away, len(q.pending))
	}
}

// Of what has ended, and so is in no cache, no more is kept whole than a bound:
// of the rest the name, to read it again.
func TestEndedIsKeptByName(t *testing.T) {
	t.Parallel()
	q := testQueue("http://localhost:1")
	grantOf := func(i int, phase v1alpha1.GrantPhase) *v1alpha1.AccessGrant {
		moment := at(1)
		return &v1alpha1.AccessGrant{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("g-", i), UID: types.UID(fmt.Sprint(i))},
			Spec:       v1alpha1.AccessGrantSpec{Reason: "INC-42"},
			Status:     v1alpha1.AccessGrantStatus{Phase: phase, GrantedTime: &moment, EndedTime: &moment},
		}
	}
	for i := range maxAway + 5 {
		active := grantOf(i, v1alpha1.GrantActive)
		q.add(active, ofGrant(active), false)
	}
	if q.away != 0 {
		t.Errorf("%d are said to be away, and all are in the cache", q.away)
	}
	for i := range maxAway + 5 {
		ended := grantOf(i, v1alpha1.GrantEnded)
		q.add(ended, ofGrant(ended), false)
		q.add(ended, ofGrant(ended), true) // seen twice, told once
	}
	if q.away != maxAway || testutil.ToFloat64(q.waiting) != 2*(maxAway+5) || testutil.ToFloat64(q.dropped) != 0 {
		t.Errorf("%d are kept whole, %v transitions wait, %v were dropped", q.away, testutil.ToFloat64(q.waiting), testutil.ToFloat64(q.dropped))
	}
	whole, _, _ := q.next("0")
	if g, ok := whole.(*v1alpha1.AccessGrant); !ok || g.Spec.Reason == "" {
		t.Errorf("the first is not kept whole: %+v", whole)
	}
	last := grantOf(maxAway+4, v1alpha1.GrantEnded)
	kept, _, _ := q.next(last.UID)
	if name, ok := kept.(nameOnly); !ok || name.GetName() != last.Name || name.GetUID() != last.UID || name.Object.(*v1alpha1.AccessGrant).Spec.Reason != "" {
		t.Errorf("the last is kept as %+v", kept)
	}
}

// A cursor that says nothing new is not written.
func TestCursorIsMovedForAReason(t *testing.T) {
	t.Parallel()
	q := testQueue("http://localhost:1")
	if q.advance(start.Add(time.Hour)) {
		t.Error("nothing was told, and little time passed")
	}
	if !q.advance(start.Add(saveAtLeast + settled)) {
		t.Error("the cursor falls back")
	}
	r := pending()
	q.add(r, ofRequest(r, nil), false)
	_, step, _ := q.next(r.UID)
	q.told(r.UID, step)
	if !q.advance(start.Add(saveAtLeast+settled)) || q.advance(start.Add(saveAtLeast+settled)) {
		t.Error("what was told is to be written, once")
	}
}
