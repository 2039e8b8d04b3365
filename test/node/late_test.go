package node

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// onTime is how late access may end.
const onTime = time.Second

// end is when alice's access to a namespace is to end.
type end struct {
	namespace string
	due       time.Time
}

// given gives alice access to some namespaces that ends at different times.
func given(t *testing.T, durations ...time.Duration) []end {
	t.Helper()
	var ends []end
	for _, d := range durations {
		ns := e.NewNamespace(t, nil)
		e.NewPolicy(t, ns, automatic)
		request := e.WaitFor(t, e.Ask(t, alice, ns, lasting(d)), v1alpha1.RequestActive)
		ends = append(ends, end{ns, e.GrantOf(t, request).Spec.ExpirationTime.Time})
	}
	return ends
}

// endOnTime waits for the end of each access, and checks that it is neither
// early nor late.
func endOnTime(t *testing.T, ends []end) {
	t.Helper()
	late := make([]time.Duration, len(ends))
	group, ctx := errgroup.WithContext(t.Context())
	for i, each := range ends {
		group.Go(func() (err error) {
			late[i], err = lateness(ctx, each)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, by := range late {
		t.Logf("access %d of %d ended %s after its time", i+1, len(ends), by.Round(time.Millisecond))
		if by > onTime || by < -100*time.Millisecond {
			t.Errorf("access %d ended %s after its time", i+1, by)
		}
	}
}

func lateness(ctx context.Context, each end) (time.Duration, error) {
	err := lab.Until(ctx, kit.Patience+time.Until(each.due), func(ctx context.Context) (bool, error) {
		can, err := mayDelete(ctx, each.namespace)
		return !can, err
	})
	return time.Since(each.due), err
}

func mayDelete(ctx context.Context, ns string) (bool, error) {
	return lab.Can(ctx, alice, authorizationv1.ResourceAttributes{Namespace: ns, Verb: "delete", Resource: "pods"})
}

// givenAfter asks for access, and returns what waits for it and tells how long
// it took since a moment.
func givenAfter(t *testing.T, moment time.Time) (again func() (time.Duration, error)) {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	e.Ask(t, alice, ns, nil)
	var took time.Duration
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error {
		err := lab.Until(ctx, time.Minute, func(ctx context.Context) (bool, error) { return mayDelete(ctx, ns) })
		took = time.Since(moment)
		return err
	})
	return func() (time.Duration, error) {
		err := group.Wait()
		return took, err
	}
}
