package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/rbac"
)

// Sweep removes every binding whose grant's deadline has passed, whose grant
// has ended and whose grant does not exist, once, without a leader and without
// a cache: the last net under the replicas. It returns what it found, removed or
// not.
func Sweep(ctx context.Context, c client.Client, now time.Time) (found []string, err error) {
	// Bindings first: a grant that is made in between is in the later list.
	var objects []grant.Binding
	for _, of := range []struct {
		kind string
		list client.ObjectList
	}{
		{grant.RoleBindingKind, &rbacv1.RoleBindingList{}},
		{grant.ClusterRoleBindingKind, &rbacv1.ClusterRoleBindingList{}},
	} {
		if err := c.List(ctx, of.list, client.HasLabels{v1alpha1.LabelGrant}); err != nil {
			return nil, fmt.Errorf("list bindings: %w", err)
		}
		err := meta.EachListItem(of.list, func(o runtime.Object) error {
			object := o.(client.Object)
			objects = append(objects, grant.Binding{Kind: of.kind, Namespace: object.GetNamespace(), Name: object.GetName(), Grant: object.GetLabels()[v1alpha1.LabelGrant]})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var list v1alpha1.AccessGrantList
	if err := c.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	grants := make(map[string]*v1alpha1.AccessGrant, len(list.Items))
	for i := range list.Items {
		grants[list.Items[i].Name] = &list.Items[i]
	}
	var errs []error
	for _, object := range objects {
		g := grants[object.Grant]
		if g != nil {
			if g.Status.Phase != v1alpha1.GrantEnded && grant.Expired(g, now) == nil {
				continue
			}
			object.GrantUID = g.UID
		}
		found = append(found, object.Kind+" "+client.ObjectKey{Namespace: object.Namespace, Name: object.Name}.String())
		errs = append(errs, rbac.Remove(ctx, c, c, object, ""))
	}
	return found, errors.Join(errs...)
}
