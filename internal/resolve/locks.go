package resolve

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accesslocks,verbs=get;list;watch

// Locks are all locks. The caller must not change them: they belong to the cache.
func Locks(ctx context.Context, from client.Reader) ([]v1alpha1.AccessLock, error) {
	list := &v1alpha1.AccessLockList{}
	if err := from.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list locks: %w", err)
	}
	return list.Items, nil
}
