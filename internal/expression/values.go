package expression

import (
	"errors"
	"slices"
	"strings"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// evalError is an error of an evaluation, in two wordings.
type evalError struct {
	error
	withoutValues string
}

func (e *evalError) Unwrap() error { return e.error }

// WithoutValues words an error of Eval for people who may not read what was
// evaluated: it quotes the expression, which they wrote, and no value.
func WithoutValues(err error) string {
	if e := (*evalError)(nil); errors.As(err, &e) {
		return e.withoutValues
	}
	return err.Error()
}

// told are the errors of cel whose first words say it all; what follows may be a
// value.
var told = []string{"no such key", "no such overload", "index out of bounds", "division by zero", "modulus by zero"}

func (p *Program) explainWithoutValues(err error) string {
	var located *types.Err
	if !errors.As(err, &located) {
		if cause := limitExceeded(err); cause != nil {
			return cause.Error()
		}
		return "it cannot be evaluated"
	}
	message := "a value is not what is needed here"
	for _, words := range told {
		if strings.HasPrefix(located.Error(), words) {
			message = words
		}
	}
	if key, missing := strings.CutPrefix(located.Error(), "no such key: "); missing && slices.Contains(p.keys[located.NodeID()], key) {
		message += ": " + key
	}
	return at(p.source.GetStartLocation(located.NodeID()), message).Error()
}

// keysOf are, by node, the keys of each selection that the expression names all by
// itself: object.status.phase, and not object[object.name].phase.
func keysOf(root celast.NavigableExpr) map[int64][]string {
	keys := map[int64][]string{}
	for _, node := range celast.MatchDescendants(root, celast.AllMatcher()) {
		named, literal, ok := selection(node)
		if !ok {
			continue
		}
		keys[node.ID()] = named
		if literal != nil {
			keys[literal.ID()] = named
		}
	}
	return keys
}

// selection are the keys of a selection, and the last of them where it is a
// literal of its own.
func selection(e celast.Expr) (keys []string, literal celast.Expr, ok bool) {
	var operand celast.Expr
	var key string
	switch e.Kind() {
	case celast.IdentKind:
		return nil, nil, true
	case celast.SelectKind:
		operand, key = e.AsSelect().Operand(), e.AsSelect().FieldName()
	case celast.CallKind:
		call := e.AsCall()
		if !slices.Contains([]string{operators.Index, operators.OptIndex, operators.OptSelect}, call.FunctionName()) || call.Args()[1].Kind() != celast.LiteralKind {
			return nil, nil, false
		}
		operand, literal = call.Args()[0], call.Args()[1]
		if key, ok = literal.AsLiteral().Value().(string); !ok {
			return nil, nil, false
		}
	default:
		return nil, nil, false
	}
	before, _, ok := selection(operand)
	return append(slices.Clone(before), key), literal, ok
}

// selectedFrom are the keys of the longest selection that begins at a node.
func selectedFrom(node celast.NavigableExpr) (keys []string) {
	for parent, ok := node.Parent(); ok; parent, ok = parent.Parent() {
		further, _, selects := selection(parent)
		if !selects || len(further) != len(keys)+1 {
			break
		}
		keys = further
	}
	return keys
}
