package controllers

import (
	"cmp"
	"context"
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
	switch held.reason() {
	case v1alpha1.ReasonOtherBindings:
		s.set(v1alpha1.ConditionStandingAccess, metav1.ConditionTrue, v1alpha1.ReasonOtherBindings, "held without this request: "+held.listed())
	case v1alpha1.ReasonOtherGrants:
		s.set(v1alpha1.ConditionStandingAccess, metav1.ConditionFalse, v1alpha1.ReasonOtherGrants, "held already "+held.listed())
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
	namespaces := []string{""}
	if ref.Kind == v1alpha1.RoleKind {
		namespaces = nil
		for _, ns := range want.namespaces {
			namespaces = append(namespaces, ns.Name)
		}
	}
	for _, namespace := range namespaces {
		allowed, err := mayBind(ctx, r.Client, namespace, *ref)
		if err != nil {
			return err
		}
		if !allowed {
			return missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "%s", mayNotBind(*ref))
		}
	}
	return nil
}

// missingLimit bounds how much of rules a refusal lists.
var missingLimit = rbac.Limit{Lines: 5, Bytes: 5 * rbac.MaxLine}

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
		allowed, err := mayI(ctx, r.Client, authorizationv1.ResourceAttributes{Resource: resource, Verb: "create", Namespace: namespace})
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
			missing := rbac.Show(uncovered, missingLimit).Lines
			return missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "rules: the broker does not hold %s itself: an administrator lists in the ClusterRole access-broker-adhoc-ceiling what rules may ask for", strings.Join(missing, "; "))
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
