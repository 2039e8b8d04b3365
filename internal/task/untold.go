package task

import (
	"errors"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Untold is an error: the broker cannot tell now whether a task is over. It is
// reported, but ends nothing: the deadline holds.
type Untold struct {
	// Reason of the condition TaskWatched, and what it says.
	Reason, Message string
}

func (e *Untold) Error() string { return e.Message }

// CompleteWhenErrs makes an Untold of a completeWhen that cannot be evaluated.
func CompleteWhenErrs(err error) *Untold {
	return &Untold{Reason: v1alpha1.ReasonCompleteWhenErrs, Message: "the broker cannot tell whether the task is over: " + err.Error()}
}

// TakeUntold takes the Untold, if any, out of an error; rest is every other error in
// it.
func TakeUntold(err error) (untold *Untold, rest error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if errors.As(err, &untold) {
			return untold, nil
		}
		return nil, err
	}
	var others []error
	for _, each := range joined.Unwrap() {
		found, other := TakeUntold(each)
		if found != nil {
			untold = found
		}
		others = append(others, other)
	}
	return untold, errors.Join(others...)
}
