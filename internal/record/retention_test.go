package record

import (
	"testing"
	"time"
)

// The wait between looks follows from how long a look takes, and from the retention.
func TestPauseBetweenLooks(t *testing.T) {
	day := Retention{Requests: 24 * time.Hour, Grants: 24 * time.Hour}
	for _, c := range []struct {
		keep       Retention
		took, want time.Duration
	}{
		{day, time.Millisecond, time.Minute},
		{day, 5 * time.Second, 495 * time.Second},
		{day, time.Hour, time.Hour},
		{Retention{}, time.Hour, time.Hour},
		{Retention{Requests: 10 * time.Second}, time.Hour, 10 * time.Second},
		{Retention{Grants: time.Nanosecond}, 0, time.Second},
	} {
		if got := (&Archive{Retention: c.keep}).pause(c.took); got != c.want {
			t.Errorf("after %s, keeping %v: %s, want %s", c.took, c.keep, got, c.want)
		}
	}
}
