package access

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/grant"
)

// attempts is how often Remove tries an object that somebody else keeps changing,
// before it leaves it to the next reconcile.
const attempts = 6

// Remove takes away what a binding allows, by any means that the API server permits,
// and returns once a live read confirms it. uid is the UID that the binding was
// created with, empty when it was not recorded: Remove then removes only an object
// that the grant owns. An object of another UID that the grant does not own belongs
// to somebody else and is left alone.
//
// Remove first deletes the object. When that is refused, or a finalizer keeps the
// object, so that it still authorizes, Remove takes out what it allows. left says in
// words for people that such an object cannot be deleted, and is empty when it is
// gone. An error means that the access stands, with the API server's words.
func Remove(ctx context.Context, c client.Client, live client.Reader, want grant.Object, uid types.UID) (left string, err error) {
	kind := of(want.Kind)
	var refused error // of the deletion
	for i := range attempts {
		// When the cache no longer has the object, look before deleting: most likely
		// somebody else has removed it.
		if uid != "" && (i > 0 || !knownGone(ctx, c, want)) && !definite(refused) {
			refused = remove(ctx, c, want, uid)
		}
		object := kind.New()
		err := live.Get(ctx, client.ObjectKey{Namespace: want.Namespace, Name: want.Name}, object)
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		if err != nil {
			return "", errors.Join(refused, fmt.Errorf("verify that %s is gone: %w", want, err))
		}
		if object.GetUID() != uid {
			if !want.Ours(kind.read(object)) {
				return "", nil
			}
			uid = object.GetUID()
			continue
		}
		terminating := object.GetDeletionTimestamp() != nil
		if !terminating && refused == nil {
			continue // it is being deleted
		}
		if kind.read(object).AllowsNothing() && (definite(refused) || i == attempts-1) {
			return fmt.Sprintf("%s allows nothing any more, but is left because it cannot be deleted: %v", want, refused), nil
		}
		if err := disarm(ctx, c, kind, object, terminating); err != nil {
			return "", errors.Join(refused, fmt.Errorf("take away what %s allows: %w", want, err))
		}
	}
	return "", errors.Join(refused, fmt.Errorf("%s is still there: somebody keeps changing it", want))
}

// definite tells whether the next try will be refused too: by RBAC, or by an
// admission policy or webhook.
func definite(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsUnauthorized(err)
}

// knownGone tells whether the cache, which may be behind, has no such object.
func knownGone(ctx context.Context, cache client.Reader, want grant.Object) bool {
	seen, err := Get(ctx, cache, want)
	return err == nil && seen == nil
}

// remove asks for the deletion of the object with that UID, and does not look
// whether it is gone. It is no error when there is no such object.
func remove(ctx context.Context, c client.Client, o grant.Object, uid types.UID) error {
	object := of(o.Kind).New()
	object.SetNamespace(o.Namespace)
	object.SetName(o.Name)
	err := c.Delete(ctx, object, client.Preconditions{UID: &uid})
	// A conflict means that another object has the name now; the live read tells which.
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("delete %s: %w", o, err)
}

// disarm takes out what an object allows and then, when it is Terminating, the
// finalizers that keep it. Without them it is gone, so disarm takes them out even
// when the rest is refused (the broker may no longer bind the role, say). It tries
// PUT and then PATCH: they are two permissions, and a policy may refuse only one.
func disarm(ctx context.Context, c client.Client, kind Kind, object client.Object, terminating bool) error {
	if terminating && len(object.GetFinalizers()) == 0 {
		return nil // it goes by itself
	}
	bare := object.DeepCopyObject().(client.Object)
	kind.empty(bare)
	err := ignoreRace(kind.put(ctx, c, bare))
	if err != nil {
		bare = object.DeepCopyObject().(client.Object)
		kind.empty(bare)
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
	kept := bare.DeepCopyObject().(client.Object)
	bare.SetFinalizers(nil)
	released := ignoreRace(kind.put(ctx, c, bare))
	if released != nil {
		released = ignoreRace(c.Patch(ctx, bare, client.MergeFromWithOptions(kept, client.MergeFromWithOptimisticLock{})))
	}
	if released == nil {
		return nil
	}
	return errors.Join(err, released)
}

// errReadInPart is why an object is patched and not put.
var errReadInPart = errors.New("only its metadata was read")

func (k Kind) put(ctx context.Context, c client.Client, o client.Object) error {
	if k.create != nil {
		return errReadInPart
	}
	return c.Update(ctx, o)
}

// ignoreRace drops the errors after which the caller looks again.
func ignoreRace(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
