package policy

import (
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Cap is how much an approver allows at most.
type Cap struct {
	// By is who approved.
	By string
	// MaxDuration of the access; 0 for as long as was asked for.
	MaxDuration time.Duration
	// NotAfter is when it ends at the latest; zero for no such moment.
	NotAfter time.Time
}

func capOf(d v1alpha1.Decision) Cap {
	c := Cap{By: d.Username}
	if d.MaxDuration != nil {
		c.MaxDuration = d.MaxDuration.Duration
	}
	if d.NotAfter != nil {
		c.NotAfter = d.NotAfter.Time
	}
	return c
}

// Capped is the end of an access that begins at a moment and was asked for until
// another: the smallest of what was asked for and of what the approvers allow, never
// more. by is the approver whose word it is, if they gave less than was asked for.
func Capped(begin, asked time.Time, caps []Cap) (end time.Time, by string) {
	end = asked
	for _, c := range caps {
		if c.MaxDuration > 0 && begin.Add(c.MaxDuration).Before(end) {
			end, by = begin.Add(c.MaxDuration), c.By
		}
		if !c.NotAfter.IsZero() && c.NotAfter.Before(end) {
			end, by = c.NotAfter, c.By
		}
	}
	return end, by
}
