package observe

import (
	"bytes"
	"io"
	"maps"
	"sync"
	"time"
)

// silence is how long a stream may be silent before what came in between counts as
// not observed. The API server tries for longer than a minute to deliver a batch.
const silence = 90 * time.Second

// stream is what this process has heard of a stream of audit events.
type stream struct {
	// since when it was heard without an interruption, and the newest moment of which
	// it told; by the clocks of API servers.
	since, newest time.Time
}

type streams struct {
	mu   sync.Mutex
	of   map[string]stream
	lost map[string]int64
}

// heard notes that a stream has told all up to a moment. first is the oldest moment
// in what came now, follows that nothing can be missing between that and what came
// before.
func (s *streams) heard(name string, first, newest, now time.Time, follows bool) {
	if newest.IsZero() {
		return
	}
	if newest.After(now) {
		newest = now // whatever an event says
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.of[name]
	if first.IsZero() || first.After(newest) {
		first = newest
	}
	if !ok || !follows && first.Sub(known.newest) > silence {
		known = stream{since: first}
	}
	known.newest = latest(known.newest, newest)
	if s.of == nil {
		s.of = map[string]stream{}
	}
	s.of[name] = known
}

// lose notes that events of a stream came and could not be read.
func (s *streams) lose(name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil {
		s.lost = map[string]int64{}
	}
	s.lost[name] += int64(n)
}

// allLost counts what was lost, by stream.
func (s *streams) allLost() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.lost)
}

// broke notes that something of a stream was lost before what comes next.
func (s *streams) broke(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, name)
}

func (s *streams) all() map[string]stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.of)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// tail keeps the end of what is read, to find the newest time in it that was not
// decoded.
type tail struct {
	from io.Reader
	end  []byte
}

// maxTail is more than the rest of an event after its time.
const maxTail = 32 << 10

func (t *tail) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	switch {
	case n >= maxTail:
		t.end = append(t.end[:0], p[n-maxTail:n]...)
	default:
		t.end = append(t.end, p[:n]...)
		if over := len(t.end) - maxTail; over > 0 {
			t.end = t.end[:copy(t.end, t.end[over:])]
		}
	}
	return n, err
}

// stampKeys are before the time of an event, also in a string that was quoted.
var stampKeys = [][]byte{[]byte(`"stageTimestamp":"`), []byte(`\"stageTimestamp\":\"`), []byte(`"receiveTimestamp":"`)}

// lastStamp is the time of the last event in a text, zero when none is seen. What
// people write into bodies could look like one: it never counts as later than now.
func lastStamp(text []byte, now time.Time) time.Time {
	for _, key := range stampKeys {
		at := bytes.LastIndex(text, key)
		if at < 0 {
			continue
		}
		rest := text[at+len(key):]
		end := bytes.IndexAny(rest, `"\`)
		if end < 0 || end > len("2006-01-02T15:04:05.999999999+00:00") {
			continue
		}
		if t, err := time.Parse(time.RFC3339Nano, string(rest[:end])); err == nil {
			if t.After(now) {
				t = now
			}
			return t
		}
	}
	return time.Time{}
}
