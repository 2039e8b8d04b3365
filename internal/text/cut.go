package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Cut shortens a text to a number of bytes, between two characters. It ends in
// "..." then.
func Cut(s string, most int) string {
	const mark = "..."
	if len(s) <= most {
		return s
	}
	return bare(strings.ToValidUTF8(s[:max(0, most-len(mark))], "")) + mark
}

// How long, in bytes, what is told may be: the note of an Event as events.k8s.io/v1
// has it, and the message of a condition as it can still be read.
const (
	maxNote    = 1024
	maxMessage = 4096
)

// Note is a text as the note of an Event.
func Note(s string) string { return Cut(OneLine(s), maxNote) }

// Message is a text as the message of a condition.
func Message(s string) string { return Cut(OneLine(s), maxMessage) }

// Fit shortens a text to a number of characters, as a column or a line of a
// terminal has room for; a number of 0 or less is no bound. It ends in "…" then.
func Fit(s string, most int) string {
	if most <= 0 || utf8.RuneCountInString(s) <= most {
		return s
	}
	return strings.TrimRightFunc(bare(string([]rune(s)[:most-1])), unicode.IsSpace) + "…"
}

// bare takes away selectors and joiners at the end: what they were for is cut off.
func bare(s string) string {
	return strings.TrimRightFunc(s, func(r rune) bool { return isSelector(r) || isJoiner(r) })
}

// List names the first of some items, and how many more there are.
func List(items []string, most int) string {
	out := strings.Join(items[:min(len(items), most)], ", ")
	if more := len(items) - most; more > 0 {
		out += fmt.Sprintf(" and %d more", more)
	}
	return out
}
