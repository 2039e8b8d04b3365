package expression

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/accessbroker/accessbroker/internal/text"
)

// noon is a Wednesday, 12:00 in UTC and 14:00 in Berlin.
var noon = time.Date(2026, time.July, 15, 12, 0, 0, 0, time.UTC)

func request() map[string]any {
	return map[string]any{
		"requester": map[string]any{"username": "alice", "groups": []string{"dev", "oncall"}},
		"reason":    "Deploy is stuck",
		"ticket":    "CHG-1234",
		"urgent":    true,
		"minutes":   int64(30),
		"nothing":   nil,
	}
}

func TestEval(t *testing.T) {
	vars := map[string]any{"request": request(), "now": noon}
	for name, test := range map[string]struct {
		expr string
		want bool
	}{
		"literal":              {"true", true},
		"field":                {"request.requester.username == 'alice'", true},
		"field that differs":   {"request.requester.username == 'bob'", false},
		"dyn that is a bool":   {"request.urgent", true},
		"membership":           {"'oncall' in request.requester.groups", true},
		"comprehension":        {"request.requester.groups.exists(g, g.startsWith('on'))", true},
		"regular expression":   {"request.ticket.matches('^CHG-[0-9]+$')", true},
		"no match":             {"request.ticket.matches('^INC-')", false},
		"number":               {"request.minutes <= 60", true},
		"number of two types":  {"request.minutes < 30.5", true},
		"time in a zone":       {"now.getHours('Europe/Berlin') == 14", true},
		"time in UTC":          {"now.getHours() == 12", true},
		"weekday":              {"now.getDayOfWeek('America/New_York') == 3", true},
		"time arithmetic":      {"now + duration('1h') < timestamp('2026-07-15T13:00:01Z')", true},
		"strings library":      {"request.reason.lowerAscii().split(' ')[0] == 'deploy'", true},
		"sets library":         {"sets.intersects(request.requester.groups, ['oncall', 'sre'])", true},
		"presence":             {"has(request.absent)", false},
		"optional":             {"request.?absent.orValue('') == ''", true},
		"short circuit":        {"false && request.absent", false},
		"several lines":        {"request.urgent\n  && true", true},
		"macros in a sequence": {"request.requester.groups.filter(g, g != 'dev').map(g, size(g)).all(n, n == 6)", true},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := Compile(test.expr, "request", "now")
			if err != nil {
				t.Fatal(err)
			}
			got, err := program.Eval(context.Background(), vars)
			if err != nil || got != test.want {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
		})
	}
}

// TestZone shows that the time of day does not depend on the zone the
// broker's clock is in.
func TestZone(t *testing.T) {
	program, err := Compile("now.getHours() == 12", "now")
	if err != nil {
		t.Fatal(err)
	}
	got, err := program.Eval(context.Background(), map[string]any{"now": noon.In(time.FixedZone("", 5*3600))})
	if err != nil || !got {
		t.Errorf("got %v, %v; want true", got, err)
	}
}

func TestCompileError(t *testing.T) {
	for name, test := range map[string]struct{ expr, want string }{
		"empty":              {"", "1:1: Syntax error: "},
		"unfinished":         {"true &&", "1:8: Syntax error: "},
		"second line":        {"true &&\n  1 == 'a'", "2:5: found no matching overload"},
		"unknown variable":   {"true || nope", "1:9: undeclared reference to 'nope'"},
		"not a bool":         {"1 + 1", "1:1: the result must be true or false, but is of type int"},
		"bad regular expr":   {"request.ticket.matches('[')", "1:24: invalid matches argument"},
		"bad timestamp":      {"now > timestamp('tomorrow')", "1:17: "},
		"bidi and control":   {"true \u202e\x07", `1:6: Syntax error: token recognition error at: '\u202e'`},
		"too long":           {strings.Repeat(" ", maxLength) + "true", "expression code point size exceeds limit"},
		"too deep":           {strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), "recursion"},
		"too many nodes":     {"true" + strings.Repeat("||0<1", 700), "node"},
		"too many loops":     {"[[1]]" + strings.Repeat(".map(x, x + x)", 40) + ".all(x, 2 in x)", "comprehension exceeds nesting limit"},
		"large regular expr": {"request.ticket.matches('(a?){1000}b')", "regex program size 4003 exceeds limit of 500"},
		"replace":            {"request.ticket.replace('', request.ticket) == ''", "1:23: replace is not available"},
		"join inside":        {"request.urgent && [request.ticket].exists(x, [x].join('') == '')", "join is not available"},
		"format":             {"'%s'.format([1]) == ''", "format is not available"},
		"indexOf":            {"request.ticket.indexOf('a') == 1", "indexOf is not available"},
		"lastIndexOf":        {"request.ticket.lastIndexOf('a') == 1", "lastIndexOf is not available"},
		"two expressions":    {"true false", "1:6: Syntax error: "},
		"bad constant":       {"int('one') == 1", "type conversion error from 'string' to 'int'"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(test.expr, "request", "now")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v; want %q", err, test.want)
			}
			checkReadable(t, err)
		})
	}
}

