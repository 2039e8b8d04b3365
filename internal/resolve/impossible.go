package resolve

import "fmt"

// Impossible says why a request can never be granted as it is: a mistake of
// the one who asked, not an error.
type Impossible struct {
	Reason, Message string
	// Waits is the reason for which a new request waits before that is its end;
	// empty when nothing that comes can change it.
	Waits string
}

func (e *Impossible) Error() string { return e.Message }

// Impossiblef is what nothing that comes can change.
func Impossiblef(reason, format string, args ...any) error {
	return &Impossible{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Missingf is Impossiblef for what may be on its way.
func Missingf(waits, reason, format string, args ...any) error {
	return &Impossible{Reason: reason, Message: fmt.Sprintf(format, args...), Waits: waits}
}
