package usage

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// stream is a log as API servers write it, over and over: of every perHundred events
// one is of a grant, the others are of controllers and kubelets.
type stream struct {
	log  []byte
	left int // bytes
	at   int
}

func newStream(b testing.TB, events, perHundred int) *stream {
	var log bytes.Buffer
	for i := range 1000 {
		log.WriteString(encoded(b, call(id(fmt.Sprintf("7c9a0b4e-%012d", i)), func(e *auditv1.Event) {
			if i%100 >= perHundred {
				e.User.Username = fmt.Sprintf("system:node:n%d", i%50)
				e.Annotations[reasonKey] = fmt.Sprintf(`RBAC: allowed by ClusterRoleBinding "system:controller:c%d" of ClusterRole "system:controller:c%d" to ServiceAccount "c%d/kube-system"`, i%40, i%40, i%40)
			}
		})))
		log.WriteByte('\n')
	}
	return &stream{log: log.Bytes(), left: log.Len() / 1000 * events}
}

func (s *stream) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.left)], s.log[s.at:])
	s.left, s.at = s.left-n, (s.at+n)%len(s.log)
	return n, nil
}

func BenchmarkRead(b *testing.B) {
	grants := make([]string, 500)
	for i := range grants {
		grants[i] = fmt.Sprintf("edit-%d-x7k2p", i)
	}
	grants = append(grants, "fix")
	for name, bm := range map[string]struct {
		filter     *Filter
		perHundred int
	}{
		"one in a hundred of a grant": {NewFilter(grants, nil), 1},
		"by binding or user":          {NewFilter(grants, []string{"bob", "carol"}), 1},
		"all of grants":               {NewFilter(grants, nil), 100},
		"unfiltered":                  {nil, 1},
	} {
		b.Run(name, func(b *testing.B) {
			s := newStream(b, b.N, bm.perHundred)
			b.SetBytes(int64(len(s.log) / 1000))
			b.ReportAllocs()
			b.ResetTimer()
			if _, err := Read(s, bm.filter, func(*Event) error { return nil }); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// Memory does not grow with the number of events.
func TestReadMemory(t *testing.T) {
	heap := func(events int) uint64 {
		var peak, n uint64
		if _, err := Read(newStream(t, events, 50), nil, func(*Event) error {
			if n++; n%10_000 == 0 {
				var now runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return peak
	}
	few, many := heap(20_000), heap(200_000)
	if many > few+1<<20 {
		t.Errorf("%d bytes for 20,000 events, %d for 200,000", few, many)
	}
}

func BenchmarkTally(b *testing.B) {
	tally, n := NewTally(), 0
	b.ReportAllocs()
	if _, err := Read(newStream(b, b.N, 100), nil, func(e *Event) error {
		// What repeats is no copy.
		n++
		e.Received = e.Received.Add(time.Duration(n))
		tally.Add(e)
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
