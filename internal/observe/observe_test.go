package observe

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/observe/follow"
	"github.com/accessbroker/accessbroker/internal/usage"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// What streams tell, step by step, and the window that comes of it.
func TestWindow(t *testing.T) {
	type heard struct {
		stream        string
		first, newest int
		follows       bool
	}
	for name, c := range map[string]struct {
		streams      int
		heard        []heard
		want         string
		now          int
		breaksBefore int // of the steps
	}{
		"one stream":                        {1, []heard{{"a", 5, 10, false}, {"a", 11, 20, false}}, "5 to 20, 0 gaps", 100, 0},
		"heard before the grant":            {1, []heard{{"a", -50, -40, false}, {"a", -10, 20, false}}, "0 to 20, 0 gaps", 100, 0},
		"silence":                           {1, []heard{{"a", 5, 10, false}, {"a", 101, 120, false}}, "5 to 120, 1 gaps", 200, 0},
		"silence that is short enough":      {1, []heard{{"a", 5, 10, false}, {"a", 100, 120, false}}, "5 to 120, 0 gaps", 200, 0},
		"silence in a log that is followed": {1, []heard{{"a", 5, 10, true}, {"a", 500, 520, true}}, "5 to 520, 0 gaps", 900, 0},
		"a log that was cut":                {1, []heard{{"a", 5, 10, true}, {"a", 500, 520, true}}, "5 to 520, 1 gaps", 900, 2},
		"two streams, one behind":           {1, []heard{{"a", 5, 30, false}, {"b", 7, 20, false}}, "7 to 20, 0 gaps", 100, 0},
		"two are wanted, one is heard":      {2, []heard{{"a", 5, 30, false}}, "never", 100, 0},
		"two are wanted and heard":          {2, []heard{{"a", 5, 30, false}, {"b", 5, 40, false}}, "5 to 30, 0 gaps", 100, 0},
		"out of order":                      {1, []heard{{"a", 5, 30, false}, {"a", 10, 20, false}}, "5 to 30, 0 gaps", 100, 0},
		"the future":                        {1, []heard{{"a", 5, 5000, false}}, "5 to 60, 0 gaps", 60, 0},
		"no time at all":                    {1, []heard{{"a", 0, 0, false}}, "never", 60, 0},
	} {
		o := &Observer{Streams: c.streams, Clock: clocktesting.NewFakeClock(at(c.now))}
		g, u := &v1alpha1.AccessGrant{}, &v1alpha1.AccessUsage{}
		g.Spec.NotBefore = metav1.NewTime(noon)
		for i, h := range c.heard {
			if c.breaksBefore == i+1 {
				o.streams.broke(h.stream)
			}
			first, newest := at(h.first), at(h.newest)
			if h.newest == 0 {
				first, newest = time.Time{}, time.Time{}
			}
			o.streams.heard(h.stream, first, newest, at(c.now), h.follows)
			o.add(u, g, nil, false)
			o.add(u, g, nil, false) // once more changes nothing
		}
		got := "never"
		if s := u.Status; s.Since != nil {
			got = fmt.Sprintf("%.0f to %.0f, %d gaps", s.Since.Sub(noon).Seconds(), s.Until.Sub(noon).Seconds(), s.Gaps)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func partOf(n int) *part {
	p := &part{stream: "a"}
	for i := range n {
		e := usage.Event{
			ID: fmt.Sprint(i), Stage: "ResponseComplete", User: "alice", Verb: "get", Resource: "pods", Namespace: "payments", Name: "x",
			Received: at(i), Stamped: at(i), Code: 200, Allowed: true,
		}
		identity := usage.Identity(&e)
		p.events, p.batch = append(p.events, event{e, identity, false}), p.batch+identity
	}
	return p
}

// A part that comes again counts once: as the batch that it was, as the piece of a
// log, and event by event where it comes another way.
func TestAgain(t *testing.T) {
	o := &Observer{Streams: 1, Clock: clocktesting.NewFakeClock(at(60))}
	g := &v1alpha1.AccessGrant{}
	g.Spec.NotBefore = metav1.NewTime(noon)
	to := func(p *part, from, to int64) *part {
		p.from, p.to = follow.Position{File: noon, Offset: from}, follow.Position{File: noon, Offset: to}
		return p
	}
	elsewhere := func(p *part) *part {
		p.stream = "b"
		return p
	}
	for name, c := range map[string]struct {
		parts []*part
		want  int64
	}{
		"once":                           {[]*part{partOf(5)}, 5},
		"a batch again":                  {[]*part{partOf(5), partOf(5)}, 5},
		"a large batch again":            {[]*part{partOf(3000), partOf(3000)}, 3000},
		"a piece of a log again":         {[]*part{to(partOf(3000), 0, 10), to(partOf(3000), 0, 10)}, 3000},
		"a piece of a log within one":    {[]*part{to(partOf(3000), 0, 10), to(partOf(2000), 0, 5)}, 3000},
		"batches that overlap":           {[]*part{partOf(5), partOf(8)}, 8},
		"another stream":                 {[]*part{to(partOf(1000), 0, 10), elsewhere(to(partOf(1000), 0, 10))}, 1000},
		"another stream, in other parts": {[]*part{to(partOf(700), 0, 10), elsewhere(partOf(300)), elsewhere(partOf(700))}, 700},
	} {
		u := &v1alpha1.AccessUsage{}
		for _, p := range c.parts {
			o.add(u, g, []*part{p}, false)
		}
		if u.Status.Calls != c.want || len(u.Status.RecentEvents) > 16384 {
			t.Errorf("%s: %d calls, want %d; %d characters remember events", name, u.Status.Calls, c.want, len(u.Status.RecentEvents))
		}
	}
}

func TestLastStamp(t *testing.T) {
	for text, want := range map[string]time.Time{
		`{"stageTimestamp":"2026-11-26T11:59:00.000001Z","annotations":{}}`:                              noon.Add(-time.Minute + time.Microsecond),
		`{"stageTimestamp":"2026-11-26T11:58:00Z"}` + "\n" + `{"stageTimestamp":"2026-11-26T11:59:00Z"}`: noon.Add(-time.Minute),
		`{"log":"{\"stageTimestamp\":\"2026-11-26T11:59:00Z\"}"}`:                                        noon.Add(-time.Minute),
		`{"stageTimestamp":"2999-01-01T00:00:00Z"}`:                                                      noon, // not later than now
		`{"stageTimestamp":"yesterday"}`:                                                                 {},
		`{"stageTimestamp":"` + strings.Repeat("1", 100) + `"}`:                                          {},
		`{"stageTimestamp":"2026-11-26T11:5`:                                                             {},
		``:                                                                                               {},
	} {
		if got := lastStamp([]byte(text), noon); !got.Equal(want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestTail(t *testing.T) {
	whole := strings.Repeat("0123456789", 10_000)
	for name, r := range map[string]io.Reader{"at once": strings.NewReader(whole), "byte by byte": iotest.OneByteReader(strings.NewReader(whole)), "in halves": iotest.HalfReader(strings.NewReader(whole))} {
		end := &tail{from: r}
		if all, err := io.ReadAll(end); err != nil || string(all) != whole || string(end.end) != whole[len(whole)-maxTail:] {
			t.Errorf("%s: %v, %d read, %d kept", name, err, len(all), len(end.end))
		}
	}
}

func TestMinute(t *testing.T) {
	var m minute
	for i := range 50 {
		m.add(at(i))
	}
	for after, want := range map[int]int64{49: 50, 60: 50, 80: 30, 200: 0} {
		n := m
		if got := n.sum(at(after)); got < want-2 || got > want+2 {
			t.Errorf("after %d s: %d, want about %d", after, got, want)
		}
	}
}

// What is delivered before all grants are known waits, or comes again: it is not
// passed over.
func TestDeliveriesWaitForTheGrants(t *testing.T) {
	o := &Observer{Clock: clocktesting.NewFakeClock(noon)}
	if err := o.Setup(prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Deliver(ctx, "a", strings.NewReader("")); err == nil {
		t.Error("it is taken before")
	}
	close(o.ready)
	if err := o.Deliver(t.Context(), "a", strings.NewReader("")); err != nil {
		t.Error(err)
	}
}

// Names that look like those of grants cost a bounded number of calls.
func TestLookUpsAreBounded(t *testing.T) {
	var l lookUps
	made := 0
	for i := range 100_000 {
		name := fmt.Sprint(i % 20_000)
		if l.may(name, noon) {
			made++
			l.failed(name, noon)
		}
	}
	if made != lookUpsEach || len(l.inVain) > maxLookUps {
		t.Errorf("%d were looked up, %d are remembered", made, len(l.inVain))
	}
	if !l.may("0", noon.Add(lookUpAgain)) {
		t.Error("a name that was no grant's never becomes one's")
	}
}
