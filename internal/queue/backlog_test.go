package queue

import (
	"testing"
	"time"
)

// The backlog counts a grant only until it is given, and not for ever.
func TestBacklogEnds(t *testing.T) {
	now := time.Now()
	b := &Backlog{}
	b.Begin("stuck", now)
	if !b.Waits(now, now.Add(maxOnTheWay)) || b.Waits(now, now.Add(maxOnTheWay+1)) {
		t.Error("one that is stuck is not waited for as long as maxOnTheWay")
	}
	err := b.Removing(func() error {
		if !b.Waits(now, now.Add(maxRecordDelay)) || b.Waits(now, now.Add(maxRecordDelay+1)) {
			t.Error("a record does not wait as long as maxRecordDelay")
		}
		return nil
	})
	if err != nil || b.Waits(now, now) {
		t.Errorf("after the removal: %v", err)
	}
}
