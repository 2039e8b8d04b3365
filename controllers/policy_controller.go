package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accesspolicies/status,verbs=patch;update

// PolicyReconciler says on an AccessPolicy whether it can be used.
type PolicyReconciler struct {
	Client   client.Client
	Clock    clock.PassiveClock
	Policies *Policies
}

// Reconcile compiles one policy and writes its Ready condition.
func (r *PolicyReconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	object := &v1alpha1.AccessPolicy{}
	if err := r.Client.Get(ctx, key.NamespacedName, object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	next := object.DeepCopy()
	status, reason, message := metav1.ConditionTrue, v1alpha1.ReasonCompiles, "the policy can be used"
	if err := r.Policies.Compile(object).Err(); err != nil {
		status, reason, message = metav1.ConditionFalse, v1alpha1.ReasonDoesNotCompile, err.Error()
	}
	if object.DeletionTimestamp != nil { // and a finalizer keeps it
		status, reason, message = metav1.ConditionFalse, v1alpha1.ReasonDeleted, "the policy was deleted: nothing is given by it, and what it gave was taken"
	}
	setCondition(&next.Status.Conditions, r.Clock.Now(), v1alpha1.ConditionReady, status, reason, message)
	meta.FindStatusCondition(next.Status.Conditions, v1alpha1.ConditionReady).ObservedGeneration = object.Generation
	_, err := patchStatus(ctx, r.Client, object, next)
	return again(err)
}
