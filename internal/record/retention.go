package record

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Retention says how long requests and grants are kept after their end; 0 keeps them
// for ever. Each is written to the audit log, whole, before it is deleted.
type Retention struct {
	Requests time.Duration
	Grants   time.Duration
}

// overstay tells whether something that ended has been kept for long enough.
func overstay(ended time.Time, keep time.Duration, now time.Time) bool {
	return keep > 0 && !ended.IsZero() && !now.Before(ended.Add(keep))
}

// Archive goes through what has ended, which the cache does not keep: it deletes
// what has been kept for long enough, and counts the rest. It runs on the leader.
type Archive struct {
	Client client.Client
	// Live reads from the API server, not from the cache.
	Live      client.Reader
	Clock     clock.Clock
	Journal   Journal
	Retention Retention
	// Backlog holds up the first look until overdue access is removed.
	Backlog *queue.Backlog
	Metrics *Metrics
}

// How long to wait between two looks: a minute, or longer when so much has ended
// that the looks would take more than a hundredth of the time.
const (
	minLookAgain = time.Minute
	maxLookAgain = time.Hour
	restPerWork  = 99
)

// Start goes through what has ended again and again, until the context ends. It
// never returns an error: that would stop the broker, which has access to take away.
func (a *Archive) Start(ctx context.Context) error {
	a.Backlog.AtStart(ctx)
	for ctx.Err() == nil {
		begin := a.Clock.Now()
		if err := a.Look(ctx); err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "not everything that has ended was looked at; the broker will try again")
		}
		select {
		case <-ctx.Done():
		case <-a.Clock.After(a.pause(a.Clock.Since(begin))):
		}
	}
	return nil
}

// pause is how long to wait after a look, given how long that took.
func (a *Archive) pause(took time.Duration) time.Duration {
	wait := max(minLookAgain, min(maxLookAgain, took*restPerWork))
	for _, keep := range []time.Duration{a.Retention.Requests, a.Retention.Grants} {
		if keep > 0 {
			wait = min(wait, max(keep, time.Second))
		}
	}
	return wait
}

// Look goes through what has ended, once. When one object cannot be deleted, it goes
// on with the others.
func (a *Archive) Look(ctx context.Context) error {
	var first error
	failed := 0
	each := func(one func(client.Object) error) func(client.Object) error {
		return func(o client.Object) error {
			if err := one(o); err != nil {
				failed++
				first = cmp.Or(first, err)
			}
			return ctx.Err()
		}
	}
	requests, grants := map[v1alpha1.RequestPhase]int{}, 0
	err := errors.Join(
		cached.EachEnded(ctx, a.Live, &v1alpha1.AccessRequestList{}, each(func(o client.Object) error {
			requests[o.(*v1alpha1.AccessRequest).Status.Phase]++
			return a.request(ctx, o.(*v1alpha1.AccessRequest))
		})),
		cached.EachEnded(ctx, a.Live, &v1alpha1.AccessGrantList{}, each(func(o client.Object) error {
			grants++
			return a.grant(ctx, o.(*v1alpha1.AccessGrant))
		})),
	)
	if err != nil {
		return err
	}
	a.Metrics.looked(requests, grants)
	if failed > 0 {
		return fmt.Errorf("%d objects could not be deleted, the first of them: %w", failed, first)
	}
	return nil
}

// request logs a request whole and deletes it, when it ended long enough ago. One
// that a tool made again in place of a deleted one stays: the tool would only make
// it once more.
func (a *Archive) request(ctx context.Context, request *v1alpha1.AccessRequest) error {
	ended := meta.FindStatusCondition(request.Status.Conditions, v1alpha1.ConditionEnded)
	if keepsForReview(request.Status.Review, request.Status.Conditions) {
		return nil
	}
	if request.DeletionTimestamp != nil || ended == nil || ended.Reason == v1alpha1.ReasonGrantedBefore || !overstay(ended.LastTransitionTime.Time, a.Retention.Requests, a.Clock.Now()) {
		return nil
	}
	if remembered, err := a.remember(ctx, request); err != nil || !remembered {
		return err // the mark is on its way; the next look deletes the request
	}
	a.Journal.request("Deleted", ended.Message, request)
	return a.delete(ctx, request)
}

// grant logs a grant whole and deletes it, when it ended long enough ago. It takes
// the finalizer off a grant that is being deleted.
func (a *Archive) grant(ctx context.Context, g *v1alpha1.AccessGrant) error {
	due := g.Status.EndedTime != nil && overstay(g.Status.EndedTime.Time, a.Retention.Grants, a.Clock.Now()) && !keepsForReview(g.Status.Review, g.Status.Conditions)
	if g.DeletionTimestamp == nil && !due {
		return nil
	}
	left, err := access.TakeStrays(ctx, a.Client, a.Live, g)
	if err != nil || len(left) > 0 { // the grant says what is left
		return a.Metrics.Removal(err)
	}
	if g.DeletionTimestamp == nil {
		a.Journal.grant("Deleted", "Forget", "kept for "+text.Duration(a.Retention.Grants)+" after its end", g)
		if err := a.delete(ctx, g); err != nil {
			return err
		}
		deleted := &v1alpha1.AccessGrant{}
		if err := a.Live.Get(ctx, client.ObjectKeyFromObject(g), deleted); err != nil {
			return client.IgnoreNotFound(err)
		}
		if !cached.Ended(deleted) || deleted.UID != g.UID {
			return nil
		}
		g = deleted
	}
	return ignoreChanged(LetGo(ctx, a.Client, g))
}

// LetGo takes the finalizer off a grant that has ended and is being deleted.
func LetGo(ctx context.Context, c client.Client, g *v1alpha1.AccessGrant) error {
	if g.DeletionTimestamp == nil || !controllerutil.ContainsFinalizer(g, v1alpha1.FinalizerRevoke) {
		return nil
	}
	next := g.DeepCopy()
	controllerutil.RemoveFinalizer(next, v1alpha1.FinalizerRevoke)
	return client.IgnoreNotFound(c.Patch(ctx, next, client.MergeFromWithOptions(g, client.MergeFromWithOptimisticLock{})))
}

// delete deletes an object, unless it has changed since it was read.
func (a *Archive) delete(ctx context.Context, o client.Object) error {
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := ignoreChanged(a.Client.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &version}))
	if err != nil {
		return fmt.Errorf("delete %T %s: %w", o, client.ObjectKeyFromObject(o), err)
	}
	return nil
}

// ignoreChanged drops the error that the object has changed or is gone: the next
// look sees it as it is.
func ignoreChanged(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}
