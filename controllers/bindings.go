package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/rbac"
)

// objectsOf is all that a grant wants: the roles before what binds them.
func objectsOf(g *v1alpha1.AccessGrant) []grant.Binding {
	return append(grant.Roles(g), grant.Bindings(g)...)
}

// recordedUID is the UID that a binding was created with, empty when that was
// not recorded.
func recordedUID(g *v1alpha1.AccessGrant, want grant.Binding) types.UID {
	i := slices.IndexFunc(g.Status.Bindings, func(ref v1alpha1.BindingRef) bool {
		return ref.Kind == want.Kind && ref.Namespace == want.Namespace && ref.Name == want.Name
	})
	if i < 0 {
		return ""
	}
	return g.Status.Bindings[i].UID
}

// remover takes objects of grants away, one after another, whatever becomes of
// the ones before.
type remover struct {
	client client.Client
	live   client.Reader
	// left is what could not be deleted and allows nothing any more, in words.
	left []string
	errs []error
}

func (r *remover) remove(ctx context.Context, object grant.Binding, uid types.UID) {
	left, err := rbac.Remove(ctx, r.client, r.live, object, uid)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	if left != "" {
		r.left = append(r.left, left)
	}
}

func (r *remover) done() (left []string, err error) { return r.left, errors.Join(r.errs...) }

// removeBindings takes away every binding of a grant: those that it wants, and
// whatever else carries its label and is owned by it. It returns once a live read
// shows that they are gone, or left without allowing anything.
func removeBindings(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant) (left []string, err error) {
	r := &remover{client: c, live: live}
	wanted := objectsOf(g)
	for _, want := range slices.Backward(wanted) {
		r.remove(ctx, want, recordedUID(g, want))
	}
	r.removeStrays(ctx, g, wanted)
	return r.done()
}

// strike deletes the bindings of a grant that the cache shows, with nothing
// before it and nothing after: when thousands are due in one second, each waits
// for one request of another, not for several. One that is not deleted, or that a
// finalizer keeps, is disarmed at once. It tells whether there were any; whether
// they are really gone is for removeBindings.
func strike(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant) (struck bool, err error) {
	r := &remover{client: c, live: live}
	for _, want := range grant.Bindings(g) {
		uid := recordedUID(g, want)
		seen, err := rbac.Get(ctx, c, want)
		if err != nil || seen == nil || uid == "" || seen.Meta.UID != uid {
			continue
		}
		struck = true
		if seen.Meta.DeletionTimestamp != nil || rbac.Delete(ctx, c, want, uid) != nil {
			r.remove(ctx, want, uid)
		}
	}
	_, err = r.done()
	return struck, err
}

// removeStrays takes away bindings that carry the label of a grant that has ended
// and are owned by it.
func removeStrays(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant) (left []string, err error) {
	r := &remover{client: c, live: live}
	r.removeStrays(ctx, g, nil)
	return r.done()
}

func (r *remover) removeStrays(ctx context.Context, g *v1alpha1.AccessGrant, wanted []grant.Binding) {
	strays, err := strayBindings(ctx, r.client, g, wanted)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	for _, stray := range strays {
		r.remove(ctx, stray, "")
	}
}

// removeLeftovers takes away bindings of a grant that the cache does not have: it
// has ended, or somebody wrote that it had, to keep the broker away; or somebody
// took its finalizer off and deleted it without its dependents. That a binding was
// the grant's is told by its owner, or by its label and its name, which is the
// grant's too; any other is not the broker's.
func removeLeftovers(ctx context.Context, c client.Client, live client.Reader, name string) (still []string, err error) {
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: name}}
	left, err := strayBindings(ctx, c, g, nil)
	if err != nil || len(left) == 0 {
		return nil, err
	}
	err = live.Get(ctx, client.ObjectKey{Name: name}, g)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read grant: %w", err)
	}
	if err == nil && !cached.Ended(g) {
		return nil, nil // the cache is only behind
	}
	taken := &remover{client: c, live: live}
	for _, binding := range left {
		binding.GrantUID = g.UID
		taken.remove(ctx, binding, "")
	}
	return taken.done()
}

// strayBindings are bindings with the grant's label that the grant does not want.
func strayBindings(ctx context.Context, c client.Reader, g *v1alpha1.AccessGrant, wanted []grant.Binding) ([]grant.Binding, error) {
	objects, err := labelled(ctx, c, client.MatchingFields{indexBindingGrant: g.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	strays := slices.DeleteFunc(objects, func(o grant.Binding) bool {
		return slices.ContainsFunc(wanted, func(w grant.Binding) bool {
			return w.Kind == o.Kind && w.Namespace == o.Namespace && w.Name == o.Name
		})
	})
	for i := range strays {
		strays[i].GrantUID = g.UID
	}
	return strays, nil
}

// labelled are the objects that carry a grant's label, what binds before the
// roles that it binds.
func labelled(ctx context.Context, c client.Reader, which ...client.ListOption) ([]grant.Binding, error) {
	var objects []grant.Binding
	for _, of := range []struct {
		kind string
		list client.ObjectList
	}{
		{grant.RoleBindingKind, &rbacv1.RoleBindingList{}},
		{grant.ClusterRoleBindingKind, &rbacv1.ClusterRoleBindingList{}},
		{grant.RoleKind, &rbacv1.RoleList{}},
		{grant.ClusterRoleKind, &rbacv1.ClusterRoleList{}},
	} {
		if err := c.List(ctx, of.list, which...); err != nil {
			return nil, fmt.Errorf("list every %s of a grant: %w", of.kind, err)
		}
		_ = meta.EachListItem(of.list, func(o runtime.Object) error {
			object := o.(client.Object)
			objects = append(objects, grant.Binding{Kind: of.kind, Namespace: object.GetNamespace(), Name: object.GetName(), Grant: object.GetLabels()[v1alpha1.LabelGrant]})
			return nil
		})
	}
	return objects, nil
}

// approvedRules are the rules that a grant was approved for; not the whole of
// them when there were more than a grant lists.
func approvedRules(g *v1alpha1.AccessGrant) (rules []rbacv1.PolicyRule, whole bool, err error) {
	if g.Spec.RoleRef == nil {
		return v1alpha1.RBACRules(g.Spec.Rules), true, nil
	}
	rules, whole, err = rbac.ParseLines(g.Spec.RoleRules)
	if err != nil {
		return nil, false, fmt.Errorf("roleRules: %w", err)
	}
	return rules, whole, nil
}
