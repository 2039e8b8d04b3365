package controllers

import (
	"time"
)

// Retention says how long requests and grants are kept after their end; 0 keeps
// them for ever. What goes is written to the audit log first, whole.
type Retention struct {
	Requests time.Duration
	Grants   time.Duration
}

// overstay tells how long something that ended may still stay, and whether its
// time is up.
func overstay(ended time.Time, keep time.Duration, now time.Time) (stay time.Duration, up bool) {
	if keep <= 0 || ended.IsZero() {
		return 0, false
	}
	stay = ended.Add(keep).Sub(now)
	return stay, stay <= 0
}
