package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/text"
)

// VerifyAgain is when to ask again while the API server's authorizer has not
// caught up with a removal.
const VerifyAgain = 100 * time.Millisecond

// maxQuestions bounds how often the API server is asked about one grant. A
// role may hold a thousand permissions; beyond the bound an even sample of
// them is asked for, and the condition says so.
const maxQuestions = 100

// take removes the access, asks the API server whether it is gone, and only then
// records the end. It waits while other access is still to be taken or given.
func (r *Reconciler) take(ctx context.Context, s *step, end *ending) (reconcile.Result, error) {
	if r.Backlog.Waits(end.at, s.now) {
		return queue.Later(queue.RecordAgain), nil
	}
	left, err := access.Take(ctx, r.Client, r.Live, s.AccessGrant)
	if err != nil {
		return reconcile.Result{}, errors.Join(r.Metrics.Removal(err), r.refused(ctx, s, end, err))
	}
	remaining, err := access.Ask(ctx, r.Client, r.Live, s.AccessGrant, maxQuestions)
	if err != nil {
		return reconcile.Result{}, err
	}
	if remaining.Ours {
		return reconcile.Result{RequeueAfter: VerifyAgain}, nil
	}
	gone := r.Clock.Now() // the removal may have taken a while
	status := &s.Status
	status.Phase = v1alpha1.GrantEnded
	status.EndedTime = &metav1.Time{Time: gone}
	status.EndReason, status.EndedBy = end.Reason, end.By
	record.SetCondition(&status.Conditions, gone, v1alpha1.ConditionAccessGiven, metav1.ConditionFalse, string(end.Reason), end.Message+late(s.AccessGrant, gone))
	meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionExpiresSoon) // it did
	status.Credential = record.Unsealed(status.Credential)
	record.Removed(&status.Conditions, remaining, left, gone)
	record.SetReviewed(s.AccessGrant, gone, record.Reviewed{})
	if err := r.write(ctx, s); err != nil {
		return record.Again(err)
	}
	r.Metrics.Forget(s.Name)
	return record.Again(record.LetGo(ctx, r.Client, s.AccessGrant))
}

// refused records on a grant that is over that its access is still there, and why.
func (r *Reconciler) refused(ctx context.Context, s *step, end *ending, why error) error {
	record.SetCondition(&s.Status.Conditions, s.now, v1alpha1.ConditionAccessRemoved, metav1.ConditionFalse, v1alpha1.ReasonRemovalRefused,
		fmt.Sprintf("the access must end (%s: %s) and is still there: %v", end.Reason, end.Message, why))
	return r.write(ctx, s)
}

// late says how long access stood after it should have ended, when its removal
// was refused.
func late(g *v1alpha1.AccessGrant, gone time.Time) string {
	c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAccessRemoved)
	if c == nil || c.Status != metav1.ConditionFalse {
		return ""
	}
	due := c.LastTransitionTime.Time
	if g.Spec.ExpirationTime.Time.Before(due) {
		due = g.Spec.ExpirationTime.Time
	}
	return fmt.Sprintf("; it was removed %s late, after this: %s", text.Duration(gone.Sub(due).Round(time.Second)), c.Message)
}
