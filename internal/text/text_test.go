package text

import (
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// What people write, and what they must not.
func TestFault(t *testing.T) {
	for _, s := range []string{
		"", "x", "INC-42: stuck consumers", "INC-42\n", "Zoë Müller, 日本語 😀 <a href=x>'\"\\$(id)",
		"障害　対応",                // an ideographic space
		"déploiement : urgent", // a no-break space
		"می\u200cخواهم سرویس پرداخت را ببینم", // Persian, with a non-joiner
		"क्\u200dष और श्री",                   // Hindi, with a joiner
		"ශ්\u200dරී ලංකා",                     // Sinhala
		"🚒 on call 👩\u200d🚒, 👨\u200d👩\u200d👧\u200d👦 and 🏳️\u200d🌈 ❤️ 1️⃣ 👍🏽", // emoji of several characters
		"葛\U000e0100城", // a Japanese name, with a variation selector
		"👁️\u200d🗨️", "ه\u200d",
	} {
		if fault := Fault(s); fault != "" {
			t.Errorf("%q: %s", s, fault)
		}
		if got := Visible(Trim(s)); got != Trim(s) {
			t.Errorf("%q is shown as %q", s, got)
		}
	}
	for s, want := range map[string]string{
		"a\nb": "a line break", "\n\n": "a line break", "a\n\n": "a line break", "a\tb": "a tab", "a\r\n": "a carriage return",
		"a\x1b[2K": "a control character", "a\u0085b": "a control character", "\x7f": "a control character",
		"approve \u202egnp.exe": "U+202E RIGHT-TO-LEFT OVERRIDE, which hides what is written",
		"a\u2066b\u2069":        "U+2066 LEFT-TO-RIGHT ISOLATE", "a\u200fb": "U+200F RIGHT-TO-LEFT MARK",
		"INC-4\u200b2": "U+200B ZERO WIDTH SPACE, which is not seen", "a\ufeff": "U+FEFF BYTE ORDER MARK", "a\u00adb": "U+00AD SOFT HYPHEN",
		"a\u2060b": "U+2060 WORD JOINER", "\u2028": "U+2028 LINE SEPARATOR", "\u3164": "U+3164 HANGUL FILLER",
		"\U0001f3f4\U000e0067\U000e007f": "a tag character", "a\ufff9b": "one that is not seen", "a\u034fb": "one that is not seen",
		// A joiner that joins nothing makes two texts that look the same.
		"INC-4\u200d2": "a joiner", "ad\u200cmin": "a joiner", "\u200dx": "a joiner", "می\u200c\u200cخ": "a joiner", "а\u200dб": "a joiner", "я \u200d": "a joiner",
		// So does a variation selector, and a row of them hides a message.
		"INC-4\ufe0f2": "a variation selector", "😀\ufe0f\ufe0e": "a variation selector", "\ufe0f": "a variation selector", "a\U000e0120": "a variation selector",
	} {
		if got := Fault(s); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
		if s := Trim(s); Visible(s) == s {
			t.Errorf("%q is shown as it is", s)
		}
	}
}

// The API server's rule is this one.
func TestRuleOfTheAPI(t *testing.T) {
	source, err := os.ReadFile("../../api/v1alpha1/text_types.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"rule=`self.matches(r'" + line + "')`", ".find(r'" + unwanted + "')"} {
		if !strings.Contains(string(source), part) {
			t.Errorf("v1alpha1.Line has no %s", part)
		}
	}
	for character, what := range named {
		if !strings.Contains(string(source), ": 'contains "+what+"'") {
			t.Errorf("v1alpha1.Line does not say %q of %q", what, character)
		}
	}
}

func TestVisible(t *testing.T) {
	for input, want := range map[string]string{
		"plain, Ünïcode, 漢字 👍":        "plain, Ünïcode, 漢字 👍",
		"\x1b[31mred\x1b[0m":          `\x1b[31mred\x1b[0m`,
		"two\nlines\tand\rmore":       `two\nlines\tand\rmore`,
		"\u009b31m":                   `\u009b31m`,
		"\u202eevil":                  `\u202eevil`,
		"a\u200bb\u2060c\ufeffd":      `a\u200bb\u2060c\ufeffd`,
		"no\u00a0break, \u3164 blank": "no\u00a0break, \\u3164 blank",
		"a\u2800b\ufe0f\U000e0041":    `a\u2800b\ufe0f\U000e0041`,
		"\u2028\u2029":                `\u2028\u2029`,
		"bad \xff utf-8":              `bad \xff utf-8`,
		"\ufffd":                      `\ufffd`,
		"a\u200db 👩\u200d\u200d🚒":     "a\\u200db 👩\u200d\\u200d🚒",
		"👩\u202e\u200d":               `👩\u202e\u200d`,
		"👩\ufe0f\ufe0f\u200d":         "👩\ufe0f\\ufe0f\\u200d",
	} {
		if got := Visible(input); got != want {
			t.Errorf("%q: %q, want %q", input, got, want)
		}
	}
}

// The table says the same twice: for Go, and as the regular expression of the
// API server, which lets pass what does not exist yet and the selectors of
// Mongolian.
func TestOneTable(t *testing.T) {
	passes := func(r rune) bool {
		return unicode.Is(unicode.Mongolian, r) || !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cc, unicode.Cf, unicode.Co)
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) || r == '\n' {
			continue
		}
		refused := Fault(string(r)) != ""
		dangerous := r == brailleBlank || unicode.In(r, unseen...)
		if refused && !dangerous || dangerous && !refused && !passes(r) {
			t.Errorf("%U is refused: %v, is dangerous: %v", r, refused, dangerous)
		}
		if dangerous && plainly(r) {
			t.Errorf("%U is shown as it is", r)
		}
	}
}

