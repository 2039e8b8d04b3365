package controllers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/rbac"
)

// clockSkew is how far the clocks of two replicas may differ: a binding that is
// gone this close to the deadline was taken by another replica, not by hand.
const clockSkew = 5 * time.Second

// over tells whether a grant is over, and why. The deadline comes first and
// needs nothing else; a question that cannot be answered is an error, and never
// an end.
func (r *GrantReconciler) over(ctx context.Context, g *v1alpha1.AccessGrant, now time.Time) (*grant.End, error) {
	if end := grant.Expired(g, now); end != nil {
		return end, nil
	}
	if g.DeletionTimestamp != nil {
		return &grant.End{Reason: v1alpha1.EndGrantDeleted, Message: "the AccessGrant was deleted"}, nil
	}
	var errs []error
	for _, check := range []func(context.Context, *v1alpha1.AccessGrant) (*grant.End, error){
		r.requestOver, r.policyOver, r.taskOver, r.roleOver, r.subjectOver, r.namespaceOver, r.bindingOver,
	} {
		end, err := check(ctx, g)
		if end != nil {
			return end, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// requestOver: the request was deleted, or somebody decided to end it.
func (r *GrantReconciler) requestOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	ref := g.Spec.RequestRef
	request := &v1alpha1.AccessRequest{}
	err := r.reader().Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, request)
	if apierrors.IsNotFound(err) || (err == nil && (request.UID != ref.UID || request.DeletionTimestamp != nil)) {
		return &grant.End{Reason: v1alpha1.EndRequestDeleted, Message: fmt.Sprintf("AccessRequest %s/%s was deleted", ref.Namespace, ref.Name)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	if end := endedBy(weigh(request, 0)); end != nil {
		return end, nil
	}
	// Decisions about a request that is over, as somebody wrote it, would not be
	// heard of any more.
	if cached.Ended(request) {
		return &grant.End{Reason: v1alpha1.EndNotApproved, Message: fmt.Sprintf("AccessRequest %s/%s is over (%s), and its grant was not", ref.Namespace, ref.Name, request.Status.Phase)}, nil
	}
	return nil, nil
}

// endedBy is the end that somebody decided on, nil when nobody did.
func endedBy(outcome policy.Outcome) *grant.End {
	switch {
	case outcome.Denied:
		return &grant.End{Reason: v1alpha1.EndDenied, By: outcome.By, Message: outcome.Message}
	case outcome.Revoked:
		return &grant.End{Reason: v1alpha1.EndRevoked, By: outcome.By, Message: outcome.Message}
	case outcome.Withdrawn:
		return &grant.End{Reason: v1alpha1.EndReleased, By: outcome.By, Message: outcome.Message}
	}
	return nil
}

// policyOver: the policy was deleted, or changed so that it no longer allows
// this. Conditions are held against the moment of the grant: the end of the
// working hours does not end access that began within them.
func (r *GrantReconciler) policyOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	ref := g.Spec.PolicyRef
	object := &v1alpha1.AccessPolicy{}
	err := r.reader().Get(ctx, client.ObjectKey{Name: ref.Name}, object)
	if apierrors.IsNotFound(err) || (err == nil && (object.UID != ref.UID || object.DeletionTimestamp != nil)) {
		return &grant.End{Reason: v1alpha1.EndPolicyGone, Message: fmt.Sprintf("AccessPolicy %s was deleted", ref.Name)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	p := r.Policies.Compile(object)
	unchanged := object.Generation == ref.Generation
	if unchanged && !p.Depends() {
		return nil, nil
	}
	whole := !unchanged || p.ConditionsRead("namespaceObject")
	namespaces, versions, err := r.namespacesOf(ctx, g, whole)
	if err != nil {
		return nil, err
	}
	versions = strconv.FormatInt(object.Generation, 10) + versions
	weighed, before := r.weighed.Load(g.UID)
	if before && weighed == versions {
		return nil, nil
	}
	ask := &policy.Request{Cluster: g.Spec.Cluster}
	if whole {
		if ask, err = r.askOf(ctx, g); err != nil {
			return nil, err
		}
	}
	ask.Namespaces = namespaces
	what := "was changed and no longer allows this"
	var allows bool
	var why string
	if unchanged {
		what = "no longer allows this, as a namespace has changed"
		allows, why, err = p.StillAllows(ctx, *ask, g.Spec.NotBefore.Time, before)
	} else {
		allows, why, err = p.Allows(ctx, *ask, g.Spec.NotBefore.Time)
	}
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", ref.Name, err)
	}
	if !allows {
		return &grant.End{Reason: v1alpha1.EndPolicyChanged, Message: fmt.Sprintf("AccessPolicy %s %s: it %s", ref.Name, what, why)}, nil
	}
	r.weighed.Store(g.UID, versions)
	return nil, nil
}

// namespacesOf are the namespaces of a grant as they are now, whole or only by
// their labels, and their versions.
func (r *GrantReconciler) namespacesOf(ctx context.Context, g *v1alpha1.AccessGrant, whole bool) (namespaces []policy.Namespace, versions string, err error) {
	for _, ns := range g.Spec.Namespaces {
		namespace := namespaceMetadata()
		if err := r.reader().Get(ctx, client.ObjectKey{Name: ns.Name}, namespace); err != nil {
			return nil, "", fmt.Errorf("read namespace: %w", err)
		}
		seen := policy.Namespace{Name: ns.Name, Labels: namespace.Labels}
		if whole {
			if seen.Object, err = asMap(namespace); err != nil {
				return nil, "", err
			}
		}
		namespaces = append(namespaces, seen)
		versions += " " + namespace.ResourceVersion
	}
	return namespaces, versions, nil
}

// askOf is what was asked for, as the grant records it, but for the namespaces.
func (r *GrantReconciler) askOf(ctx context.Context, g *v1alpha1.AccessGrant) (*policy.Request, error) {
	ref := g.Spec.RequestRef
	request := &v1alpha1.AccessRequest{}
	if err := r.reader().Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, request); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	object, err := asMap(request)
	if err != nil {
		return nil, err
	}
	duration := g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time)
	ask := &policy.Request{
		Object: object, Namespace: ref.Namespace, Requester: g.Spec.Requester,
		RoleRef: g.Spec.RoleRef, Rules: g.Spec.Rules, Cluster: g.Spec.Cluster, Duration: &duration, HasTask: g.Spec.Task != nil,
	}
	for _, s := range g.Spec.Subjects {
		ask.Subjects = append(ask.Subjects, s.Subject)
	}
	if g.Spec.Task != nil {
		object, err := r.reader().task(ctx, ref.Namespace, g.Spec.Task.TaskRef)
		if err != nil {
			return nil, err
		}
		if object != nil {
			ask.Task = object.Object
		}
	}
	return ask, nil
}

// impossibleEnd sorts an error of a look-up: what the lookup found to be
// impossible is an end, a failure of the lookup is not.
func impossibleEnd(err error, reason v1alpha1.EndReason) (*grant.End, error) {
	if no := (*impossible)(nil); errors.As(err, &no) {
		return &grant.End{Reason: reason, Message: no.message}, nil
	}
	return nil, err
}

// roleOver: the role was deleted, replaced, or came to allow more than was
// approved.
func (r *GrantReconciler) roleOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	if g.Spec.RoleRef == nil {
		return nil, nil
	}
	gone := func(err error) (*grant.End, error) { return impossibleEnd(err, v1alpha1.EndRoleGone) }
	replaced := &grant.End{Reason: v1alpha1.EndRoleGone, Message: fmt.Sprintf("%s %s was deleted and made anew", g.Spec.RoleRef.Kind, g.Spec.RoleRef.Name)}
	var held []heldRole
	if g.Spec.RoleRef.Kind == v1alpha1.ClusterRoleKind {
		role, err := r.reader().role(ctx, "", *g.Spec.RoleRef)
		if err != nil {
			return gone(err)
		}
		if role.uid != g.Spec.RoleUID {
			return replaced, nil
		}
		held = append(held, role)
	} else {
		for _, ns := range g.Spec.Namespaces {
			role, err := r.reader().role(ctx, ns.Name, *g.Spec.RoleRef)
			if err != nil {
				return gone(err)
			}
			if role.uid != ns.RoleUID {
				return replaced, nil
			}
			held = append(held, role)
		}
	}
	if fingerprint(pinsOf(g), held) == g.Spec.RulesHash {
		return nil, nil
	}
	return r.widened(ctx, g, held)
}

