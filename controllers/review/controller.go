// Package review follows what has ended and has to be looked back at: until somebody has
// done that, and past the moment by which they should have.
package review

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Reconciler records on a grant that has ended, and on its request, who looked back at
// it, or that nobody did in time. It runs on the leader.
type Reconciler struct {
	// Reviews has the requests and grants that wait for a review.
	Reviews client.Reader
	// Live reads from the API server.
	Live    client.Reader
	Clock   clock.PassiveClock
	Status  *record.Writer
	Backlog *queue.Backlog
}

// Reconcile looks at the review of one grant, and comes back when it is due.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	r.Backlog.AtStart(ctx)
	g, err := r.grant(ctx, key.Name)
	if err != nil || g == nil {
		return reconcile.Result{}, err
	}
	due, wanted := grant.ReviewDue(g)
	if !wanted || g.Status.Review == "" {
		return reconcile.Result{}, nil
	}
	request, err := r.requestOf(ctx, g)
	if err != nil {
		return reconcile.Result{}, err
	}
	now, next := r.Clock.Now(), g.DeepCopy()
	record.SetReviewed(next, now, reviewed(request))
	if err := r.Status.Review(ctx, g, next); err != nil {
		return record.Again(err)
	}
	if request != nil && request.Status.Phase.Ended() { // the request controller is not done with one that has not
		shown := request.DeepCopy()
		record.ShowReview(shown, next)
		if err := r.Status.Request(ctx, request, shown, now); err != nil {
			return record.Again(err)
		}
	}
	if next.Status.Review != v1alpha1.ReviewWaiting {
		return reconcile.Result{}, nil
	}
	return queue.Later(due.Sub(now)), nil
}

// grant reads a grant, nil when there is none. One whose review was recorded a moment
// ago has left the cache, and its request may not know yet.
func (r *Reconciler) grant(ctx context.Context, name string) (*v1alpha1.AccessGrant, error) {
	g, key := &v1alpha1.AccessGrant{}, client.ObjectKey{Name: name}
	err := r.Reviews.Get(ctx, key, g)
	if apierrors.IsNotFound(err) {
		err = r.Live.Get(ctx, key, g)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read grant: %w", err)
	}
	return g, nil
}

// requestOf reads the request of a grant, nil when it is gone or another has its name.
func (r *Reconciler) requestOf(ctx context.Context, g *v1alpha1.AccessGrant) (*v1alpha1.AccessRequest, error) {
	request, ref := &v1alpha1.AccessRequest{}, g.Spec.RequestRef
	key := client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}
	err := r.Reviews.Get(ctx, key, request)
	if apierrors.IsNotFound(err) || (err == nil && request.UID != ref.UID) {
		request = &v1alpha1.AccessRequest{}
		err = r.Live.Get(ctx, key, request)
	}
	if apierrors.IsNotFound(err) || (err == nil && request.UID != ref.UID) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return request, nil
}

// reviewed is what the decisions on a request say of its review.
func reviewed(request *v1alpha1.AccessRequest) record.Reviewed {
	if request == nil {
		return record.Reviewed{RequestGone: true}
	}
	ballot := policy.BallotOf(request)
	found := policy.Reviewed(ballot)
	return record.Reviewed{By: found.By, Comment: found.Comment, Ignored: found.Ignored, Reviewers: text.Subjects(ballot.Reviewers())}
}
