package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/rbac"
)

// firstMatch refuses what is better told before anybody is asked to decide.
func (r *RequestReconciler) firstMatch(ctx context.Context, s *requestStep, match *policy.Match, want *resolved) error {
	if err := r.grantedBefore(ctx, s.AccessRequest); err != nil {
		return err
	}
	p := match.Policy
	if most := p.Spec.MaxPendingPerRequester; most != nil && p.Required() > 0 {
		waiting, err := r.queue(ctx, s.AccessRequest, p.Name, int(*most))
		if err != nil {
			return err
		}
		if waiting >= int(*most) {
			s.end(v1alpha1.RequestDenied, v1alpha1.ReasonTooManyPending, fmt.Sprintf(
				"%s has %d requests waiting for decisions under policy %q, which allows %d at a time", s.Spec.Requester.Username, waiting, p.Name, *most))
			return nil
		}
	}
	if err := r.mayBind(ctx, want); err != nil {
		return err
	}
	// Who holds the access for good should hear of it, and so should those who
	// are asked to approve.
	held, err := askForAccess(ctx, r.Client, r.Live, newGrant(s.AccessRequest, want, match, nil, s.now), maxQuestionsBefore)
	if err != nil {
		return err
	}
	if len(held.others) > 0 {
		s.set(v1alpha1.ConditionStandingAccess, metav1.ConditionTrue, v1alpha1.ReasonOtherBindings, "held without this request: "+held.listed())
	}
	return nil
}

// mayBind asks whether the broker itself may bind the role, so that nobody is
// asked to approve what cannot be granted.
func (r *RequestReconciler) mayBind(ctx context.Context, want *resolved) error {
	ref := want.ask.RoleRef
	if ref == nil {
		return r.mayWrite(ctx, want)
	}
	resource, namespaces := "clusterroles", []string{""}
	if ref.Kind == v1alpha1.RoleKind {
		resource, namespaces = "roles", nil
		for _, ns := range want.namespaces {
			namespaces = append(namespaces, ns.Name)
		}
	}
	for _, namespace := range namespaces {
		allowed, err := r.mayI(ctx, authorizationv1.ResourceAttributes{Resource: resource, Verb: "bind", Name: ref.Name, Namespace: namespace})
		if err != nil {
			return err
		}
		if !allowed {
			return missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "the broker may not bind %s %s: an administrator lists the roles it may bind in the ClusterRole access-broker-grantable-roles", ref.Kind, ref.Name)
		}
	}
	return nil
}

// maxMissing bounds how many lines of rules a refusal lists.
const maxMissing = 5

// mayWrite asks whether the broker itself may write a role with the rules: it
// must hold all of them.
func (r *RequestReconciler) mayWrite(ctx context.Context, want *resolved) error {
	resource, namespaces := "clusterroles", []string{""}
	if !want.ask.Cluster {
		resource, namespaces = "roles", nil
		for _, ns := range want.namespaces {
			namespaces = append(namespaces, ns.Name)
		}
	}
	for _, namespace := range namespaces {
		allowed, err := r.mayI(ctx, authorizationv1.ResourceAttributes{Resource: resource, Verb: "create", Namespace: namespace})
		if err != nil {
			return err
		}
		if !allowed {
			return missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "rules of one's own are not enabled in this installation (config/components/adhoc-rules): ask for an existing role with roleRef")
		}
		held := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: cmp.Or(namespace, metav1.NamespaceDefault)}}
		if err := r.Client.Create(ctx, held); err != nil {
			return fmt.Errorf("ask what the broker holds: %w", err)
		}
		if covered, uncovered := rbac.Covers(rulesOf(held.Status), v1alpha1.RBACRules(want.rules)); !covered && !held.Status.Incomplete {
			missing := rbac.Lines(uncovered)
			return missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "rules: the broker does not hold %s itself: an administrator lists in the ClusterRole access-broker-adhoc-ceiling what rules may ask for", strings.Join(missing[:min(len(missing), maxMissing)], "; "))
		}
	}
	return nil
}

func rulesOf(status authorizationv1.SubjectRulesReviewStatus) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, rule := range status.ResourceRules {
		out = append(out, rbacv1.PolicyRule{Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames})
	}
	for _, rule := range status.NonResourceRules {
		out = append(out, rbacv1.PolicyRule{Verbs: rule.Verbs, NonResourceURLs: rule.NonResourceURLs})
	}
	return out
}

// mayI asks the API server whether the broker may do something to RBAC objects.
// One that is starting says no to everything, to what the broker lives by too:
// that is no answer.
func (r *RequestReconciler) mayI(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	for _, question := range []authorizationv1.ResourceAttributes{what, {Resource: "rolebindings", Verb: "create"}} {
		allowed, err := r.ask(ctx, question)
		if err != nil {
			return false, err
		}
		if allowed {
			return question == what, nil
		}
	}
	return false, errors.New("the API server does not know the broker's role: it is starting, or config/rbac is not installed")
}

func (r *RequestReconciler) ask(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	what.Group, what.Version = rbacv1.GroupName, "v1"
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	if err := r.Client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask what the broker may do: %w", err)
	}
	return review.Status.Allowed, nil
}
