package plugin

import (
	"strings"
	"testing"
	"time"
)

func TestClean(t *testing.T) {
	for input, want := range map[string]string{
		"one line\n": "one line",
		"two\nlines": `two\nlines`,
		"\u202eevil": `\u202eevil`,
	} {
		if got := clean(input); got != want {
			t.Errorf("%q: %q, want %q", input, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	tbl := table{
		header: []string{"NAME", "PHASE", "REASON"},
		rows: [][]string{
			{"fix", "Active", "a\treason\x1b[2J"},
			{"straße", "Denied", strings.Repeat("x", maxCell+1)},
			{"empty", "", ""},
		},
	}
	for name, tc := range map[string]struct {
		style   style
		headers bool
		want    string
	}{
		"piped":      {style{}, true, "NAME\tPHASE\tREASON\nfix\tActive\ta\\treason\\x1b[2J\nstraße\tDenied\t" + strings.Repeat("x", maxCell+1) + "\nempty\t\t\n"},
		"no headers": {style{}, false, "fix\tActive\ta\\treason\\x1b[2J\nstraße\tDenied\t" + strings.Repeat("x", maxCell+1) + "\nempty\t\t\n"},
		"terminal": {
			style{terminal: true},
			true,
			"NAME     PHASE    REASON\nfix      Active   a\\treason\\x1b[2J\nstraße   Denied   " + strings.Repeat("x", maxCell-1) + "…\nempty\n",
		},
		"colours": {
			style{terminal: true, colour: true},
			false,
			"fix      \x1b[32mActive\x1b[0m   a\\treason\\x1b[2J\nstraße   \x1b[31mDenied\x1b[0m   " + strings.Repeat("x", maxCell-1) + "…\nempty\n",
		},
	} {
		var b strings.Builder
		tbl.write(&b, tc.style, tc.headers)
		if b.String() != tc.want {
			t.Errorf("%s:\n%q, want\n%q", name, b.String(), tc.want)
		}
	}
}

func TestLeftAndAgo(t *testing.T) {
	if got := left(now.Add(90*time.Minute), now); got != "90m left" {
		t.Error(got)
	}
	if got := left(now, now); got != "time is up" {
		t.Error(got)
	}
	if got := ago(now.Add(time.Hour), now); got != "0s" {
		t.Error("a clock that is behind:", got)
	}
}

func TestWrap(t *testing.T) {
	got := wrap([]string{"aaa", "bbb", "ccc", "a-word-that-is-too-long", "d"}, 9)
	want := []string{"aaa, bbb,", "ccc,", "a-word-that-is-too-long,", "d"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
}
