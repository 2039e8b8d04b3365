package controllers

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
	"github.com/accessbroker/accessbroker/internal/grant"
)

// Expirer removes the bindings of every grant whose deadline has passed. It
// runs on every replica, leader or not: no lease stands between a deadline and
// its revocation. It writes no status; the leader records the end when it
// finds the bindings gone.
type Expirer struct {
	Client client.Client
	// Live reads from the API server, not from the cache.
	Live  client.Reader
	Clock clock.PassiveClock
	// Backlog tells the leader to leave the API server to the removals.
	Backlog *Backlog
	Metrics *Metrics

	// struck are the grants, by name, whose bindings were deleted once.
	struck sync.Map
}

// maxWait is how long a grant goes without a look at the clock: a timer does not
// notice that the clock was set ahead or that the machine slept.
const maxWait = time.Minute

// verifyAfter is how long the expirer leaves the cache to hear of a removal. It
// verifies behind all that is still to be removed.
const verifyAfter = 20 * time.Millisecond

// Reconcile removes what is due, or waits for the deadline.
func (r *Expirer) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	g := &v1alpha1.AccessGrant{}
	if err := r.Client.Get(ctx, key.NamespacedName, g); err != nil {
		r.struck.Delete(key.Name)
		if client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("read grant: %w", err)
		}
		left, err := removeLeftovers(ctx, r.Client, r.Live, key.Name)
		return lookAgainAt(left), r.Metrics.removal(err)
	}
	now := r.Clock.Now()
	if grant.Expired(g, now) == nil {
		return reconcile.Result{RequeueAfter: min(g.Spec.ExpirationTime.Sub(now), maxWait)}, nil
	}
	struck, err := r.strikeOnce(ctx, g)
	var left []string
	if !struck && err == nil {
		err = r.Backlog.removing(func() (err error) {
			left, err = removeBindings(ctx, r.Client, r.Live, g)
			return err
		})
	}
	if struck || err != nil {
		r.Metrics.revoked(g, r.Clock.Now(), err)
	}
	if struck && err == nil {
		return later(verifyAfter), nil
	}
	return lookAgainAt(left), err
}

// lookAgainAt is for what could not be deleted but allows nothing any more:
// whoever keeps it may stop doing so.
func lookAgainAt(left []string) reconcile.Result {
	if len(left) == 0 {
		return reconcile.Result{}
	}
	return later(maxWait)
}

// strikeOnce strikes the bindings of a grant the first time that it is called for
// it: what it leaves, and whether they are really gone, is for removeBindings.
func (r *Expirer) strikeOnce(ctx context.Context, g *v1alpha1.AccessGrant) (struck bool, err error) {
	if _, before := r.struck.LoadOrStore(g.Name, true); before {
		return false, nil
	}
	err = r.Backlog.removing(func() (err error) {
		struck, err = strike(ctx, r.Client, r.Live, g)
		return err
	})
	if err != nil {
		r.struck.Delete(g.Name) // the next strike tells how late it was
	}
	return struck, err
}

// maxCatchUp bounds how long the reconcilers wait at the start for what is
// overdue.
const maxCatchUp = 5 * time.Second

// Start strikes what fell due while no replica ran, before the reconcilers look
// at anything. What it does not get done is theirs.
func (r *Expirer) Start(ctx context.Context) error {
	defer r.Backlog.caughtUp()
	ctx, cancel := context.WithTimeout(ctx, maxCatchUp)
	defer cancel()
	var list v1alpha1.AccessGrantList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list grants: %w", err)
	}
	now := r.Clock.Now()
	var group errgroup.Group
	group.SetLimit(maxConcurrent)
	for i := range list.Items {
		g := &list.Items[i]
		if grant.Expired(g, now) != nil {
			group.Go(func() error {
				if struck, err := r.strikeOnce(ctx, g); struck || err != nil {
					r.Metrics.revoked(g, r.Clock.Now(), err)
				}
				return nil // it will be tried again
			})
		}
	}
	return group.Wait()
}

// NeedLeaderElection is of manager.LeaderElectionRunnable.
func (r *Expirer) NeedLeaderElection() bool { return false }
