package text

import (
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Duration writes a duration as people do, without the zeros of Go: 1h, not
// 1h0m0s.
func Duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Moment writes a moment, in UTC and to the second.
func Moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// AtMost says how much a decision allows at most: "at most 30m", "until
// 2026-05-04T18:00:00Z" or both; "" when it does not say.
func AtMost(d v1alpha1.Decision) string {
	var limits []string
	if d.MaxDuration != nil {
		limits = append(limits, "at most "+Duration(d.MaxDuration.Duration))
	}
	if d.NotAfter != nil {
		limits = append(limits, "until "+Moment(d.NotAfter.Time))
	}
	return strings.Join(limits, ", ")
}