func (r *GrantReconciler) widened(ctx context.Context, g *v1alpha1.AccessGrant, held []heldRole) (*grant.End, error) {
	// Of a role that is too long to be listed the grant knows a part, and what
	// lies within it was approved; whatever else a changed role allows counts as
	// widening.
	approved, _, err := approvedRules(g)
	if err != nil {
		return nil, err
	}
	// Of a Role that differs by namespace the grant knows the sum, not what
	// was approved where: any change of it counts as widening.
	wider := len(held) > 1
	if !wider {
		covered, _ := rbac.Covers(approved, held[0].rules)
		wider = !covered
	}
	if !wider {
		return nil, nil
	}
	object := &v1alpha1.AccessPolicy{}
	if err := r.reader().Get(ctx, client.ObjectKey{Name: g.Spec.PolicyRef.Name}, object); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if object.Spec.OnRoleWidened == v1alpha1.OnRoleWidenedKeep {
		return nil, nil
	}
	return &grant.End{Reason: v1alpha1.EndRoleWidened, Message: fmt.Sprintf("%s %s came to allow more than was approved", g.Spec.RoleRef.Kind, g.Spec.RoleRef.Name)}, nil
}

// subjectOver: a ServiceAccount was deleted or replaced; one that is made anew
// would inherit its predecessor's bindings.
func (r *GrantReconciler) subjectOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	for _, s := range g.Spec.Subjects {
		if s.Kind != v1alpha1.ServiceAccountKind {
			continue
		}
		gone, err := r.gone(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, serviceAccountMetadata(), s.UID)
		if err != nil {
			return nil, err
		}
		if gone {
			return &grant.End{Reason: v1alpha1.EndSubjectGone, Message: fmt.Sprintf("ServiceAccount %s/%s was deleted", s.Namespace, s.Name)}, nil
		}
	}
	return nil, nil
}

