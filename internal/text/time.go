package text

import (
	"strings"
	"time"
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
