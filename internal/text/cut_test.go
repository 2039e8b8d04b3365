package text

import (
	"strings"
	"testing"
)

// Notes and messages are one line that can be looked at, of what Kubernetes takes.
func TestNoteAndMessage(t *testing.T) {
	hostile := "approve\n\x1b[2K\u202e" + strings.Repeat("ü", maxMessage)
	for name, test := range map[string]struct {
		of   func(string) string
		most int
	}{"a note": {Note, maxNote}, "a message": {Message, maxMessage}} {
		got := test.of(hostile)
		if len(got) > test.most || Fault(got) != "" || !strings.HasPrefix(got, `approve \x1b[2K\u202eü`) || !strings.HasSuffix(got, "...") {
			t.Errorf("%s has %d bytes: %.40s", name, len(got), got)
		}
	}
	if got := Note("told\n"); got != "told" {
		t.Errorf("got %q", got)
	}
}
