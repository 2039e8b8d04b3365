// Package text is everything that is shown to people: what they may write, how
// any text is made safe to look at and cut, and how a role, a scope, a person, a
// duration and a moment are written. Nothing else escapes text.
package text

import (
	"regexp"
	"strings"
)

// The regular expressions of v1alpha1.Line, part by part: the table of danger.go
// as the API server reads it.
const (
	selectors = `\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}`
	blanks    = `\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{2800}\x{3164}\x{FFA0}`
	// A character, one with a variation selector, a keycap, and one with a joiner.
	plain    = `[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}` + blanks + selectors + `]`
	varied   = `[^\x00-\x{7F}\p{C}\p{Z}` + selectors + `][` + selectors + `]`
	keycap   = `[0-9#*]\x{FE0F}\x{20E3}`
	joined   = `[^\x00-\x{7F}\p{Latin}\p{Greek}\p{Cyrillic}\p{C}\p{N}\p{P}\p{Z}` + selectors + `][` + selectors + `]?[\x{200C}\x{200D}]`
	line     = `^(?:` + plain + `|` + varied + `|` + keycap + `|` + joined + `)*\n?$`
	unwanted = `[\p{Cc}\p{Zl}\p{Zp}` + blanks + `]|[^\P{Cf}\x{200C}\x{200D}]`
)

var (
	isLine     = regexp.MustCompile(line)
	isUnwanted = regexp.MustCompile(unwanted)
	isTag      = regexp.MustCompile(`[\x{E0000}-\x{E007F}]`)
)

// named are the characters that are told by name, with what is wrong with them.
var named = map[string]string{
	"\n": "a line break: write it as one line", "\r": "a carriage return", "\t": "a tab",
	"\u00ad": "U+00AD SOFT HYPHEN, which is not seen",
	"\u061c": "U+061C ARABIC LETTER MARK, which turns what is written",
	"\u180e": "U+180E MONGOLIAN VOWEL SEPARATOR, which is not seen",
	"\u200b": "U+200B ZERO WIDTH SPACE, which is not seen",
	"\u200e": "U+200E LEFT-TO-RIGHT MARK, which turns what is written",
	"\u200f": "U+200F RIGHT-TO-LEFT MARK, which turns what is written",
	"\u2028": "U+2028 LINE SEPARATOR: write it as one line",
	"\u2029": "U+2029 PARAGRAPH SEPARATOR: write it as one line",
	"\u202a": "U+202A LEFT-TO-RIGHT EMBEDDING, which turns what is written",
	"\u202b": "U+202B RIGHT-TO-LEFT EMBEDDING, which turns what is written",
	"\u202c": "U+202C POP DIRECTIONAL FORMATTING, which turns what is written",
	"\u202d": "U+202D LEFT-TO-RIGHT OVERRIDE, which hides what is written",
	"\u202e": "U+202E RIGHT-TO-LEFT OVERRIDE, which hides what is written",
	"\u2060": "U+2060 WORD JOINER, which is not seen",
	"\u2066": "U+2066 LEFT-TO-RIGHT ISOLATE, which turns what is written",
	"\u2067": "U+2067 RIGHT-TO-LEFT ISOLATE, which turns what is written",
	"\u2068": "U+2068 FIRST STRONG ISOLATE, which turns what is written",
	"\u2069": "U+2069 POP DIRECTIONAL ISOLATE, which turns what is written",
	"\u2800": "U+2800 BRAILLE PATTERN BLANK, which is not seen",
	"\u3164": "U+3164 HANGUL FILLER, which is not seen",
	"\ufeff": "U+FEFF BYTE ORDER MARK, which is not seen",
	"":       "a joiner or a variation selector where it joins or varies nothing, which is not seen",
}

// Fault says why a text is not one line that people can read as it is written,
// "" for one that is. The API server says the same in the same words: see
// v1alpha1.Line.
func Fault(s string) string {
	if isLine.MatchString(s) {
		return ""
	}
	what, ok := named[isUnwanted.FindString(Trim(s))]
	switch {
	case ok:
	case isTag.MatchString(s):
		what = "a tag character (U+E0000 to U+E007F), which is not seen"
	default:
		what = "a control character or one that is not seen"
	}
	return "contains " + what
}

// Trim takes away the line break at the end that a Line may have.
func Trim(s string) string { return strings.TrimSuffix(s, "\n") }
