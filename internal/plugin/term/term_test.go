package term

import (
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	for input, want := range map[string]string{
		"one line\n": "one line",
		"two\nlines": `two\nlines`,
		"\u202eevil": `\u202eevil`,
	} {
		if got := Clean(input); got != want {
			t.Errorf("%q: %q, want %q", input, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	header := []string{"NAME", "PHASE", "REASON"}
	rows := [][]string{
		{"fix", "Active", "a\treason\x1b[2J"},
		{"straße", "Denied", strings.Repeat("x", maxCell+1)},
		{"empty", "", ""},
	}
	for name, tc := range map[string]struct {
		style   Style
		headers bool
		want    string
	}{
		"piped":      {Style{}, true, "NAME\tPHASE\tREASON\nfix\tActive\ta\\treason\\x1b[2J\nstraße\tDenied\t" + strings.Repeat("x", maxCell+1) + "\nempty\t\t\n"},
		"no headers": {Style{}, false, "fix\tActive\ta\\treason\\x1b[2J\nstraße\tDenied\t" + strings.Repeat("x", maxCell+1) + "\nempty\t\t\n"},
		"terminal": {
			Style{Terminal: true},
			true,
			"NAME     PHASE    REASON\nfix      Active   a\\treason\\x1b[2J\nstraße   Denied   " + strings.Repeat("x", maxCell-1) + "…\nempty\n",
		},
		"colours": {
			Style{Terminal: true, Colour: true},
			false,
			"fix      \x1b[32mActive\x1b[0m   a\\treason\\x1b[2J\nstraße   \x1b[31mDenied\x1b[0m   " + strings.Repeat("x", maxCell-1) + "…\nempty\n",
		},
	} {
		var b strings.Builder
		tc.style.WriteTable(&b, header, rows, tc.headers)
		if b.String() != tc.want {
			t.Errorf("%s:\n%q, want\n%q", name, b.String(), tc.want)
		}
	}
}

func TestWrap(t *testing.T) {
	got := wrap([]string{"aaa", "bbb", "ccc", "a-word-that-is-too-long", "d"}, 9)
	want := []string{"aaa, bbb,", "ccc,", "a-word-that-is-too-long,", "d"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
}

func TestLiveLine(t *testing.T) {
	for want, s := range map[string]Style{
		"one\ntwo, longer\n": {},
		"\r\x1b[Kone\r\x1b[Ktwo, l…\r\x1b[Ktwo, longer\n": {Terminal: true, Width: 8},
	} {
		var b strings.Builder
		l := &LiveLine{Out: &b, Style: s}
		for _, text := range []string{"one", "one", "two, longer", "two, longer"} {
			l.Show(text)
		}
		l.End()
		if b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	}
}