// namespaceOver: a namespace was deleted or replaced.
func (r *GrantReconciler) namespaceOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	for _, ns := range g.Spec.Namespaces {
		gone, err := r.gone(ctx, client.ObjectKey{Name: ns.Name}, namespaceMetadata(), ns.UID)
		if err != nil {
			return nil, err
		}
		if gone {
			return &grant.End{Reason: v1alpha1.EndNamespaceGone, Message: fmt.Sprintf("namespace %s was deleted", ns.Name)}, nil
		}
	}
	return nil, nil
}

// gone tells whether an object was deleted, is being deleted or was replaced.
func (r *GrantReconciler) gone(ctx context.Context, key client.ObjectKey, object *metav1.PartialObjectMetadata, uid types.UID) (bool, error) {
	err := r.reader().Get(ctx, key, object)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s %s: %w", object.Kind, key, err)
	}
	return object.UID != uid || object.DeletionTimestamp != nil, nil
}

// bindingOver: somebody deleted, changed or recreated a binding. What the
// cache shows is confirmed by a live read: it may be older than the binding.
func (r *GrantReconciler) bindingOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	if len(g.Status.Bindings) == 0 {
		return nil, nil // not given yet
	}
	for _, want := range objectsOf(g) {
		uid := recordedUID(g, want)
		intact := func(reader client.Reader) (bool, error) {
			seen, err := rbac.Get(ctx, reader, want)
			return seen != nil && seen.Meta.UID == uid && want.Intact(*seen), err
		}
		ok, err := intact(r.Client)
		if err == nil && !ok {
			ok, err = intact(r.Live)
		}
		if err != nil {
			return nil, err
		}
		if !ok && g.Spec.ExpirationTime.Sub(r.Clock.Now()) < clockSkew {
			return &grant.End{Reason: v1alpha1.EndExpired, Message: "another replica, whose clock is ahead, took the access at the deadline"}, nil
		}
		if !ok {
			return &grant.End{Reason: v1alpha1.EndBindingTouched, Message: fmt.Sprintf("%s %s was deleted, changed or recreated by somebody else", want.Kind, types.NamespacedName{Namespace: want.Namespace, Name: want.Name})}, nil
		}
	}
	return nil, nil
}
