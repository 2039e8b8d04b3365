package controllers

import (
	"context"
	"sync/atomic"
	"time"

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
}

// maxWait is how long a grant goes without a look at the clock: a timer does not
// notice that the clock was set ahead or that the machine slept.
const maxWait = time.Minute

// Backlog counts the removals of overdue access that are under way, so that
// status writes and verification wait while there are any.
type Backlog struct{ underway atomic.Int64 }

func (b *Backlog) busy() bool { return b != nil && b.underway.Load() > 0 }

func (b *Backlog) during(remove func() error) error {
	if b != nil {
		b.underway.Add(1)
		defer b.underway.Add(-1)
	}
	return remove()
}

// Reconcile removes what is due, or waits for the deadline.
func (r *Expirer) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	g := &v1alpha1.AccessGrant{}
	if err := r.Client.Get(ctx, key.NamespacedName, g); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if g.Status.Phase == v1alpha1.GrantEnded {
		// Ended is what the broker wrote, or what somebody wrote to keep it away.
		return reconcile.Result{}, removeStrays(ctx, r.Client, r.Live, g, nil)
	}
	now := r.Clock.Now()
	if grant.Expired(g, now) == nil {
		return reconcile.Result{RequeueAfter: min(g.Spec.ExpirationTime.Sub(now), maxWait)}, nil
	}
	held, _ := strayBindings(ctx, r.Client, g, nil) // for the metric alone
	err := r.Backlog.during(func() error { return removeBindings(ctx, r.Client, r.Live, g) })
	if len(held) > 0 || err != nil {
		r.Metrics.revoked(g, r.Clock.Now(), err)
	}
	return reconcile.Result{}, err
}
