package text

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Visible makes any text safe to look at, on a terminal, in a log and in a
// message: it escapes what is dangerous as Go does, and leaves the rest alone.
func Visible(s string) string {
	if isASCII(s) {
		return s
	}
	var out strings.Builder
	for i, before := 0, rune(0); i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			out.WriteString(`\x` + strconv.FormatUint(uint64(s[i]), 16))
			before = 0
		case plainly(r), isSelector(r) && varies(before, s[i:]):
			out.WriteRune(r)
			before = r
		case isJoiner(r) && joins(before, s[:i]):
			out.WriteRune(r)
			before = 0
		default:
			out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			before = 0
		}
		i += size
	}
	return out.String()
}

// isASCII is true for a text of printable ASCII, as most are.
func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// OneLine is Visible with spaces in place of line breaks.
func OneLine(s string) string { return Visible(strings.ReplaceAll(Trim(s), "\n", " ")) }

// Lines is Visible for a text whose lines are meant to be lines.
func Lines(s string) string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(s, "\t", "  ")), "\n")
	for i := range lines {
		lines[i] = Visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

// Quote puts a text into double quotes, in printable ASCII alone, so that
// strconv.Unquote reads it back.
func Quote(s string) string { return strconv.QuoteToASCII(s) }

var slackMarkup = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// Slack is Visible for a message to Slack, in which a text must not become a
// link or a mention.
func Slack(s string) string { return Visible(slackMarkup.Replace(s)) }

// Cell is Visible for a cell of a spreadsheet, which must not run a text as a
// formula. Some take the full-width signs of a Japanese keyboard for the same.
func Cell(s string) string {
	s = Visible(Trim(s))
	if first, _ := utf8.DecodeRuneInString(s); strings.ContainsRune("'=+-@＝＋－＠", first) {
		return "'" + s
	}
	return s
}
