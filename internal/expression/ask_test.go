package expression

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAsk: texts, moments and values, with the words of what is wrong with them.
func TestAsk(t *testing.T) {
	vars := map[string]any{"x": map[string]any{"text": "a b/ü", "up": "..", "line": "a\nb", "number": int64(1), "none": nil, "long": strings.Repeat("x", MaxText+1), "at": "2026-07-15T12:00:00Z"}}
	text := func(expr string) string {
		p, err := CompileText(expr, "x")
		if err != nil {
			return "compile: " + err.Error()
		}
		out, err := p.Eval(context.Background(), vars)
		return fmt.Sprint(out, " ", err)
	}
	moment := func(expr string) string {
		p, err := CompileMoment(expr, "x")
		if err != nil {
			return "compile: " + err.Error()
		}
		out, err := p.Eval(context.Background(), vars)
		if err != nil {
			return err.Error()
		}
		return out.UTC().Format(time.RFC3339)
	}
	value := func(expr string) string {
		p, err := CompileValue(expr, "x")
		if err != nil {
			return "compile: " + err.Error()
		}
		out, err := p.JSON(context.Background(), vars)
		return fmt.Sprint(string(out), " ", err)
	}
	for _, test := range []struct {
		how              func(string) string
		expr, want, what string
	}{
		{text, "'a' + x.text", "aa b/ü <nil>", ""},
		{text, "query(x.text)", "a+b%2F%C3%BC <nil>", ""},
		{text, "query('')", " <nil>", ""},
		{text, "segment('a b?#%c')", "a%20b%3F%23%25c <nil>", ""},
		{text, "segment(x.text)", "it must be one part of a path", "a slash"},
		{text, "segment(x.up)", "it must be one part of a path", "the folder above"},
		{text, "segment('')", "it must be one part of a path", "nothing"},
		{text, "segment(x.line)", "it must be one part of a path", "a line break"},
		{text, "segment(x.number)", "no such overload", ""},
		{text, "query(x.line)", "characters that are not seen", ""},
		{text, "query(x.none)", "no such overload", ""},
		{text, "1", "compile: 1:1: the result must be a string, but is of type int", ""},
		{text, "x.number", "1:1: the result must be a string, but is of type int", ""},
		{text, "x.long", "longer than 16384 bytes", ""},
		{text, "x.nope", "no such key: nope", ""},
		{moment, "timestamp(x.at) + duration('1h')", "2026-07-15T13:00:00Z", ""},
		{moment, "x.at", "the result must be a timestamp, but is of type string", ""},
		{moment, "duration('1h')", "compile: 1:1: the result must be a timestamp, but is of type google.protobuf.Duration", ""},
		{moment, "timestamp(x.text)", "1:10", ""},
		{moment, "segment(x.at)", "compile: 1:8: undeclared reference to 'segment'", "only texts have it"},
		{value, "{'a': [x.number, 1.5, x.none, true], 'b': x.text}", `{"a":[1,1.5,null,true],"b":"a b/ü"} <nil>`, ""},
		{value, "x.text", `"a b/ü" <nil>`, ""},
		{value, "x.long", "longer than 16384 bytes", ""},
		{value, "x.nope", "no such key: nope", ""},
		{value, "type(x)", "cannot be written as JSON", ""},
		{value, "x +", "compile: 1:", ""},
	} {
		if got := test.how(test.expr); !strings.Contains(got, test.want) {
			t.Errorf("%s (%s): %q, want %q", test.expr, test.what, got, test.want)
		}
	}
	if _, err := Compile("query('x') == 'x'"); err == nil {
		t.Error("a condition of a policy has functions for a URL")
	}
}
