package task

import (
	"errors"
	"fmt"
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// TakeUntold separates what to report about the task from other errors.
func TestTakeUntold(t *testing.T) {
	broken, untold := errors.New("broken"), CompleteWhenErrs(errors.New("no such key"))
	for name, test := range map[string]struct {
		err  error
		told bool
		rest error
	}{
		"nothing":              {nil, false, nil},
		"an error":             {broken, false, broken},
		"the task":             {untold, true, nil},
		"the task, wrapped":    {fmt.Errorf("look: %w", untold), true, nil},
		"both":                 {errors.Join(broken, untold), true, broken},
		"both, one in another": {errors.Join(errors.Join(untold, nil), errors.Join(broken)), true, broken},
	} {
		got, rest := TakeUntold(test.err)
		if (got != nil) != test.told || !errors.Is(rest, test.rest) || (rest == nil) != (test.rest == nil) {
			t.Errorf("%s: %v, %v", name, got, rest)
		}
		if got != nil && (got.Reason != v1alpha1.ReasonCompleteWhenErrs || got.Error() != "the broker cannot tell whether the task is over: no such key") {
			t.Errorf("%s: it says %s", name, got)
		}
	}
}