func TestEvalError(t *testing.T) {
	for name, test := range map[string]struct{ expr, want string }{
		"no such key":          {"request.absent == 1", "1:8: no such key: absent"},
		"dyn that is a string": {"request.reason", "the result must be true or false, but is of type string"},
		"dyn that is null":     {"request.nothing", "the result must be true or false, but is of type null_type"},
		"variable not given":   {"now == now", "1:1: no such attribute"},
		"wrong type":           {"request.reason + 1 == 2", "1:16: no such overload"},
		"division by zero":     {"1 / (request.minutes - 30) == 1", "1:3: division by zero"},
		"unknown time zone":    {"timestamp('2026-07-15T12:00:00Z').getHours(request.reason) == 1", "Deploy is stuck"},
		"out of bounds":        {"request.requester.groups[7] == 'a'", "index out of bounds: 7"},
		"quoted control":       {"request[request.reason + '\\u202e\\n'] == 1", `no such key: Deploy is stuck\u202e\n`},
		"large regular expr":   {"request.ticket.matches(request.ticket + '(a?){1000}')", "regex program size"},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := Compile(test.expr, "request", "now")
			if err != nil {
				t.Fatal(err)
			}
			got, err := program.Eval(context.Background(), map[string]any{"request": request()})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v; want %q", err, test.want)
			}
			if got {
				t.Error("true with an error")
			}
			checkReadable(t, err)
		})
	}
}

// TestCostly holds the worst expressions known against the limits: each ends
// by an answer or an error of its own, within two seconds on a slow machine.
func TestCostly(t *testing.T) {
	numbers := make([]any, valueLimit-10)
	for i := range numbers {
		numbers[i] = int64(i)
	}
	others := make([]any, len(numbers))
	for i := range others {
		others[i] = int64(-1 - i)
	}
	var deep any = "end"
	for range 5000 {
		deep = []any{deep}
	}
	vars := map[string]any{
		"numbers": numbers,
		"others":  others,
		"text":    strings.Repeat("a", valueLimit*charsEach-100),
		"half":    strings.Repeat("a", valueLimit*charsEach/2-100),
		"deep":    deep,
		"huge":    make([]any, 1_000_000),
	}
	const cost, size = "costs more than the limit", "larger than the limit"
	for name, test := range map[string]struct{ expr, want string }{
		"nested loops":        {"numbers.all(x, numbers.all(y, numbers.all(z, z >= 0)))", cost},
		"quadratic sets":      {"sets.equivalent(numbers, numbers)", cost},
		"disjoint sets":       {"sets.intersects(numbers, others)", cost},
		"membership in loops": {"others.all(x, others.all(y, !(y in numbers)))", cost},
		"equality in loops":   {"numbers.all(x, numbers.all(y, numbers == numbers))", cost},
		"copies in loops":     {"numbers.all(x, numbers.all(y, half + half != ''))", cost},
		"regexp over text":    {"text.matches('(a?){100}b')", ""},
		"regexp in a loop":    {"numbers.all(x, text.matches('a$'))", cost},
		"regexp from data":    {"text.matches(text)", "regex program size"},
		"search in a loop":    {"numbers.all(x, !text.contains('ab'))", cost},
		"huge list":           {"huge.all(x, true)", size},
		"huge list, size":     {"size(huge) > 0", size},
		"deep list":           {"deep == deep", size},
		"split to pieces":     {"size(text.split('')) > 0", cost},
		"doubling text":       {"[half].map(x, x + x).map(x, x + x).map(x, x + x).all(x, x == '')", size},
		"doubling list":       {"[numbers].map(x, x + x).map(x, x + x).all(x, x == [])", size},
		"all of the input":    {"[numbers, text, half, others].all(x, x == x)", size},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := Compile(test.expr, "numbers", "others", "text", "half", "deep", "huge")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err = program.Eval(ctx, vars)
			if ctx.Err() != nil {
				t.Error("took longer than a minute")
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v; want %q", err, test.want)
			}
		})
	}
}

// TestLargeInput shows that the limits leave room for what is real: the
// largest user that the API admits, a field of an object of a megabyte, and
// one of many levels.
func TestLargeInput(t *testing.T) {
	groups := make([]string, 512)
	for i := range groups {
		groups[i] = strings.Repeat("g", 253) + strconv.Itoa(i)
	}
	var deep any = "end"
	for range valueDepth / 2 {
		deep = []any{deep}
	}
	object := map[string]any{
		"deep":   deep,
		"data":   map[string]any{"blob": strings.Repeat("x", 1<<20)},
		"status": map[string]any{"phase": "Done"},
	}
	program, err := Compile("groups.exists(g, g in ['a', 'b', 'c']) || object.status.phase == 'Done' && object.deep != []", "groups", "object")
	if err != nil {
		t.Fatal(err)
	}
	got, err := program.Eval(context.Background(), map[string]any{"groups": groups, "object": object})
	if err != nil || !got {
		t.Errorf("got %v, %v; want true", got, err)
	}
}

