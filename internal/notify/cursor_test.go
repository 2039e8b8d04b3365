package notify

import (
	"fmt"
	"testing"
	"time"
)

func TestCursor(t *testing.T) {
	t.Parallel()
	step := func(name string, seconds int) transition {
		return transition{id: name, at: at(seconds).Time}
	}
	c := newCursor(start.Add(500 * time.Millisecond))
	if !c.has(step("old", -1)) || c.has(step("same second", 0)) || c.has(step("new", 1)) {
		t.Error("a new sink hears of what comes, and of nothing else")
	}
	c.add(step("new", 1))

	restored, err := decodeCursor(c.encode(), start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if !restored.has(step("new", 1)) || !restored.has(step("old", -1)) || restored.has(step("other", 1)) {
		t.Error("the stored cursor is another")
	}

	// Not past what is still to be told.
	c.advance(start.Add(time.Hour), start.Add(30*time.Minute))
	if c.has(step("untold", 30*60)) || !c.has(step("late", 29*60)) {
		t.Errorf("since %s", c.since)
	}
	// Nor past what may not have been seen yet.
	c.advance(start.Add(2*time.Hour), time.Time{})
	if want := start.Add(2*time.Hour - settled); !c.since.Equal(want) {
		t.Errorf("since %s, want %s", c.since, want)
	}
	if len(c.told) != 0 {
		t.Errorf("remembers %v, which is before %s", c.told, c.since)
	}
	// Never back, but to what turned up late.
	c.advance(start, time.Time{})
	if want := start.Add(2*time.Hour - settled); !c.since.Equal(want) {
		t.Errorf("the clock jumped back, and the cursor with it: %s", c.since)
	}
	c.advance(start.Add(2*time.Hour), start)
	if c.has(step("turned up late", 0)) {
		t.Errorf("since %s", c.since)
	}

	if _, err := decodeCursor("{", start); err == nil {
		t.Error("garbage was decoded")
	}
}

// However much is told, the ConfigMap that holds every sink's cursor stays
// under the limit of 1 MiB, and what is forgotten is the oldest.
func TestCursorIsBounded(t *testing.T) {
	t.Parallel()
	c := newCursor(start)
	for i := range 2 * maxRemembered {
		c.add(transition{id: fmt.Sprint(i), at: at(i).Time})
	}
	text := c.encode()
	if len(text)*maxSinks > 1<<20 {
		t.Errorf("%d bytes", len(text))
	}
	restored, err := decodeCursor(text, start)
	if err != nil {
		t.Fatal(err)
	}
	if restored.has(transition{id: "0", at: at(0).Time}) || !restored.has(transition{id: fmt.Sprint(2*maxRemembered - 1), at: at(1).Time}) {
		t.Error("the newest is forgotten")
	}
}
