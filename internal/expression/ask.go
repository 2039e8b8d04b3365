package expression

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// MaxText is how many bytes the result of a Text, or the JSON of a Value, may have.
const MaxText = 16 << 10

// asking are the functions of expressions that say what an HTTP server is asked: they
// put any text into one place of a URL, where it means nothing else.
var asking = []cel.EnvOption{
	cel.Function("segment", cel.Overload("segment_dyn", []*cel.Type{cel.DynType}, cel.StringType, cel.UnaryBinding(segment))),
	cel.Function("query", cel.Overload("query_dyn", []*cel.Type{cel.DynType}, cel.StringType, cel.UnaryBinding(query))),
}

// segment escapes a text as one segment of a path. It refuses what servers and
// proxies take for something else even so.
func segment(value ref.Val) ref.Val {
	text, ok := value.Value().(string)
	switch {
	case !ok:
		return types.MaybeNoSuchOverloadErr(value)
	case text == "" || text == "." || text == ".." || !plainText(text) || strings.ContainsAny(text, "/\\"):
		return types.NewErr("segment: it must be one part of a path, and no other, and is not")
	}
	return types.String(url.PathEscape(text))
}

// query escapes a text as the value of a parameter of a query.
func query(value ref.Val) ref.Val {
	text, ok := value.Value().(string)
	switch {
	case !ok:
		return types.MaybeNoSuchOverloadErr(value)
	case !plainText(text):
		return types.NewErr("query: it has characters that are not seen")
	}
	return types.String(url.QueryEscape(text))
}

// plainText tells whether a text is one line of UTF-8 without control characters.
func plainText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' })
}

// Text is a compiled expression whose result is a string.
type Text struct{ program *Program }

// CompileText is Compile for a string. The expression has the functions segment and
// query besides, for a URL.
func CompileText(expr string, vars ...string) (*Text, error) {
	p, err := compile(expr, "a string", cel.StringType, asking, vars)
	return &Text{p}, err
}

// Eval evaluates it; see Program.Eval. The result is at most MaxText long.
func (t *Text) Eval(ctx context.Context, vars map[string]any) (result string, err error) {
	defer recoverTo(&err)
	out, err := t.program.value(ctx, vars)
	if err != nil {
		return "", err
	}
	result, ok := out.Value().(string)
	switch {
	case !ok:
		return "", notOfType("a string", out)
	case len(result) > MaxText:
		return "", fmt.Errorf("the result is longer than %d bytes", MaxText)
	}
	return result, nil
}

// Moment is a compiled expression whose result is a timestamp.
type Moment struct{ program *Program }

// CompileMoment is Compile for a timestamp.
func CompileMoment(expr string, vars ...string) (*Moment, error) {
	p, err := compile(expr, "a timestamp", cel.TimestampType, nil, vars)
	return &Moment{p}, err
}

// Eval evaluates it; see Program.Eval.
func (m *Moment) Eval(ctx context.Context, vars map[string]any) (result time.Time, err error) {
	defer recoverTo(&err)
	out, err := m.program.value(ctx, vars)
	if err != nil {
		return time.Time{}, err
	}
	result, ok := out.Value().(time.Time)
	if !ok {
		return time.Time{}, notOfType("a timestamp", out)
	}
	return result, nil
}

// Value is a compiled expression whose result is anything that JSON has.
type Value struct{ program *Program }

// CompileValue is Compile for a value.
func CompileValue(expr string, vars ...string) (*Value, error) {
	p, err := compile(expr, "a value", cel.DynType, nil, vars)
	return &Value{p}, err
}

// JSON evaluates it, and writes the result as JSON, at most MaxText of it.
func (v *Value) JSON(ctx context.Context, vars map[string]any) (result []byte, err error) {
	defer recoverTo(&err)
	out, err := v.program.value(ctx, vars)
	if err != nil {
		return nil, err
	}
	native, err := out.ConvertToNative(types.JSONValueType)
	if err != nil {
		return nil, errors.New("the result cannot be written as JSON: " + printable(err.Error()))
	}
	plain, ok := native.(interface{ AsInterface() any }) // a structpb.Value
	if !ok {
		return nil, notOfType("a value", out)
	}
	result, err = json.Marshal(plain.AsInterface())
	switch {
	case err != nil:
		return nil, errors.New("the result cannot be written as JSON: " + printable(err.Error()))
	case len(result) > MaxText:
		return nil, fmt.Errorf("the result is longer than %d bytes", MaxText)
	}
	return result, nil
}
