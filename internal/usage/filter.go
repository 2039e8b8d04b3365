package usage

import (
	"bytes"
	"slices"
	"strings"
)

// Filter picks events by the binding that allowed them, or by the user.
type Filter struct {
	bindings, users map[string]bool
	// isGrant tells the names of bindings that it picks besides, without knowing them.
	isGrant func(string) bool
	groups  map[string]bool
	// parts are of users with characters that may be written in several ways: any
	// event that holds one is decoded.
	parts [][]byte
}

// NewFilter picks the events that a binding with one of these names allowed, in
// whichever namespace, and all events of these users, impersonated or not.
func NewFilter(bindings, users []string) *Filter {
	f := &Filter{bindings: map[string]bool{}, users: map[string]bool{}}
	for _, name := range bindings {
		f.ask(f.bindings, name)
	}
	for _, name := range users {
		f.ask(f.users, name)
	}
	return f
}

// OrGrants also picks the events that a binding allowed whose name has this form.
func (f *Filter) OrGrants(isName func(string) bool) *Filter {
	f.isGrant = isName
	return f
}

// OrGroups also picks all events of the members of these groups.
func (f *Filter) OrGroups(groups []string) *Filter {
	f.groups = map[string]bool{}
	for _, group := range groups {
		f.ask(f.groups, group)
		f.parts = append(f.parts, longestPlain(group))
	}
	return f
}

// asksForGroups tells whether events are picked by groups, which else are not read.
func (f *Filter) asksForGroups() bool { return f != nil && len(f.groups) > 0 }

// ask asks for a name, and prepares the first look for one that it cannot compare.
func (f *Filter) ask(in map[string]bool, name string) {
	if name == "" {
		return // no user and no binding is called that
	}
	in[name] = true
	if part := longestPlain(name); string(part) != name || isBefore(name[0]) {
		f.parts = append(f.parts, part)
	}
}

// longestPlain is the longest part of a name that is written in one way only.
func longestPlain(name string) []byte {
	part := ""
	for _, run := range strings.FieldsFunc(name, func(r rune) bool { return r >= 0x80 || !plain[r] }) {
		if len(run) > len(part) {
			part = run
		}
	}
	return []byte(part)
}

// asksFor tells whether it picks the event.
func (f *Filter) asksFor(e *Event) bool {
	if f == nil || f.users[e.User] || f.users[e.Impersonated] {
		return true
	}
	if slices.ContainsFunc(e.Groups, func(group string) bool { return f.groups[group] }) {
		return true
	}
	b, ok := e.Binding()
	return ok && (f.bindings[b.Name] || f.isGrant != nil && f.isGrant(b.Name))
}

// plain are the characters that stand for themselves in any JSON, but for \u
// escapes; opaque are those that the first look relies on.
var plain, opaque = func() (plain, opaque [128]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:@" {
		plain[c], opaque[c] = true, true
	}
	for _, c := range `"\ ` {
		opaque[c] = true
	}
	return plain, opaque
}()

// The words before a name: `RoleBinding "`, and the keys of users in an event and in
// Cloud Logging. In an event that is wrapped in strings there are backslashes
// before the quotes.
var (
	beforeBinding = []byte(`Binding `)
	beforeUser    = [][]byte{[]byte(`username`), []byte(`principalEmail`)}
	escape        = []byte(`\u00`)
)

// mayAskFor is a first look at what was not decoded: false where no event in it can
// be asked for. What users wrote can only make it true.
func (f *Filter) mayAskFor(text []byte) bool {
	if f == nil {
		return true
	}
	if (len(f.bindings) > 0 || f.isGrant != nil) && names(text, beforeBinding, f.isBinding) {
		return true
	}
	if len(f.users) > 0 {
		for _, key := range beforeUser {
			if names(text, key, f.isUser) {
				return true
			}
		}
	}
	for _, part := range f.parts {
		if bytes.Contains(text, part) {
			return true
		}
	}
	return escapes(text)
}

func (f *Filter) isUser(name []byte) bool { return f.users[string(name)] }

func (f *Filter) isBinding(name []byte) bool {
	return f.bindings[string(name)] || f.isGrant != nil && f.isGrant(string(name))
}

// names tells whether one of the names stands after a word.
func names(text, word []byte, isOne func([]byte) bool) bool {
	for {
		at := bytes.Index(text, word)
		if at < 0 {
			return false
		}
		text = text[at+len(word):]
		begin := 0
		for begin < len(text) && isBefore(text[begin]) {
			begin++
		}
		end := begin
		for end < len(text) && text[end] < 128 && plain[text[end]] {
			end++
		}
		if isOne(text[begin:end]) {
			return true
		}
	}
}

// isBefore: what stands between a word and a name.
func isBefore(c byte) bool {
	return c == '\\' || c == '"' || c == ':' || c == ' ' || c == '\t' || c == '\r' || c == '\n'
}

// escapes tells whether a character that the first look relies on may be written as
// an escape, so that it would not be seen. API servers write only <, > and & so.
func escapes(text []byte) bool {
	for {
		at := bytes.Index(text, escape)
		if at < 0 || at+6 > len(text) {
			return at >= 0
		}
		high, low := hex(text[at+4]), hex(text[at+5])
		if high < 8 && low < 16 && opaque[high<<4|low] {
			return true
		}
		text = text[at+4:]
	}
}

func hex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
