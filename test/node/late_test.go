package node

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// What happens to the leader's process or Pod makes nothing end late.
func TestNothingEndsLateWithoutTheLeader(t *testing.T) {
	for _, tc := range []struct {
		name string
		fall func(t *testing.T, leader *corev1.Pod)
	}{
		{"its process is killed", func(t *testing.T, leader *corev1.Pod) {
			if err := syscall.Kill(processOf(t, leader, "/access-broker"), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}},
		{"its Pod is deleted", func(t *testing.T, leader *corev1.Pod) { kit.Delete(t, e.Admin, leader) }},
		{"its Pod is deleted at once", func(t *testing.T, leader *corev1.Pod) {
			if err := e.Admin.Delete(t.Context(), leader, client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			settled(t)
			ends := given(t, 3*time.Second, 4*time.Second, 5*time.Second, 7*time.Second, 9*time.Second)
			was := leader(t)
			kit.WaitPast(t, ends[0].due.Add(-time.Second))
			fell := time.Now()
			tc.fall(t, was)
			again := givenAfter(t, fell)
			endOnTime(t, ends)
			if took, err := again(); err != nil {
				t.Error(err)
			} else {
				t.Logf("access is given again after %s", took.Round(time.Millisecond))
			}
			settled(t)
			if err := replaced(t, was); err != nil {
				t.Error(err)
			}
		})
	}
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

// replaced checks that the leader that fell does not run as it did.
func replaced(t *testing.T, was *corev1.Pod) error {
	t.Helper()
	for _, pod := range brokers(t) {
		if pod.UID == was.UID && pod.Status.ContainerStatuses[0].ContainerID == was.Status.ContainerStatuses[0].ContainerID {
			return fmt.Errorf("the leader %s never fell", was.Name)
		}
	}
	return nil
}
