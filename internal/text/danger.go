package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is dangerous to look at. Whoever shows a text, stores it for people or
// compares what people see goes by this table; line.go has it once more as a
// regular expression, which is how the API server goes by it. A test holds the
// two against each other.
var (
	// unseen are the characters that a terminal obeys, that turn the text around
	// them, or that are not seen. Selectors and joiners are among them, and are
	// shown all the same where they vary or join something.
	unseen = []*unicode.RangeTable{
		unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point,
	}
	// unjoinable are the characters that no joiner changes: there it only makes
	// two texts that look the same.
	unjoinable = []*unicode.RangeTable{unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.N, unicode.P, unicode.Z}
)

// brailleBlank looks like a space without being one to Unicode.
const brailleBlank = '\u2800'

// plainly tells whether a character can be shown wherever it stands.
func plainly(r rune) bool {
	if r == brailleBlank || r == utf8.RuneError || unicode.In(r, unseen...) {
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
	return before >= utf8.RuneSelf && plainly(before) && !unicode.In(before, unjoinable...)
}

// Seen is what people see of a text: two texts of which they see the same may
// still differ in what it leaves out.
func Seen(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == brailleBlank:
			return ' '
		case unicode.In(r, unseen...):
			return -1
		}
		return r
	}, s)
}
