package expression

import (
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// readLimit bounds how many elements of the input one evaluation may read as a
// whole, to compare them: cel charges a comparison only after it was made.
const readLimit = 10 * costLimit

// input makes values of cel from what an expression is given, for one
// evaluation. Maps and lists are not copied: to name one, to compare it with null
// and to select a field costs what its first level holds. Only what reads all of
// it pays for all of it.
type input struct {
	types.Adapter
	calc *types.SizeCalculator
	left int
}

func newInput() *input {
	return &input{Adapter: types.DefaultTypeAdapter, calc: calculator(), left: readLimit}
}

func calculator() *types.SizeCalculator {
	return types.NewSizeCalculator(
		types.SizeCalculatorMaxTraversal(valueLimit),
		types.SizeCalculatorMaxDepth(valueDepth),
		types.SizeCalculatorStringUnitLength(charsEach),
	)
}

// NativeToValue implements types.Adapter.
func (in *input) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case map[string]any:
		return &object{Mapper: types.NewStringInterfaceMap(in, v), whole: whole{in, v, len(v)}}
	case []any:
		return &list{Lister: types.NewDynamicList(in, v), whole: whole{in, v, len(v)}}
	}
	return in.Adapter.NativeToValue(value)
}

// whole is a map or list that is read as a whole.
type whole struct {
	in     *input
	raw    any
	length int
}

// AggregateSize implements types.AggregateSizeVisitor.
func (w whole) AggregateSize(types.AggregateSizer) uint32 {
	return uint32(min(w.length, valueLimit) + 1) //nolint:gosec // bounded by valueLimit
}

// charge stops the evaluation when the value is larger than any may be, or
// together with what was read before. It panics as cel itself does then: an
// error would be lost on the way through a comparison.
func (w whole) charge() {
	size := w.in.calc.ApproximateAggregateSize(w.raw)
	if size.LimitExceeded || size.Size > valueLimit {
		panic(interpreter.EvalCancelledError{Cause: interpreter.MemoryLimitExceeded, Message: "a large value is read as a whole"})
	}
	if w.in.left -= int(size.Size); w.in.left < 0 {
		panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: "too much is read as a whole"})
	}
}

// plain is the value as cel makes it, which charges nothing: it was charged for.
func (w whole) plain() ref.Val {
	w.charge()
	return w.in.Adapter.NativeToValue(w.raw)
}

func plain(value ref.Val) ref.Val {
	if of, ok := value.(interface{ plain() ref.Val }); ok {
		return of.plain()
	}
	return value
}

// object is a map of the input.
type object struct {
	traits.Mapper
	whole
}

// Equal implements ref.Val.
func (o *object) Equal(other ref.Val) ref.Val {
	m, ok := other.(traits.Mapper)
	if !ok || m.Size() != o.Size() {
		return types.False
	}
	return o.plain().Equal(plain(other))
}

// ConvertToNative implements ref.Val.
func (o *object) ConvertToNative(to reflect.Type) (any, error) { return o.plain().ConvertToNative(to) }

// list is a list of the input.
type list struct {
	traits.Lister
	whole
}

// Equal implements ref.Val.
func (l *list) Equal(other ref.Val) ref.Val {
	o, ok := other.(traits.Lister)
	if !ok || o.Size() != l.Size() {
		return types.False
	}
	return l.plain().Equal(plain(other))
}

// ConvertToNative implements ref.Val.
func (l *list) ConvertToNative(to reflect.Type) (any, error) { return l.plain().ConvertToNative(to) }
