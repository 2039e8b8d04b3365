package resolve

import "fmt"

// Impossible says why a request can never be granted as it is: a mistake of the
// requester, not an error.
type Impossible struct {
	Reason, Message string
	// Waits is the reason of the condition while a new request waits before it fails;
	// empty when waiting cannot help.
	Waits string
}

func (e *Impossible) Error() string { return e.Message }

// Impossiblef makes an Impossible for which waiting cannot help.
func Impossiblef(reason, format string, args ...any) error {
	return &Impossible{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Missingf makes an Impossible for what may be on its way.
func Missingf(waits, reason, format string, args ...any) error {
	return &Impossible{Reason: reason, Message: fmt.Sprintf(format, args...), Waits: waits}
}
