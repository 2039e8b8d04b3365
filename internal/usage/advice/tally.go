package advice

import (
	"slices"
	"time"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// tally counts calls by the right that they needed.
type tally map[Right]*count

type count struct {
	calls          int
	people, grants map[string]struct{}
	last           time.Time
}

func (t tally) of(r Right) *count {
	at := t[r]
	if at == nil {
		at = &count{people: map[string]struct{}{}, grants: map[string]struct{}{}}
		t[r] = at
	}
	return at
}

func (t tally) add(r Right, e *usage.Event, grant string) {
	at := t.of(r)
	at.calls++
	at.people[e.Actor()] = struct{}{}
	if grant != "" {
		at.grants[grant] = struct{}{}
	}
	if e.Received.After(at.last) {
		at.last = e.Received
	}
}

func (t tally) merge(r Right, c *count) {
	at := t.of(r)
	at.calls += c.calls
	for who := range c.people {
		at.people[who] = struct{}{}
	}
	for grant := range c.grants {
		at.grants[grant] = struct{}{}
	}
	if c.last.After(at.last) {
		at.last = c.last
	}
}

// list is sorted by what the rights are.
func (t tally) list() []Used {
	out := make([]Used, 0, len(t))
	for r, c := range t {
		out = append(out, Used{Right: r, Calls: c.calls, People: len(c.people), Grants: len(c.grants), Last: c.last})
	}
	slices.SortFunc(out, func(a, b Used) int { return a.compare(b.Right) })
	return out
}
