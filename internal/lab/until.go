package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// Patience is how long to wait for what must come; it is never waited out.
	Patience = 30 * time.Second

	// between is the pause between two looks at what is waited for.
	between = 20 * time.Millisecond
)

// hopeless is an error that no waiting mends.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }

// Hopeless makes an error end an Until at once.
func Hopeless(err error) error { return hopeless{err} }

// Until asks again and again whether something is done, which it is not when
// there is an error. The last error is returned when the time is up.
func Until(ctx context.Context, patience time.Duration, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
	defer cancel()
	ticker := time.NewTicker(between)
	defer ticker.Stop()
	var missing error
	for {
		ok, err := done(ctx)
		if ok && err == nil {
			return nil
		}
		if errors.As(err, new(hopeless)) {
			return err
		}
		if ctx.Err() == nil {
			missing = err // and not that this very question was cut off
		}
		select {
		case <-ctx.Done():
			if missing == nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w: %w", context.Cause(ctx), missing)
		case <-ticker.C:
		}
	}
}
