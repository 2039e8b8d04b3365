package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCut(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"short", "short"},
		{"1234567890", "1234567890"},
		{"12345678901", "1234567..."},
		{"12345ü7890", "12345ü..."},
		{"123456ü7890", "123456..."},
	} {
		if got := Cut(test.in, 10); got != test.want || !utf8.ValidString(got) {
			t.Errorf("%q is cut to %q, want %q", test.in, got, test.want)
		}
	}
}

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
