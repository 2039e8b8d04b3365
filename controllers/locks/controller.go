// Package locks takes the access of people who are locked out, on every replica: a
// lock is for the moment in which nobody wants to wait for a leader. The leader
// records why the access ended.
package locks

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/lock"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
)

// Reconciler strikes the grants that a lock is for.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server, not from the cache.
	Live    client.Reader
	Clock   clock.PassiveClock
	Backlog *queue.Backlog
	Metrics *record.Metrics
}

// Reconcile strikes the access of all grants that a lock is for. What is given at the
// same moment the grant controller takes: it looks at the locks too.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	l := &v1alpha1.AccessLock{}
	if err := r.Client.Get(ctx, key.NamespacedName, l); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("read lock: %w", err)
		}
		return reconcile.Result{}, nil
	}
	if !lock.InForce(l, r.Clock.Now()) {
		return reconcile.Result{}, nil
	}
	list := &v1alpha1.AccessGrantList{}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, fmt.Errorf("list grants: %w", err)
	}
	// A lock on a group may be on thousands: none waits for the removal of another.
	errs := make([]error, len(list.Items))
	var group errgroup.Group
	group.SetLimit(queue.MaxConcurrent)
	for i := range list.Items {
		g := &list.Items[i]
		if !lock.Meets(lock.OfGrant(g), l) {
			continue
		}
		group.Go(func() error {
			errs[i] = r.Backlog.Removing(func() error {
				_, err := access.Strike(ctx, r.Client, r.Live, g)
				return err
			})
			return nil // one that fails stops no other
		})
	}
	_ = group.Wait()
	return reconcile.Result{}, r.Metrics.Removal(errors.Join(errs...))
}