func TestSeen(t *testing.T) {
	if got := Seen("a\u200bl\u2800i\x1bce\ufe0f\u2028\u3164é"); got != "al iceé" {
		t.Errorf("%q", got)
	}
}

func TestLines(t *testing.T) {
	if got := OneLine("one\ntwo\u202e\n"); got != `one two\u202e` {
		t.Errorf("%q", got)
	}
	if got := Lines("one\n\ttwo\x1b\n"); got != "one\n  two\\x1b" {
		t.Errorf("%q", got)
	}
}

func TestSlack(t *testing.T) {
	if got := Slack("<!channel> & \u202e"); got != `&lt;!channel&gt; &amp; \u202e` {
		t.Errorf("%q", got)
	}
}

func TestCell(t *testing.T) {
	for input, want := range map[string]string{
		"": "", "INC-42\n": "INC-42", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "'=1": "''=1", "\t=1": `\t=1`, "1=1": "1=1",
		"＝1+1": "'＝1+1", "＋1": "'＋1", "－1": "'－1", "＠x": "'＠x", "1＝1": "1＝1",
	} {
		if got := Cell(input); got != want {
			t.Errorf("%q: %q, want %q", input, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		text string
		most int
		want string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abc..."},
		{"äöüß", 7, "äö..."},
		{"äöüß", 6, "ä..."},
		{"abcdefg", 1, "..."},
		{"1\ufe0f\u20e3 and more", 9, "1..."},
		{"👩\u200d🚒, 👩\u200d🚒", 12, "👩..."},
	} {
		if got := Cut(tc.text, tc.most); got != tc.want {
			t.Errorf("%q to %d bytes: %q, want %q", tc.text, tc.most, got, tc.want)
		}
	}
	for _, tc := range []struct {
		text string
		most int
		want string
	}{
		{"äöüß", 4, "äöüß"}, {"äöüßx", 4, "äöü…"}, {"ab c", 0, "ab c"}, {"ab cd", 4, "ab…"}, {"👩\u200d🚒👩", 3, "👩…"},
	} {
		if got := Fit(tc.text, tc.most); got != tc.want {
			t.Errorf("%q to %d characters: %q, want %q", tc.text, tc.most, got, tc.want)
		}
	}
}

func TestList(t *testing.T) {
	for want, most := range map[string]int{"a, b, c": 3, "a, b and 1 more": 2} {
		if got := List([]string{"a", "b", "c"}, most); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := List(nil, 3); got != "" {
		t.Errorf("%q", got)
	}
}

// FuzzVisible: what is shown is one line that people can read, and is shown
// as it is when it is shown again, cut or whole.
func FuzzVisible(f *testing.F) {
	f.Add("\x1b]0;title\x07 \u202e \xff")
	f.Add("1\ufe0f\u20e3 2\ufe0f\u20e3")
	f.Add("👩\ufe0f\u200d🚒 می\u200cخواهم 1\ufe0f\u20e3")
	f.Fuzz(func(t *testing.T, s string) {
		out := Visible(s)
		if fault := Fault(out); fault != "" || strings.Contains(out, "\n") {
			t.Errorf("%q gives %q: %s", s, out, fault)
		}
		if again := Visible(out); again != out {
			t.Errorf("%q gives %q, and that %q", s, out, again)
		}
		for _, most := range []int{3, 4, 7, len(out) - 1} {
			if cut := Cut(out, most); len(cut) > max(most, 3) || Visible(cut) != cut {
				t.Errorf("%q cut to %d bytes gives %q", out, most, cut)
			}
			if cut := Fit(out, most); Visible(cut) != cut {
				t.Errorf("%q cut to %d characters gives %q", out, most, cut)
			}
		}
	})
}

func TestAtMost(t *testing.T) {
	half, six := &metav1.Duration{Duration: 30 * time.Minute}, metav1.NewTime(time.Date(2026, time.May, 4, 20, 0, 0, 0, time.FixedZone("", 7200)))
	for want, d := range map[string]v1alpha1.Decision{
		"": {}, "at most 30m": {MaxDuration: half}, "until 2026-05-04T18:00:00Z": {NotAfter: &six},
		"at most 30m, until 2026-05-04T18:00:00Z": {MaxDuration: half, NotAfter: &six},
	} {
		if got := AtMost(d); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
