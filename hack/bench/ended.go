package main

import (
	"context"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// cause ends all active grants before their deadline. undo makes the next stock
// possible.
type cause struct {
	name     string
	do, undo func(context.Context, *scene) error
}

var causes = []cause{
	{"their policy deleted", deletePolicy, func(ctx context.Context, s *scene) error { return s.writePolicy(ctx) }},
	{"their role deleted", deleteRole, writeRole},
	{"their requests deleted", deleteRequests, func(context.Context, *scene) error { return nil }},
}

// endedByOneCause: many grants that end before their deadline, all for one
// reason, until the last binding is gone, beside plain workers who delete as many.
func endedByOneCause(ctx context.Context, s *scene) (results []result, err error) {
	for _, n := range s.n.ended {
		_, floor, err := s.plainWorkers(ctx, n)
		if err != nil {
			return results, err
		}
		for _, c := range causes {
			took, caused, err := s.end(ctx, n, c)
			if err != nil {
				return results, fmt.Errorf("%s: %w", c.name, err)
			}
			// To delete as many requests is the work of ten plain workers, too.
			r := result{What: fmt.Sprintf("%s grants ended early, %s → last binding gone", thousands(n), c.name), Unit: "ms", Value: millis(took)}.beside(millis(max(floor, caused)))
			results = append(results, r.aims("≤ 2 × 10 plain workers", r.Ratio <= 2))
		}
	}
	return results, nil
}

// end tells how long it took from the beginning of the cause to the last binding
// gone, and how long the cause alone took.
func (s *scene) end(ctx context.Context, n int, c cause) (took, caused time.Duration, err error) {
	if err := s.startBroker(ctx, direct); err != nil {
		return 0, 0, err
	}
	if err := s.cut(ctx); err != nil { // policy and role are new ones
		return 0, 0, err
	}
	if err := s.stock(ctx, n, time.Now().Add(time.Hour)); err != nil {
		return 0, 0, err
	}
	if err := s.startBroker(ctx, direct); err != nil {
		return 0, 0, err
	}
	if err := s.quiet(ctx); err != nil {
		return 0, 0, err
	}
	last, err := s.lastOf(ctx, n, watch.Deleted, grantLabel)
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := c.do(ctx, s); err != nil {
		return 0, 0, err
	}
	caused = time.Since(begin)
	at, err := last()
	if err != nil {
		return 0, 0, err
	}
	if err := s.quiet(ctx); err != nil { // all of it is recorded
		return 0, 0, err
	}
	return at.Sub(begin), caused, c.undo(ctx, s)
}

func deletePolicy(ctx context.Context, s *scene) error {
	return s.Admin.Delete(ctx, &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: "bench"}})
}

func deleteRole(ctx context.Context, s *scene) error {
	s.role = &rbacv1.ClusterRole{}
	if err := s.Admin.Get(ctx, client.ObjectKey{Name: "edit"}, s.role); err != nil {
		return err
	}
	return s.Admin.Delete(ctx, s.role.DeepCopy())
}

func writeRole(ctx context.Context, s *scene) error {
	s.role.ResourceVersion, s.role.UID = "", ""
	return s.Admin.Create(ctx, s.role)
}

func deleteRequests(ctx context.Context, s *scene) error {
	list := &v1alpha1.AccessRequestList{}
	if err := s.Admin.List(ctx, list); err != nil {
		return err
	}
	var active []*v1alpha1.AccessRequest
	for i := range list.Items {
		if list.Items[i].Status.Phase == v1alpha1.RequestActive {
			active = append(active, &list.Items[i])
		}
	}
	return each(ctx, workers, len(active), func(ctx context.Context, i int) error { return s.asBroker.Delete(ctx, active[i]) })
}
