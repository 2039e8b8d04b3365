// Package expression compiles and evaluates the CEL expressions that users write:
// the conditions of a policy, the completeWhen of a task, and what a check asks. It
// is pure: the time, like everything else an expression sees, is a variable.
//
// The language is that of https://github.com/google/cel-spec with optional
// values and cel-go's string and set functions, but for the few of them whose
// cost cannot be bounded.
package expression

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	_ "time/tzdata" // now.getHours('Europe/Berlin') in an image without time zones

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"github.com/accessbroker/accessbroker/internal/text"
)

// How large an expression may be, and what it may use. cel charges a call only
// after it was made, so costLimit alone does not stop one huge call: valueLimit
// bounds what goes into a call, and unbounded lists the calls that would even so
// take too much time or memory. With these numbers the worst known expression
// takes a second or two; see TestCostly.
const (
	maxLength = 4096 // characters of source
	maxDepth  = 64   // parentheses inside one another
	maxNodes  = 2048 // nodes of the syntax tree, macros expanded
	maxLoops  = 5    // all, exists, map and filter inside or after one another
	maxRegexp = 500  // instructions of a compiled regular expression

	costLimit  = 100_000 // cel's own unit: a step, or ten characters read
	valueLimit = 5_000   // elements of any one value, all levels counted; see input
	valueDepth = 64      // levels of any one value
	charsEach  = 40      // characters of a string that count as one element
	checkEvery = 100     // turns of a loop between two looks at the context

	maxMessage = 300 // bytes of an error
)

// unbounded functions multiply: their work or their result grows with the
// product of their arguments, to gigabytes within valueLimit.
var unbounded = []string{"format", "indexOf", "join", "lastIndexOf", "replace"}

// language is the environment that all expressions share, variables apart.
var language = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.OptionalTypes(),
		ext.Strings(),
		ext.Sets(),
		cel.ParserExpressionSizeLimit(maxLength),
		cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNodeLimit(maxNodes),
		cel.RegexProgramSizeLimit(maxRegexp),
		cel.ASTValidators(
			cel.ValidateComprehensionNestingLimit(maxLoops),
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateRegexLiterals(),
		),
	)
})

// Program is a compiled expression, safe for concurrent use.
type Program struct {
	program cel.Program
	source  *celast.SourceInfo
	// selects are the paths that the expression reads, each a variable and keys
	// in it, as far as the keys are literal.
	selects [][]string
	// keys of the selections that the expression names all by itself, by node.
	keys map[int64][]string
}

// Reads tells whether the expression may read the value at a path, which is a
// variable and keys in it: the value itself, a part of it, or a whole that
// contains it.
func (p *Program) Reads(path ...string) bool {
	return slices.ContainsFunc(p.selects, func(keys []string) bool {
		n := min(len(keys), len(path))
		return slices.Equal(keys[:n], path[:n])
	})
}

// Compile compiles an expression over the variables of these names. They are
// of any type; the result must be a bool, or of a type that is known only at
// evaluation. The error is one line that is safe to show and begins with the
// position as line:column.
func Compile(expr string, vars ...string) (*Program, error) {
	return compile(expr, "true or false", cel.BoolType, nil, vars)
}

