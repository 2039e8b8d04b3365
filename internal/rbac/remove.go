package rbac

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/grant"
)

// attempts at an object that somebody else keeps changing, before the removal
// is left to the next reconcile.
const attempts = 6

// Remove takes a binding away and returns once a live read shows that it is
// gone. uid is what it was created with, empty when that was not recorded: then
// only an object that the grant owns is removed. An object of another UID that
// the grant does not own is somebody else's and is left alone.
//
// A Terminating binding still authorizes, and anybody who may patch it can keep
// it so with a finalizer: one that does not go at once loses its subjects first
// and its finalizers next.
func Remove(ctx context.Context, c client.Client, live client.Reader, want grant.Binding, uid types.UID) error {
	for i := range attempts {
		// What the cache does not know any more is looked up before it is
		// deleted again: most likely another hand has removed it.
		if uid != "" && (i > 0 || !knownGone(ctx, c, want)) {
			if err := Delete(ctx, c, want, uid); err != nil {
				return err
			}
		}
		object := empty(want.Kind)
		err := live.Get(ctx, client.ObjectKey{Namespace: want.Namespace, Name: want.Name}, object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("verify that %s is gone: %w", nameOf(want), err)
		}
		if object.GetUID() != uid {
			if !want.Ours(*seenOf(object)) {
				return nil
			}
			uid = object.GetUID()
			continue
		}
		if err := disarm(ctx, c, object); err != nil {
			return fmt.Errorf("disarm %s, which does not go: %w", nameOf(want), err)
		}
	}
	return fmt.Errorf("%s is still there: somebody keeps changing it", nameOf(want))
}

// knownGone tells whether the cache, which may be behind, has no such object.
func knownGone(ctx context.Context, cache client.Reader, want grant.Binding) bool {
	seen, err := Get(ctx, cache, want)
	return err == nil && seen == nil
}

// Delete sends the deletion of a binding of that UID, and does not look what
// becomes of it. That there is none any more is no error.
func Delete(ctx context.Context, c client.Client, b grant.Binding, uid types.UID) error {
	object := empty(b.Kind)
	object.SetNamespace(b.Namespace)
	object.SetName(b.Name)
	err := c.Delete(ctx, object, client.Preconditions{UID: &uid})
	// A conflict means that another object has the name now; the live read tells which.
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("delete %s: %w", nameOf(b), err)
}

// disarm takes what a Terminating object allows away, then the finalizers
// that keep it. When the subjects are refused (the broker may no longer bind
// the role), taking the finalizers alone removes it just as well.
func disarm(ctx context.Context, c client.Client, object client.Object) error {
	if object.GetDeletionTimestamp() == nil || len(object.GetFinalizers()) == 0 {
		return nil
	}
	stripped := object.DeepCopyObject().(client.Object)
	switch o := stripped.(type) {
	case *rbacv1.RoleBinding:
		o.Subjects = nil
	case *rbacv1.ClusterRoleBinding:
		o.Subjects = nil
	case *rbacv1.Role:
		o.Rules = nil
	case *rbacv1.ClusterRole:
		o.Rules, o.AggregationRule = nil, nil
	}
	if err := c.Update(ctx, stripped); err != nil {
		if !apierrors.IsForbidden(err) {
			return ignoreRace(err)
		}
		stripped = object
	}
	stripped.SetFinalizers(nil)
	return ignoreRace(c.Update(ctx, stripped))
}

// ignoreRace drops the errors after which the caller looks again.
func ignoreRace(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
