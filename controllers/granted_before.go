package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// A tool that keeps the cluster as a repository says, makes a request anew as
// soon as its retention is over, and nobody asks for anything. So the grant
// remembers what its request was when the broker deletes that, and another one
// of that name and content is not granted. One that people deleted may be made
// again. A request with a task is bound to what runs now, and always free.

// remember marks the grant of a request that is about to be deleted. It is true
// when the cache shows the mark, or when there is nothing to remember.
func (r *RequestReconciler) remember(ctx context.Context, request *v1alpha1.AccessRequest) (bool, error) {
	if request.Status.GrantName == "" || request.Spec.Task != nil {
		return true, nil
	}
	given := &v1alpha1.AccessGrant{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: grant.Name(request.Name, request.UID)}, given, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read grant: %w", err)
	}
	likeness := grant.Likeness(request)
	if given.Spec.RequestRef.UID != request.UID || given.Labels[v1alpha1.LabelForgotten] == likeness {
		return true, nil
	}
	marked := &v1alpha1.AccessGrant{}
	marked.Name = given.Name
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"labels":{%q:%q}}}`, given.UID, v1alpha1.LabelForgotten, likeness)
	err = r.Client.Patch(ctx, marked, client.RawPatch(types.MergePatchType, []byte(patch)))
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("remember that the request was granted: %w", err)
	}
	return false, nil
}

// grantedBefore refuses a request that is like one that was granted and is
// forgotten.
func (r *RequestReconciler) grantedBefore(ctx context.Context, request *v1alpha1.AccessRequest) error {
	if request.Spec.Task != nil {
		return nil
	}
	var before v1alpha1.AccessGrantList
	if err := r.Client.List(ctx, &before, client.MatchingLabels{v1alpha1.LabelForgotten: grant.Likeness(request)}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("look for a request of this name and content: %w", err)
	}
	if len(before.Items) == 0 {
		return nil
	}
	given := &before.Items[0]
	return impossiblef(v1alpha1.ReasonGrantedBefore, "a request of this name and content was granted on %s (AccessGrant %s) and is over; to ask again, use another name, or generateName with kubectl create",
		given.Spec.NotBefore.UTC().Format(time.DateOnly), given.Name)
}
