// Package usage records on a grant what was observed of its use: while it is active
// (follow), and once after its end, when what was created with it and what is still
// open is looked for (lookBack). What ends a grant is not decided here.
package usage

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
)

// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessusages,verbs=get;list;watch

const (
	// SumUpEvery is how often the calls of an active grant are summed up at the most.
	SumUpEvery = time.Minute
	// Patience is how long after the end of a grant its usage may take to come to that
	// end.
	Patience = 2 * time.Minute
	// readPatience is how long after the end of a grant the look back is tried again
	// when the API server does not answer.
	readPatience = 10 * time.Minute
)

// Reconciler records on grants what was observed of their use. It runs on the leader.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server: the cache has neither grants that have ended nor
	// what was created with them.
	Live client.Reader
	// Mapper finds the kind of a resource.
	Mapper  meta.RESTMapper
	Clock   clock.PassiveClock
	Status  *record.Writer
	Backlog *queue.Backlog

	memory memory
}

// Reconcile records what a usage tells of its grant.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	r.Backlog.AtStart(ctx)
	u := &v1alpha1.AccessUsage{}
	if err := r.Client.Get(ctx, key.NamespacedName, u, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)}); err != nil {
		r.memory.forget(key.Name) // it is closed, or gone
		if client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("read usage: %w", err)
		}
		return reconcile.Result{}, nil
	}
	now := r.Clock.Now()
	if wait := r.memory.settled(u, now); wait != 0 {
		return later(wait), nil
	}
	g, err := r.grantOf(ctx, u)
	switch {
	case err != nil || g == nil:
		return reconcile.Result{}, err
	case g.Status.Phase == v1alpha1.GrantActive:
		return r.follow(ctx, g, u, now)
	case g.Status.Phase == v1alpha1.GrantEnded && g.Status.EndedTime != nil:
		return r.lookBack(ctx, g, u, now)
	}
	return reconcile.Result{}, nil // not given yet
}

// never is a wait for an event alone.
const never = -1

func later(wait time.Duration) reconcile.Result {
	if wait == never {
		return reconcile.Result{}
	}
	return queue.Later(wait)
}

// grantOf reads the grant of a usage, nil when there is none: from the cache, and when
// it has ended from the API server.
func (r *Reconciler) grantOf(ctx context.Context, u *v1alpha1.AccessUsage) (*v1alpha1.AccessGrant, error) {
	g, key := &v1alpha1.AccessGrant{}, client.ObjectKeyFromObject(u)
	err := r.Client.Get(ctx, key, g, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
	if apierrors.IsNotFound(err) {
		err = r.Live.Get(ctx, key, g)
	}
	if apierrors.IsNotFound(err) || (err == nil && !grant.HasUsage(g, u)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read grant: %w", err)
	}
	return g, nil
}

// follow records the use of an active grant: a new finding at once, how often it was
// used within a minute.
func (r *Reconciler) follow(ctx context.Context, g *v1alpha1.AccessGrant, u *v1alpha1.AccessUsage, now time.Time) (reconcile.Result, error) {
	found := record.Found{Findings: record.NewFindings(g, u)}
	next := g.DeepCopy()
	next.Status.Usage = record.Summary(u)
	record.SetSuspicious(&next.Status.Conditions, now, u, found)
	if equality.Semantic.DeepEqual(g.Status, next.Status) {
		return reconcile.Result{}, nil
	}
	if len(found.Findings) == 0 {
		due := r.memory.look(u).wrote.Add(SumUpEvery)
		if wait := due.Sub(now); wait > 0 {
			return queue.Later(min(wait, SumUpEvery)), nil
		}
		if r.Backlog.Waits(due, now) {
			return queue.Later(queue.RecordAgain), nil
		}
	}
	if err := r.Status.Usage(ctx, g, next, found); err != nil {
		return record.Again(err)
	}
	r.memory.note(u, func(m *remembered) { m.wrote = now })
	return reconcile.Result{}, nil
}
