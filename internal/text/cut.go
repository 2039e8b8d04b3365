package text

import "strings"

// OneLine writes a text on one line, safe to look at: names of groups and what
// people put into rules and expressions get into messages as they are.
func OneLine(s string) string { return Visible(strings.ReplaceAll(Trim(s), "\n", " ")) }

// Cut cuts a text to a number of bytes, between two characters.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-3], "") + "..."
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
