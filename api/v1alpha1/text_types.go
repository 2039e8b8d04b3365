package v1alpha1

// The texts that people write, each rule once. When a text is refused, the answer
// is in words, and nobody is shown a regular expression. To Go and to clients the
// aliases are strings.

// Line is one line of text for people to read, in any language. A line break
// at the end is no error: that is how YAML ends `reason: |`. Joiners are welcome
// where scripts and emoji need them, which is not after a Latin letter, a digit
// or a space. A character that is invisible, or turns the direction of the text, is
// refused by name. internal/text says the same to clients, before they send.
//
// +kubebuilder:validation:XValidation:rule=`self.matches(r'^(?:[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{2800}\x{3164}\x{FFA0}\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]|[^\x00-\x{7F}\p{C}\p{Z}\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}][\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]|[0-9#*]\x{FE0F}\x{20E3}|[^\x00-\x{7F}\p{Latin}\p{Greek}\p{Cyrillic}\p{C}\p{N}\p{P}\p{Z}\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}][\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]?[\x{200C}\x{200D}])*\n?$')`,message="must be one line of plain text, such as INC-42: stuck consumers",messageExpression=`{'\n': 'contains a line break: write it as one line', '\r': 'contains a carriage return', '\t': 'contains a tab', '\u00ad': 'contains U+00AD SOFT HYPHEN, which is not seen', '\u061c': 'contains U+061C ARABIC LETTER MARK, which turns what is written', '\u180e': 'contains U+180E MONGOLIAN VOWEL SEPARATOR, which is not seen', '\u200b': 'contains U+200B ZERO WIDTH SPACE, which is not seen', '\u200e': 'contains U+200E LEFT-TO-RIGHT MARK, which turns what is written', '\u200f': 'contains U+200F RIGHT-TO-LEFT MARK, which turns what is written', '\u2028': 'contains U+2028 LINE SEPARATOR: write it as one line', '\u2029': 'contains U+2029 PARAGRAPH SEPARATOR: write it as one line', '\u202a': 'contains U+202A LEFT-TO-RIGHT EMBEDDING, which turns what is written', '\u202b': 'contains U+202B RIGHT-TO-LEFT EMBEDDING, which turns what is written', '\u202c': 'contains U+202C POP DIRECTIONAL FORMATTING, which turns what is written', '\u202d': 'contains U+202D LEFT-TO-RIGHT OVERRIDE, which hides what is written', '\u202e': 'contains U+202E RIGHT-TO-LEFT OVERRIDE, which hides what is written', '\u2060': 'contains U+2060 WORD JOINER, which is not seen', '\u2066': 'contains U+2066 LEFT-TO-RIGHT ISOLATE, which turns what is written', '\u2067': 'contains U+2067 RIGHT-TO-LEFT ISOLATE, which turns what is written', '\u2068': 'contains U+2068 FIRST STRONG ISOLATE, which turns what is written', '\u2069': 'contains U+2069 POP DIRECTIONAL ISOLATE, which turns what is written', '\u2800': 'contains U+2800 BRAILLE PATTERN BLANK, which is not seen', '\u3164': 'contains U+3164 HANGUL FILLER, which is not seen', '\ufeff': 'contains U+FEFF BYTE ORDER MARK, which is not seen', "": 'contains a joiner or a variation selector where it joins or varies nothing, which is not seen'}[?(self.endsWith('\n') ? self.substring(0, self.size() - 1) : self).find(r'[\p{Cc}\p{Zl}\p{Zp}\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{2800}\x{3164}\x{FFA0}]|[^\P{Cf}\x{200C}\x{200D}]')].orValue(self.matches(r'[\x{E0000}-\x{E007F}]') ? 'contains a tag character (U+E0000 to U+E007F), which is not seen' : 'contains a control character or one that is not seen')`
type Line = string

// Name is the name of a user, a group or the like. Names are compared character
// by character, so nothing in one may be invisible, joiners included.
//
// +kubebuilder:validation:XValidation:rule=`!self.matches(r'[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]')`,message="must be a name of visible characters: it contains a line break, a control character or one that is not seen, such as a zero width space"
type Name = string

// NamespaceName is the name of a namespace.
//
// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="must be the name of a namespace, such as payments: lower-case letters, digits and -, with a letter or a digit at either end"
type NamespaceName = string

// Label is the key of a label.
//
// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')`,message="must be the key of a label, such as team or example.com/team"
// +kubebuilder:validation:XValidation:rule="self.indexOf('/') <= 253",message="the part before / must not be longer than 253 characters"
type Label = string
