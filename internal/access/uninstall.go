package access

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// ErrPoliciesLeft is why Uninstall does nothing: a policy could give new access
// while it takes the old.
var ErrPoliciesLeft = errors.New("there are AccessPolicies, which may give new access at any moment; delete them first: kubectl delete accesspolicies --all")

// Ended is a grant whose access was taken away. Left names, in words, what allows
// nothing any more but could not be deleted.
type Ended struct {
	Grant *v1alpha1.AccessGrant
	Left  []string
}

// Uninstall ends every grant, whatever its deadline, and then takes the finalizers
// off the AccessGrants: with them, the deletion of their CRD would wait for a broker
// that is gone. It works whether or not a broker runs. It reports what it took away
// through tell. What it ended it hands to ended, which records that: the record may
// be kept, and no broker may come to write it.
func Uninstall(ctx context.Context, c client.Client, ended func(context.Context, Ended) error, tell func(string)) error {
	policies := &v1alpha1.AccessPolicyList{}
	if err := ignoreUnknown(c.List(ctx, policies, client.Limit(1))); err != nil {
		return fmt.Errorf("list policies: %w", err)
	}
	if len(policies.Items) > 0 {
		return ErrPoliciesLeft
	}
	grants := &v1alpha1.AccessGrantList{}
	if err := ignoreUnknown(cached.Grants(ctx, c, grants)); err != nil {
		return err
	}
	var errs []error
	var all []Ended
	for i := range grants.Items {
		g := &grants.Items[i]
		if g.Status.Phase == v1alpha1.GrantEnded {
			continue
		}
		left, err := takeAll(ctx, c, g, tell)
		all, errs = append(all, Ended{g, left}), append(errs, err)
	}
	errs = append(errs, removeLabelled(ctx, c, grants.Items, tell))
	if err := errors.Join(errs...); err != nil {
		return err // the finalizers stay until all access is gone
	}
	for _, each := range all {
		errs = append(errs, ended(ctx, each))
	}
	for i := range grants.Items {
		errs = append(errs, letGo(ctx, c, &grants.Items[i]))
	}
	return errors.Join(errs...)
}

// ignoreUnknown drops the error that the CRD of a kind is gone: bindings may have
// outlived it.
func ignoreUnknown(err error) error {
	if meta.IsNoMatchError(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// takeAll takes away all that a grant wants.
func takeAll(ctx context.Context, c client.Client, g *v1alpha1.AccessGrant, tell func(string)) (left []string, err error) {
	taken := &remover{client: c, live: c}
	for _, want := range slices.Backward(grant.Objects(g)) {
		taken.remove(ctx, want, grant.RecordedUID(g, want))
	}
	left, err = taken.done()
	for _, what := range left {
		tell(what)
	}
	if err != nil {
		return nil, fmt.Errorf("end grant %s: %w", g.Name, err)
	}
	tell(fmt.Sprintf("ended %s: %s in %s for %s", g.Name, g.Spec.Summary.Role, g.Spec.Summary.Scope, g.Spec.Summary.Subjects))
	return left, nil
}

// removeLabelled takes away what else belongs to a grant, also to one that has ended
// or does not exist.
func removeLabelled(ctx context.Context, c client.Client, grants []v1alpha1.AccessGrant, tell func(string)) error {
	objects, err := Labelled(ctx, c, client.HasLabels{v1alpha1.LabelGrant})
	if err != nil {
		return err
	}
	var errs []error
	for _, seen := range objects {
		object := seen.Object("")
		if i := slices.IndexFunc(grants, func(g v1alpha1.AccessGrant) bool { return g.Name == object.Grant }); i >= 0 {
			object.GrantUID = grants[i].UID
		}
		errs = append(errs, removeOne(ctx, c, object, tell))
	}
	return errors.Join(errs...)
}

// removeOne takes away an object, unless it carries the label but belongs to no
// grant.
func removeOne(ctx context.Context, c client.Client, object grant.Object, tell func(string)) error {
	disarmed, err := Remove(ctx, c, c, object, "")
	if err != nil {
		return err
	}
	if disarmed != "" {
		tell(disarmed)
		return nil
	}
	left, err := Get(ctx, c, object)
	if err != nil {
		return err
	}
	what := "removed what was left over"
	if left != nil {
		what = "left alone, because it has a grant's label but is not a grant's"
	}
	tell(what + ": " + object.String())
	return nil
}

// letGo takes the broker's finalizer off a grant.
func letGo(ctx context.Context, c client.Client, g *v1alpha1.AccessGrant) error {
	next := g.DeepCopy()
	if !controllerutil.RemoveFinalizer(next, v1alpha1.FinalizerRevoke) {
		return nil
	}
	// This replaces all finalizers, but nobody else may write them.
	if err := client.IgnoreNotFound(c.Patch(ctx, next, client.MergeFrom(g))); err != nil {
		return fmt.Errorf("let grant %s be deleted: %w", g.Name, err)
	}
	return nil
}
