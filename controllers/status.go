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
)

// maxMessage keeps a condition's message readable, whatever went into it.
const maxMessage = 4096

// patchStatus is the one writer of status. It writes what differs, under the
// resourceVersion that was read, so that a stale decision is refused by the API
// server and no field that somebody else wrote is dropped. written is false
// when there was nothing to write or when the object has changed since: its
// newer version is on its way and brings another reconcile.
func patchStatus(ctx context.Context, c client.Client, old, updated client.Object) (written bool, err error) {
	if equality.Semantic.DeepEqual(old, updated) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	if err := c.Status().Patch(ctx, updated, patch); err != nil {
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("write status: %w", err)
	}
	return true, nil
}

// setCondition sets a condition as of now.
func setCondition(conditions *[]metav1.Condition, now time.Time, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: truncate(message, maxMessage),
		LastTransitionTime: metav1.NewTime(now),
	})
}
