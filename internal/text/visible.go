package text

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible makes any text safe to look at, on a terminal, in a log and in a
// message: what a terminal would obey, and what would be read other than it is
// written or not be seen at all, is escaped as Go does it. Joiners and variation
// selectors are shown as they are where a script or an emoji needs them.
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

// brailleBlank looks like a space without being one to Unicode.
const brailleBlank = '\u2800'

// plainly tells whether a character can be shown wherever it stands.
func plainly(r rune) bool {
	if r == brailleBlank || r == utf8.RuneError || unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
		return false
	}
	return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r)
}

func isJoiner(r rune) bool { return r == '\u200c' || r == '\u200d' }

func isSelector(r rune) bool { return unicode.Is(unicode.Variation_Selector, r) }

// varies tells whether a variation selector has something to vary: the
// character before it, 0 for one that is not shown.
func varies(before rune, selector string) bool {
	if before < utf8.RuneSelf {
		return strings.ContainsRune("0123456789#*", before) && strings.HasPrefix(selector, "\ufe0f\u20e3")
	}
	return !isSelector(before) && !unicode.Is(unicode.Zs, before)
}

// joins tells whether a joiner has something to join: the character before it,
// or before its variation selector.
func joins(before rune, text string) bool {
	if isSelector(before) {
		text = text[:len(text)-utf8.RuneLen(before)]
		before, _ = utf8.DecodeLastRuneInString(text)
	}
	return before >= utf8.RuneSelf && plainly(before) &&
		!unicode.In(before, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.N, unicode.P, unicode.Z)
}
