package plugin

import (
	"strings"
	"testing"
	"time"
)

func TestClean(t *testing.T) {
	for input, want := range map[string]string{
		"plain, Ünïcode, 漢字 👍":        "plain, Ünïcode, 漢字 👍",
		"\x1b[31mred\x1b[0m":          `\x1b[31mred\x1b[0m`,
		"two\nlines\tand\rmore":       `two\x0alines\x09and\x0dmore`,
		"\u009b31m":                   `\u009b31m`,
		"\u202eevil":                  `\u202eevil`,
		"a\u200bb\u2060c\ufeffd":      `a\u200bb\u2060c\ufeffd`,
		"no\u00a0break, \u3164 blank": `no\u00a0break, \u3164 blank`,
		"a\u2800b\ufe0f\U000e0041":    `a\u2800b\ufe0f\U000e0041`,
		"\u2028\u2029":                `\u2028\u2029`,
		"bad \xff utf-8":              `bad \xff utf-8`,
		"\ufffd":                      `\ufffd`,
	} {
		if got := clean(input); got != want {
			t.Errorf("%q: %q, want %q", input, got, want)
		}
	}
	if got := cleanLines("one\n\ttwo\x1b\n"); got != "one\n  two\\x1b" {
		t.Errorf("%q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b]0;title\x07 \u202e \xff")
	f.Fuzz(func(t *testing.T, text string) {
		out := clean(text)
		if strings.ContainsFunc(out, dangerous) {
			t.Errorf("%q gives %q", text, out)
		}
		if clean(out) != out {
			t.Errorf("%q is cleaned twice", text)
		}
	})
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
		"piped":      {style{}, true, "NAME\tPHASE\tREASON\nfix\tActive\ta\\x09reason\\x1b[2J\nstraße\tDenied\t" + strings.Repeat("x", maxCell+1) + "\nempty\t\t\n"},
		"no headers": {style{}, false, "fix\tActive\ta\\x09reason\\x1b[2J\nstraße\tDenied\t" + strings.Repeat("x", maxCell+1) + "\nempty\t\t\n"},
		"terminal": {
			style{terminal: true},
			true,
			"NAME     PHASE    REASON\nfix      Active   a\\x09reason\\x1b[2J\nstraße   Denied   " + strings.Repeat("x", maxCell-1) + "…\nempty\n",
		},
		"colours": {
			style{terminal: true, colour: true},
			false,
			"fix      \x1b[32mActive\x1b[0m   a\\x09reason\\x1b[2J\nstraße   \x1b[31mDenied\x1b[0m   " + strings.Repeat("x", maxCell-1) + "…\nempty\n",
		},
	} {
		var b strings.Builder
		tbl.write(&b, tc.style, tc.headers)
		if b.String() != tc.want {
			t.Errorf("%s:\n%q, want\n%q", name, b.String(), tc.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s", 10 * time.Minute: "10m",
		time.Hour + time.Second: "1h0m1s", 30 * time.Second: "30s", 720 * time.Hour: "720h", 0: "0s",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
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
