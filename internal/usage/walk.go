package usage

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// lenient is what an API server may write. It puts the body of a patch into the
// event as the user sent it: a name twice, or bytes that are not UTF-8, must not
// keep the whole event from being read.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// maxDepth is beyond what is looked at, and less than what jsontext takes.
const maxDepth = 64

// valid tells whether it is one JSON value. What is nested more deeply than the
// library reads (10,000) is cut out first: a user may have sent that, too.
func valid(value []byte) ([]byte, bool) {
	if jsontext.Value(value).IsValid(lenient...) {
		return value, true
	}
	pruned, cut := prune(value)
	return pruned, cut && jsontext.Value(pruned).IsValid(lenient...)
}

// prune puts null in place of what is nested too deeply.
func prune(value []byte) (out []byte, cut bool) {
	depth := 0
	for at := 0; at < len(value); {
		n := 1
		switch value[at] {
		case '"':
			n = stringLen(value[at:])
		case '{', '[':
			if depth++; depth == maxDepth {
				out, cut = append(out, "null"...), true
			}
		case '}', ']':
			if depth--; depth == maxDepth-1 {
				at++
				continue
			}
		}
		if depth < maxDepth {
			out = append(out, value[at:at+n]...)
		}
		at += n
	}
	return out, cut
}

// The functions below go through values that are valid.

// stringLen is the length of the string at the beginning, with its quotes.
func stringLen(value []byte) int {
	for at := 1; at < len(value); {
		end := bytes.IndexByte(value[at:], '"')
		if end < 0 {
			break
		}
		at += end + 1
		slashes := 0
		for at-2-slashes > 0 && value[at-2-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return at
		}
	}
	return len(value)
}

// valueLen is the length of the value at the beginning.
func valueLen(value []byte) int {
	depth := 0
	for at := 0; at < len(value); {
		switch value[at] {
		case '"':
			at += stringLen(value[at:])
		case '{', '[':
			depth++
			at++
			continue
		case '}', ']':
			depth--
			at++
		case ',', ' ', '\t', '\r', '\n', ':':
			at++
			continue
		default:
			at += scalarLen(value[at:])
		}
		if depth <= 0 {
			return at
		}
	}
	return len(value)
}

func scalarLen(value []byte) int {
	if n := bytes.IndexAny(value, ",]} \t\r\n"); n >= 0 {
		return n
	}
	return len(value)
}

func space(value []byte) int {
	for i, c := range value {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != ',' && c != ':' {
			return i
		}
	}
	return len(value)
}

// members goes through an object, until f says that it is enough. Names come
// without their quotes, and as they are written.
func members(object []byte, f func(name, value []byte) bool) {
	if len(object) == 0 || object[0] != '{' {
		return
	}
	for at := 1; ; {
		at += space(object[at:])
		if at >= len(object) || object[at] != '"' {
			return
		}
		n := stringLen(object[at:])
		name := object[at+1 : at+n-1]
		at += n
		at += space(object[at:])
		n = valueLen(object[at:])
		if !f(name, object[at:at+n]) {
			return
		}
		at += n
	}
}

// elements goes through an array.
func elements(array []byte, f func(value []byte)) {
	for at := 1; at < len(array); {
		at += space(array[at:])
		if at >= len(array) || array[at] == ']' {
			return
		}
		n := valueLen(array[at:])
		f(array[at : at+n])
		at += n
	}
}

// unquoted is the text of a string; of other values there is none.
func unquoted(buf, value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return inner
	}
	// What is not UTF-8 is replaced, which is told as an error.
	buf, err := jsontext.AppendUnquote(buf[:0], value)
	if err != nil && !utf8.Valid(buf) {
		return nil
	}
	return buf
}
