package usage

import (
	"cmp"
	"maps"
	"slices"
)

// counted counts things, so many different ones at most.
type counted[K comparable] struct {
	of   map[K]int
	most int
	// left is how often others came.
	left int
}

func (c *counted[K]) add(key K, n int) {
	switch _, known := c.of[key]; {
	case known:
		c.of[key] += n
	case len(c.of) < c.most:
		if c.of == nil {
			c.of = map[K]int{}
		}
		c.of[key] = n
	default:
		c.left += n
	}
}

func (c *counted[K]) merge(other *counted[K]) {
	for key, n := range other.of {
		c.add(key, n)
	}
	c.left += other.left
}

// sorted are the things, the most frequent first.
func sorted[K comparable](of map[K]int, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(of), func(a, b K) int {
		return cmp.Or(cmp.Compare(of[b], of[a]), compare(a, b))
	})
}

// recent remembers the last things that it was asked for: maxRecent at least, and
// twice as many at most.
type recent struct{ now, before map[uint64]struct{} }

const maxRecent = 32 << 10

func (r *recent) has(key uint64) bool {
	_, now := r.now[key]
	_, before := r.before[key]
	return now || before
}

func (r *recent) add(key uint64) {
	if r.now == nil || len(r.now) == maxRecent {
		r.now, r.before = map[uint64]struct{}{}, r.now
	}
	r.now[key] = struct{}{}
}

func (r *recent) merge(other *recent) {
	for _, generation := range []map[uint64]struct{}{other.before, other.now} {
		for key := range generation {
			if !r.has(key) {
				r.add(key)
			}
		}
	}
}
