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
// has ended and whose grant does not exist, and every role that was written for
// such a grant, once, without a leader and without a cache: the last net under
// the replicas. It returns what it found, removed or not.
func Sweep(ctx context.Context, c client.Client, now time.Time) (found []string, err error) {
	// Grants last: one that is made in between is in the later list.
	objects, err := allLabelled(ctx, c)
	if err != nil {
		return nil, err
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
		// A label makes nobody's binding the broker's: who counted that as found
		// would be told of it for ever.
		seen, err := rbac.Get(ctx, c, object)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if seen == nil || !object.Ours(*seen) {
			continue
		}
		found = append(found, object.Kind+" "+client.ObjectKey{Namespace: object.Namespace, Name: object.Name}.String())
		errs = append(errs, rbac.Remove(ctx, c, c, object, ""))
	}
	return found, errors.Join(errs...)
}

// allLabelled are the objects that carry any grant's label, what binds before
// the roles that it binds.
func allLabelled(ctx context.Context, c client.Reader) ([]grant.Binding, error) {
	var all []grant.Binding
	for _, of := range []struct {
		kind string
		list client.ObjectList
	}{
		{grant.RoleBindingKind, &rbacv1.RoleBindingList{}},
		{grant.ClusterRoleBindingKind, &rbacv1.ClusterRoleBindingList{}},
		{grant.RoleKind, &rbacv1.RoleList{}},
		{grant.ClusterRoleKind, &rbacv1.ClusterRoleList{}},
	} {
		objects, err := labelled(ctx, c, of.kind, of.list)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

// labelled are the objects of a kind that carry any grant's label.
func labelled(ctx context.Context, c client.Reader, kind string, list client.ObjectList) ([]grant.Binding, error) {
	if err := c.List(ctx, list, client.HasLabels{v1alpha1.LabelGrant}); err != nil {
		return nil, fmt.Errorf("list every %s of a grant: %w", kind, err)
	}
	var objects []grant.Binding
	err := meta.EachListItem(list, func(o runtime.Object) error {
		object := o.(client.Object)
		objects = append(objects, grant.Binding{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Grant: object.GetLabels()[v1alpha1.LabelGrant]})
		return nil
	})
	return objects, err
}