// compile compiles an expression with a result of a type, which words says for
// people, over variables and functions.
func compile(expr, words string, result *cel.Type, functions []cel.EnvOption, vars []string) (_ *Program, err error) {
	defer recoverTo(&err)
	env, err := language()
	if err != nil {
		return nil, err
	}
	declarations := slices.Clone(functions)
	for _, name := range vars {
		declarations = append(declarations, cel.Variable(name, cel.DynType))
	}
	if env, err = env.Extend(declarations...); err != nil {
		return nil, errors.New(printable(err.Error()))
	}
	ast, issues := env.Compile(expr)
	if all := issues.Errors(); len(all) > 0 {
		return nil, at(all[0].Location, all[0].Message)
	}
	tree := ast.NativeRep()
	root := celast.NavigateAST(tree)
	for _, name := range unbounded {
		for _, call := range celast.MatchDescendants(root, celast.FunctionMatcher(name)) {
			return nil, at(tree.SourceInfo().GetStartLocation(call.ID()), name+" is not available, because its cost has no bound")
		}
	}
	if is := ast.OutputType(); !is.IsExactType(result) && !is.IsExactType(cel.DynType) && !result.IsExactType(cel.DynType) {
		return nil, at(common.NewLocation(1, 0), fmt.Sprintf("the result must be %s, but is of type %s", words, is))
	}
	program, err := env.Program(ast,
		cel.EvalOptions(cel.OptOptimize),
		cel.InterruptCheckFrequency(checkEvery),
		cel.CostLimit(costLimit),
		cel.MemoryLimit(valueLimit),
		cel.MemoryTracking(types.MemoryTrackerSizeCalculator(calculator())),
	)
	if err != nil {
		return nil, errors.New(printable(err.Error()))
	}
	var selects [][]string
	for _, name := range celast.MatchDescendants(root, celast.KindMatcher(celast.IdentKind)) {
		selects = append(selects, slices.Concat([]string{name.AsIdent()}, selectedFrom(name)))
	}
	return &Program{program: program, source: tree.SourceInfo(), selects: selects, keys: keysOf(root)}, nil
}

// Eval evaluates the program over the variables it was compiled with: JSON
// values (map[string]any, []any and so on), or time.Time for a timestamp.
// When the expression is neither true nor false (a missing key, a result that is
// not a bool, a limit exceeded), the error is one line that is safe to show, with
// the position if cel knows it. When ctx is over, the error wraps its cause.
func (p *Program) Eval(ctx context.Context, vars map[string]any) (result bool, err error) {
	defer recoverTo(&err)
	out, err := p.value(ctx, vars)
	if err != nil {
		return false, err
	}
	result, ok := out.Value().(bool)
	if !ok {
		return false, notOfType("true or false", out)
	}
	return result, nil
}

func (p *Program) value(ctx context.Context, vars map[string]any) (ref.Val, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("not evaluated: %w", context.Cause(ctx))
	}
	in, values := newInput(), make(map[string]any, len(vars))
	for name, value := range vars {
		values[name] = in.NativeToValue(value)
	}
	out, _, err := p.program.ContextEval(ctx, values)
	if err != nil {
		return nil, &evalError{p.explain(ctx, err), p.explainWithoutValues(err)}
	}
	return out, nil
}

// notOfType says that a result is not what it must be.
func notOfType(words string, out ref.Val) error {
	return at(common.NewLocation(1, 0), fmt.Sprintf("the result must be %s, but is of type %s", words, out.Type().TypeName()))
}

// explain puts an error of an evaluation into words.
func (p *Program) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("evaluation stopped: %w", context.Cause(ctx))
	}
	if cause := limitExceeded(err); cause != nil {
		return cause
	}
	var located *types.Err
	if errors.As(err, &located) {
		return at(p.source.GetStartLocation(located.NodeID()), located.Error())
	}
	return errors.New(printable(err.Error()))
}

func limitExceeded(err error) error {
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) {
		switch cancelled.Cause {
		case interpreter.CostLimitExceeded:
			return fmt.Errorf("the evaluation costs more than the limit of %d", costLimit)
		case interpreter.MemoryLimitExceeded:
			return fmt.Errorf("a value in the evaluation is larger than the limit of %d elements", valueLimit)
		}
	}
	return nil
}

// at is an error at a place in the source, where that is known.
func at(where common.Location, message string) error {
	if where == common.NoLocation {
		return errors.New(printable(message))
	}
	return fmt.Errorf("%d:%d: %s", where.Line(), max(where.Column(), 0)+1, printable(message))
}

// printable makes a message, which may quote the user's text, one line that is
// safe to look at and not too long.
func printable(message string) string { return text.Cut(text.Visible(message), maxMessage) }

// recoverTo turns a panic inside cel into an error: an expression of a user
// must not take the broker down.
func recoverTo(err *error) {
	if r := recover(); r != nil {
		*err = errors.New(printable(fmt.Sprintf("cel panicked: %v", r)))
	}
}
