// Package expirer removes access whose time is up, on every replica. It knows the
// deadline and nothing else: no policy, request, task or notification can stand
// between a deadline and its revocation.
package expirer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
)

// Reconciler removes the bindings of every grant whose deadline has passed. It
// runs on every replica, leader or not: no lease stands between a deadline and
// its revocation. It writes no status; the leader records the end when it
// finds the bindings gone.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server, not from the cache.
	Live  client.Reader
	Clock clock.PassiveClock
	// Backlog tells the leader to leave the API server to the removals.
	Backlog *queue.Backlog
	Metrics *record.Metrics

	// struck are the grants, by name, whose bindings were deleted once.
	struck sync.Map
}

// MaxWait is the longest time between two looks at the clock for a grant: a timer
// does not notice that the clock was set ahead or that the machine slept.
const MaxWait = time.Minute

// VerifyAfter is how long the expirer waits for the cache to show a removal. It
// verifies after the removals that are still due.
const VerifyAfter = 20 * time.Millisecond

// Reconcile removes what is due, or waits for the deadline.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	g := &v1alpha1.AccessGrant{}
	if err := r.Client.Get(ctx, key.NamespacedName, g); err != nil {
		r.struck.Delete(key.Name)
		if client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("read grant: %w", err)
		}
		left, err := access.TakeLeftovers(ctx, r.Client, r.Live, key.Name)
		return queue.AgainFor(left), r.Metrics.Removal(err)
	}
	now := r.Clock.Now()
	if grant.Expired(g, now) == nil {
		return reconcile.Result{RequeueAfter: min(g.Spec.ExpirationTime.Sub(now), MaxWait)}, nil
	}
	struck, err := r.strikeOnce(ctx, g)
	var left []string
	if !struck && err == nil {
		err = r.Backlog.Removing(func() (err error) {
			left, err = access.Take(ctx, r.Client, r.Live, g)
			return err
		})
	}
	if struck || err != nil {
		r.Metrics.Revoked(g, r.Clock.Now(), err)
	}
	if struck && err == nil {
		return queue.Later(VerifyAfter), nil
	}
	return queue.AgainFor(left), err
}

// strikeOnce strikes the bindings of a grant, but only the first time that it is
// called for that grant. access.Take removes what is left and verifies that all is
// gone.
func (r *Reconciler) strikeOnce(ctx context.Context, g *v1alpha1.AccessGrant) (struck bool, err error) {
	if _, before := r.struck.LoadOrStore(g.Name, true); before {
		return false, nil
	}
	err = r.Backlog.Removing(func() (err error) {
		struck, err = access.Strike(ctx, r.Client, r.Live, g)
		return err
	})
	if err != nil {
		r.struck.Delete(g.Name) // the next strike measures how late it was
	}
	return struck, err
}

// maxCatchUp bounds how long the reconcilers wait at the start for the removal of
// overdue access.
const maxCatchUp = 5 * time.Second

// Start strikes what fell due while no replica ran, before the reconcilers look at
// anything. They do what it cannot finish in time.
func (r *Reconciler) Start(ctx context.Context) error {
	defer r.Backlog.CaughtUp()
	ctx, cancel := context.WithTimeout(ctx, maxCatchUp)
	defer cancel()
	var list v1alpha1.AccessGrantList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list grants: %w", err)
	}
	now := r.Clock.Now()
	var group errgroup.Group
	group.SetLimit(queue.MaxConcurrent)
	for i := range list.Items {
		g := &list.Items[i]
		if grant.Expired(g, now) != nil {
			group.Go(func() error {
				if struck, err := r.strikeOnce(ctx, g); struck || err != nil {
					r.Metrics.Revoked(g, r.Clock.Now(), err)
				}
				return nil // it will be tried again
			})
		}
	}
	return group.Wait()
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (r *Reconciler) NeedLeaderElection() bool { return false }
