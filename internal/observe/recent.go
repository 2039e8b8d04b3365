package observe

import (
	"encoding/base64"
	"encoding/binary"
	"sync"
)

// recent remembers events that were stored by this process, so that one that comes by
// two ways counts once: maxRecent at least, and twice as many at most.
type recent struct {
	mu          sync.Mutex
	now, before map[uint64]struct{}
}

const maxRecent = 64 << 10

func (r *recent) has(identity uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, now := r.now[identity]
	_, before := r.before[identity]
	return now || before
}

func (r *recent) add(identities []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, identity := range identities {
		if r.now == nil || len(r.now) >= maxRecent {
			r.now, r.before = map[uint64]struct{}{}, r.now
		}
		r.now[identity] = struct{}{}
	}
}

// maxCounted is how many events a usage remembers as counted, by whichever observer.
const maxCounted = 1024

// counted are the last events that a usage has counted, the oldest first.
type counted struct {
	order []uint64
	known map[uint64]bool
}

// unpack reads what pack wrote; nothing of what is damaged.
func unpack(text string) *counted {
	c := &counted{known: map[uint64]bool{}}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return c
	}
	for ; len(raw) >= 8; raw = raw[8:] {
		c.add(binary.BigEndian.Uint64(raw))
	}
	return c
}

// add notes an event, false when it was counted before.
func (c *counted) add(identity uint64) bool {
	if c.known[identity] {
		return false
	}
	c.known[identity] = true
	c.order = append(c.order, identity)
	return true
}

func (c *counted) pack() string {
	var raw []byte
	for _, identity := range c.order[max(0, len(c.order)-maxCounted):] {
		raw = binary.BigEndian.AppendUint64(raw, identity)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}
