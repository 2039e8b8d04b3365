package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/test/kit"
)

// way is a connection that the policy lets through, or does not.
type way struct {
	name    string
	from    place
	network string
	address string
	open    bool
}

// reach tells whether what listens at an address can be reached from the place.
func (p place) reach(ctx context.Context, network, address string) error {
	conn, err := p.dial(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if network == "tcp" {
		return nil
	}
	if _, err := conn.Write([]byte("?")); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// refused tells whether an error is what a firewall does: others are mistakes
// of the test.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// check tries each way. It waits for refusals, which begin when the enforcer knows
// a new Pod, and for nothing that must be open all the time.
func (s *scene) check(t *testing.T) {
	t.Helper()
	ways := s.ways(t)
	for _, w := range ways {
		if !w.open {
			soon(t, w, false)
		}
	}
	for _, w := range ways {
		if !w.open {
			continue
		}
		if err := w.is(t.Context(), true); err != nil {
			t.Error(err)
		}
	}
}

// is tells why a way is not open, or is. An attempt ends by its own time alone: one
// that the end of ctx breaks off would look refused.
func (w way) is(ctx context.Context, open bool) error {
	err := w.from.reach(context.WithoutCancel(ctx), w.network, w.address)
	switch {
	case err == nil && !open:
		return fmt.Errorf("%s (%s) goes through", w.name, w.address)
	case err != nil && open:
		return fmt.Errorf("%s (%s): %w", w.name, w.address, err)
	case err != nil && !refused(err):
		return fmt.Errorf("%s (%s) fails, but for another reason: %w", w.name, w.address, err)
	}
	return nil
}

func soon(t *testing.T, w way, open bool) {
	t.Helper()
	kit.Eventually(t, fmt.Sprintf("%s to be open: %t", w.name, open), func(ctx context.Context) (bool, error) {
		err := w.is(ctx, open)
		return err == nil, err
	})
}