// lateContext is over once it has been looked at so many times.
type lateContext struct {
	context.Context
	cancel context.CancelFunc
	looks  int
}

func (c *lateContext) Done() <-chan struct{} {
	if c.looks--; c.looks <= 0 {
		c.cancel()
	}
	return c.Context.Done()
}

func TestCancelled(t *testing.T) {
	program, err := Compile("numbers.all(x, numbers.all(y, y >= 0))", "numbers")
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"numbers": make([]int, 100)}

	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("the broker is stopping")
	cancel(cause)
	if got, err := program.Eval(ctx, vars); got || !errors.Is(err, cause) {
		t.Errorf("cancelled before: got %v, %v; want %v", got, err, cause)
	}

	late := &lateContext{looks: 3}
	late.Context, late.cancel = context.WithCancel(context.Background())
	defer late.cancel()
	if got, err := program.Eval(late, vars); got || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled during: got %v, %v; want %v", got, err, context.Canceled)
	}
}

// trap is a value that cel cannot use without a panic.
type trap struct{ ref.Val }

func (trap) Type() ref.Type { return types.BoolType }
func (trap) Value() any     { panic("a trap\nwith two lines") }

func TestPanic(t *testing.T) {
	program, err := Compile("x", "x")
	if err != nil {
		t.Fatal(err)
	}
	got, err := program.Eval(context.Background(), map[string]any{"x": trap{}})
	if got || err == nil || !strings.Contains(err.Error(), `a trap\nwith two lines`) {
		t.Errorf("in cel: got %v, %v; want the panic as an error", got, err)
	}

	err = func() (err error) {
		defer recoverTo(&err)
		panic(strings.Repeat("long\n", maxMessage))
	}()
	if err == nil || !strings.HasPrefix(err.Error(), `cel panicked: long\nlong\n`) {
		t.Fatalf("around cel: got %v; want the panic as an error", err)
	}
	checkReadable(t, err)
}

func TestConcurrent(t *testing.T) {
	program, err := Compile("request.requester.groups.exists(g, g in ['sre', 'oncall']) && request.ticket.matches('^CHG')", "request")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 50 {
				if got, err := program.Eval(context.Background(), map[string]any{"request": request()}); err != nil || !got {
					t.Errorf("got %v, %v; want true", got, err)
				}
			}
		})
	}
	wait.Wait()
}

// checkReadable checks that an error is one printable line of a bounded length.
func checkReadable(t *testing.T, err error) {
	t.Helper()
	message := err.Error()
	if message == "" || len(message) > maxMessage+20 {
		t.Errorf("%d characters: %s", len(message), message)
	}
	if shown := text.Visible(message); shown != message {
		t.Errorf("%q would be shown as %q", message, shown)
	}
}

// FuzzExpression: no expression over no object panics or hangs, every error is
// readable, and the same question gets the same answer.
func FuzzExpression(f *testing.F) {
	for _, seed := range []struct{ expr, object string }{
		{"object.status.phase == 'Done'", `{"status":{"phase":"Done"}}`},
		{"object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')", `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`},
		{"now.getHours(object.zone) > 8", `{"zone":"Europe/Berlin"}`},
		{"object.a.matches(object.b)", `{"a":"aaaa","b":"(a?){9}b"}`},
		{"sets.contains(object.a, object.b) || object.a == object.b", `{"a":[1,2.5,"x",null],"b":[{}]}`},
		{"object.a.split('').map(x, x + x).exists(x, x == x.reverse())", `{"a":"\u202e\u0000"}`},
		{"object.?a[?0].orValue(false)", `{"a":[true]}`},
		{"{'a': object}.a.b == b'x' || string(object.b) == 'y' || strings.quote(object.b) == ''", `{"b":"y"}`},
		{"duration(object.d) > duration('1h') && timestamp(object.t) < now", `{"d":"9999999h","t":"9999-12-31T23:59:59Z"}`},
		{"[[1]].map(x, x + x).all(x, 2 in x)", `[]`},
		{"((((((", `{}`},
		{"true\u200b\n&&", `"\ud800"`},
	} {
		f.Add(seed.expr, seed.object)
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		var object any
		if json.Unmarshal([]byte(text), &object) != nil {
			object = text
		}
		program, err := Compile(expr, "object", "now")
		if err != nil {
			checkReadable(t, err)
			return
		}
		vars := map[string]any{"object": object, "now": noon}
		first, err := program.Eval(context.Background(), vars)
		second, again := program.Eval(context.Background(), vars)
		if first != second || (err == nil) != (again == nil) {
			t.Fatalf("got %v, %v and then %v, %v", first, err, second, again)
		}
		if err != nil {
			checkReadable(t, err)
			if strings.Contains(err.Error(), "panic") || strings.Contains(err.Error(), "internal error") {
				t.Fatal(err)
			}
		}
	})
}
