package notify

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// settled is how long a transition may stay unseen after its time: the
	// write that made it took a while, or the clocks of two replicas differ.
	settled = 10 * time.Minute
	// maxRemembered bounds the stored cursor. What is forgotten may be sent twice
	// after a restart; nothing is lost.
	maxRemembered = 4000
)

// cursor is what a sink has been told: all transitions before since, and later
// ones that are in told, which maps fingerprints to times.
type cursor struct {
	since time.Time
	told  map[string]time.Time
}

// newCursor is for a sink that need not hear of anything before now.
func newCursor(now time.Time) *cursor {
	return &cursor{since: now.Truncate(time.Second), told: map[string]time.Time{}}
}

func (c *cursor) has(t transition) bool {
	_, ok := c.told[fingerprint(t.id)]
	return ok || t.at.Before(c.since)
}

func (c *cursor) add(t transition) {
	c.told[fingerprint(t.id)] = t.at
}

// advance moves the cursor as far as it is safe: not past the oldest transition
// that is still to be told, nor past what may not have been seen yet.
func (c *cursor) advance(now, oldest time.Time) {
	if safe := now.Add(-settled).Truncate(time.Second); safe.After(c.since) {
		c.since = safe
	}
	if !oldest.IsZero() && oldest.Before(c.since) {
		c.since = oldest
	}
	maps.DeleteFunc(c.told, func(_ string, at time.Time) bool { return at.Before(c.since) })
}

// fingerprint is a short name for an id.
func fingerprint(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// storedCursor is a cursor in the ConfigMap.
type storedCursor struct {
	Since time.Time `json:"since"`
	Told  []string  `json:"told,omitempty"`
}

func (c *cursor) encode() string {
	ids := slices.SortedFunc(maps.Keys(c.told), func(a, b string) int {
		return cmp.Or(c.told[b].Compare(c.told[a]), strings.Compare(a, b))
	})
	content, err := json.Marshal(storedCursor{Since: c.since.UTC(), Told: ids[:min(len(ids), maxRemembered)]})
	if err != nil {
		panic(err) // strings and a time in our millennium
	}
	return string(content)
}

func decodeCursor(text string, now time.Time) (*cursor, error) {
	var stored storedCursor
	if err := json.Unmarshal([]byte(text), &stored); err != nil {
		return nil, fmt.Errorf("decode cursor: %w", err)
	}
	c := &cursor{since: stored.Since, told: map[string]time.Time{}}
	for _, id := range stored.Told {
		c.told[id] = now // too late a time only keeps it for longer
	}
	return c, nil
}
