package cluster

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Lock creates a lock in my name.
func (c *Client) Lock(ctx context.Context, lock *v1alpha1.AccessLock) error {
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	lock.Spec.By = me.Username
	return c.api.Create(ctx, lock)
}

// Locks are all of them.
func (c *Client) Locks(ctx context.Context) ([]v1alpha1.AccessLock, error) {
	list := &v1alpha1.AccessLockList{}
	return pages(ctx, c, list, &list.Items)
}

// Unlock deletes all locks on a subject, and returns the names of those that it
// deleted, also when it fails at one of them.
func (c *Client) Unlock(ctx context.Context, subject v1alpha1.Subject) (lifted []string, err error) {
	locks, err := c.Locks(ctx)
	if err != nil {
		return nil, err
	}
	for i := range locks {
		l := &locks[i]
		l.Spec.Subject.APIGroup = ""
		if l.Spec.Subject != subject {
			continue
		}
		if err := c.api.Delete(ctx, l, client.Preconditions{UID: &l.UID}); err != nil && !apierrors.IsNotFound(err) {
			return lifted, err
		}
		lifted = append(lifted, l.Name)
	}
	return lifted, nil
}
