package controllers

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
)

// maxMessage keeps a condition's message readable, whatever went into it.
const maxMessage = 4096

// patchStatus is the one writer of status. It writes what differs, under the
// resourceVersion that was read, so that a stale decision is refused by the API
// server and no field that somebody else wrote is dropped; see again for what
// becomes of that. written is false when there was nothing to write, or when the
// object is gone.
func patchStatus(ctx context.Context, c client.Client, old, updated client.Object) (written bool, err error) {
	if equality.Semantic.DeepEqual(old, updated) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	if err := c.Status().Patch(ctx, updated, patch); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("write status: %w", err)
	}
	return true, nil
}

// staleAgain is when to look again at an object that has changed since it was
// read. Its newer version is on its way and most likely comes sooner.
const staleAgain = time.Second

// again makes a conflict, which is no fault, another look, and leaves any other
// error an error.
func again(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: staleAgain}, nil
	}
	return reconcile.Result{}, err
}

// setCondition sets a condition as of now.
func setCondition(conditions *[]metav1.Condition, now time.Time, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: truncate(visible(message), maxMessage),
		LastTransitionTime: metav1.NewTime(now),
	})
}
