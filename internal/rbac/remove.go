package rbac

import (
	"context"
	"errors"
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

// Remove takes away what a binding allows, by whatever the API server lets it,
// and returns once a live read shows that. uid is what the binding was created
// with, empty when that was not recorded: then only an object that the grant owns
// is removed. An object of another UID that the grant does not own is somebody
// else's and is left alone.
//
// The ways are tried in their order: it is deleted; where that is refused, or a
// finalizer keeps it, which leaves it authorizing, it loses what it allows. What
// then cannot be deleted is left, in words for people; left is empty when nothing
// is. The error is that the access stands, with the API server's words.
func Remove(ctx context.Context, c client.Client, live client.Reader, want grant.Binding, uid types.UID) (left string, err error) {
	var refused error // of the deletion
	for i := range attempts {
		// What the cache does not know any more is looked up before it is
		// deleted again: most likely another hand has removed it.
		if uid != "" && (i > 0 || !knownGone(ctx, c, want)) && !definite(refused) {
			refused = Delete(ctx, c, want, uid)
		}
		object := empty(want.Kind)
		err := live.Get(ctx, client.ObjectKey{Namespace: want.Namespace, Name: want.Name}, object)
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		if err != nil {
			return "", errors.Join(refused, fmt.Errorf("verify that %s is gone: %w", nameOf(want), err))
		}
		if object.GetUID() != uid {
			if !want.Ours(*SeenOf(object)) {
				return "", nil
			}
			uid = object.GetUID()
			continue
		}
		terminating := object.GetDeletionTimestamp() != nil
		if !terminating && refused == nil {
			continue // its deletion is on its way
		}
		if allowsNothing(object) && (definite(refused) || i == attempts-1) {
			return fmt.Sprintf("%s is left, which allows nothing any more, because it cannot be deleted: %v", nameOf(want), refused), nil
		}
		if err := disarm(ctx, c, object, terminating); err != nil {
			return "", errors.Join(refused, fmt.Errorf("take away what %s allows: %w", nameOf(want), err))
		}
	}
	return "", errors.Join(refused, fmt.Errorf("%s is still there: somebody keeps changing it", nameOf(want)))
}

// definite tells whether the API server refuses for a reason that the next try
// will meet too: RBAC, or an admission policy or webhook that says no.
func definite(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsUnauthorized(err)
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

// allowsNothing tells whether a binding binds nobody, or a role has no rules.
func allowsNothing(object client.Object) bool {
	switch o := object.(type) {
	case *rbacv1.RoleBinding:
		return len(o.Subjects) == 0
	case *rbacv1.ClusterRoleBinding:
		return len(o.Subjects) == 0
	case *rbacv1.Role:
		return len(o.Rules) == 0
	case *rbacv1.ClusterRole:
		return len(o.Rules) == 0 && o.AggregationRule == nil
	}
	return false
}

func empties(object client.Object) {
	switch o := object.(type) {
	case *rbacv1.RoleBinding:
		o.Subjects = nil
	case *rbacv1.ClusterRoleBinding:
		o.Subjects = nil
	case *rbacv1.Role:
		o.Rules = nil
	case *rbacv1.ClusterRole:
		o.Rules, o.AggregationRule = nil, nil
	}
}

// disarm takes what an object allows away and then, when it is Terminating, the
// finalizers that keep it: without them it is gone, so that they are taken even
// when the rest is refused (the broker may no longer bind the role, say). PUT and
// PATCH are two permissions, and a policy may tell them apart.
func disarm(ctx context.Context, c client.Client, object client.Object, terminating bool) error {
	if terminating && len(object.GetFinalizers()) == 0 {
		return nil // it is going
	}
	bare := object.DeepCopyObject().(client.Object)
	empties(bare)
	err := ignoreRace(c.Update(ctx, bare))
	if err != nil {
		bare = object.DeepCopyObject().(client.Object)
		empties(bare)
		if patched := ignoreRace(c.Patch(ctx, bare, client.MergeFromWithOptions(object, client.MergeFromWithOptimisticLock{}))); patched == nil {
			err = nil
		} else {
			err = errors.Join(err, patched)
		}
	}
	if !terminating {
		return err
	}
	if err != nil {
		bare = object.DeepCopyObject().(client.Object)
	}
	held := bare.DeepCopyObject().(client.Object)
	bare.SetFinalizers(nil)
	released := ignoreRace(c.Update(ctx, bare))
	if released != nil {
		released = ignoreRace(c.Patch(ctx, bare, client.MergeFromWithOptions(held, client.MergeFromWithOptimisticLock{})))
	}
	if released == nil {
		return nil
	}
	return errors.Join(err, released)
}

// ignoreRace drops the errors after which the caller looks again.
func ignoreRace(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
