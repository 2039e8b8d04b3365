// Package record is the one writer of status: it writes what became of a request, a
// grant or a policy, and reports it after the write, so that it never reports what
// did not happen. It also deletes what has ended when its retention is over.
package record

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Writer writes statuses, and then tells the journal and the metrics.
type Writer struct {
	Client  client.Client
	Journal Journal
	Metrics *Metrics
	// AfterEnd, if there is one, hears of what is written on a grant after its end: the
	// cache does not have it any more.
	AfterEnd func(before, after *v1alpha1.AccessGrant)
}

// Request writes the status of a request.
func (w *Writer) Request(ctx context.Context, before, after *v1alpha1.AccessRequest, now time.Time) error {
	written, err := w.patch(ctx, before, after)
	if !written {
		return err
	}
	w.Metrics.wroteRequest(before, after, now)
	w.Journal.task(after, before.Status.Conditions, after.Status.Conditions)
	if c := expiresSoon(before.Status.Conditions, after.Status.Conditions); c != nil {
		w.Journal.request(v1alpha1.ConditionExpiresSoon, c.Message, after)
	}
	if before.Status.Phase != after.Status.Phase {
		w.Journal.request(string(after.Status.Phase), lastWord(after.Status.Conditions), after)
	}
	return nil
}

// Grant writes the status of a grant; written is false when there was nothing to
// write, or when the grant is gone.
func (w *Writer) Grant(ctx context.Context, before, after *v1alpha1.AccessGrant) (written bool, err error) {
	written, err = w.patch(ctx, before, after)
	if !written {
		return false, err
	}
	w.Journal.task(after, before.Status.Conditions, after.Status.Conditions)
	if before.Status.Phase != after.Status.Phase {
		w.Metrics.ended(after)
		w.Journal.grantPhase(after)
	}
	if c := expiresSoon(before.Status.Conditions, after.Status.Conditions); c != nil {
		w.Journal.grant(v1alpha1.ConditionExpiresSoon, "Watch", c.Message, after)
	}
	w.Journal.review(before, after)
	refused := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionAccessRemoved)
	if refused != nil && refused.Status == metav1.ConditionFalse && meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionAccessRemoved) == nil {
		w.Journal.grant(v1alpha1.ReasonRemovalRefused, "Take", refused.Message, after)
	}
	return true, nil
}

// Policy writes the status of a policy.
func (w *Writer) Policy(ctx context.Context, before, after *v1alpha1.AccessPolicy) error {
	written, err := w.patch(ctx, before, after)
	if !written {
		return err
	}
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionReady)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
	if is != nil && (was == nil || was.Reason != is.Reason || was.ObservedGeneration != is.ObservedGeneration) {
		w.Journal.policy(was, is, after)
	}
	return nil
}

// patch writes what differs, under the resourceVersion that was read: the API server
// refuses a write that is based on an older version (see Again), and fields that
// others wrote stay.
func (w *Writer) patch(ctx context.Context, before, after client.Object) (written bool, err error) {
	if equality.Semantic.DeepEqual(before, after) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := w.Client.Status().Patch(ctx, after, patch); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("write status: %w", err)
	}
	return true, nil
}

// StaleAgain is how long to wait before another look at an object that has changed
// since it was read. Its newer version most likely comes sooner.
const StaleAgain = time.Second

// Again turns a conflict, which is no fault, into another look; any other error
// stays an error.
func Again(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: StaleAgain}, nil
	}
	return reconcile.Result{}, err
}

// SetCondition sets a condition as of now.
func SetCondition(conditions *[]metav1.Condition, now time.Time, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: text.Message(message),
		LastTransitionTime: metav1.NewTime(now),
	})
}

// EndRequest sets the status of a request that is over as of now.
func EndRequest(r *v1alpha1.AccessRequest, now time.Time, phase v1alpha1.RequestPhase, reason, message string) {
	r.Status.Phase = phase
	r.Status.Credential = Unsealed(r.Status.Credential)
	if cached.Awaits(r) {
		meta.RemoveStatusCondition(&r.Status.Conditions, v1alpha1.ConditionPolicyMatched)
	}
	SetCondition(&r.Status.Conditions, now, v1alpha1.ConditionEnded, metav1.ConditionTrue, reason, message)
	meta.RemoveStatusCondition(&r.Status.Conditions, v1alpha1.ConditionExpiresSoon)
	if meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionGranted) {
		SetCondition(&r.Status.Conditions, now, v1alpha1.ConditionGranted, metav1.ConditionFalse, reason, message)
	}
}

// SetExpiresSoon says that access ends soon; an empty message says nothing.
func SetExpiresSoon(conditions *[]metav1.Condition, now time.Time, message string) {
	if message != "" {
		SetCondition(conditions, now, v1alpha1.ConditionExpiresSoon, metav1.ConditionTrue, v1alpha1.ReasonDeadline, message)
	}
}

// expiresSoon is the condition that says so for the first time, nil when there is none.
func expiresSoon(before, after []metav1.Condition) *metav1.Condition {
	if meta.FindStatusCondition(before, v1alpha1.ConditionExpiresSoon) != nil {
		return nil
	}
	return meta.FindStatusCondition(after, v1alpha1.ConditionExpiresSoon)
}

// lastWord is the message of the last condition that a request has reached.
func lastWord(conditions []metav1.Condition) string {
	for _, kind := range []string{v1alpha1.ConditionEnded, v1alpha1.ConditionGranted, v1alpha1.ConditionApproved, v1alpha1.ConditionPolicyMatched} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil {
			return c.Message
		}
	}
	return ""
}
