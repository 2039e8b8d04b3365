package request

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/rules"
)

// maxQuestionsBefore bounds how often the API server is asked whether the subjects
// of a request hold the access already.
const maxQuestionsBefore = 20

// precheck refuses, before anyone is asked, what could not be granted.
func (r *Reconciler) precheck(ctx context.Context, s *step, match *policy.Match, want *resolve.Resolved) error {
	if err := r.grantedBefore(ctx, s.AccessRequest); err != nil {
		return err
	}
	p := match.Policy
	if most := p.Spec.MaxPendingPerRequester; most != nil && v1alpha1.RequiredBy(match.Stages) > 0 {
		waiting, err := r.waiting(ctx, s.AccessRequest, p.Name, int(*most))
		if err != nil {
			return err
		}
		if waiting >= int(*most) {
			s.end(v1alpha1.RequestDenied, v1alpha1.ReasonTooManyPending, fmt.Sprintf(
				"%s has %d requests waiting for decisions under policy %q, which allows %d at a time", s.Spec.Requester.Username, waiting, p.Name, *most))
			return nil
		}
	}
	if err := errors.Join(r.mayBind(ctx, want), r.mayIssue(ctx, s.AccessRequest)); err != nil {
		return err
	}
	// The subjects may hold the access without this request; they and the approvers
	// should know.
	asked := resolve.NewGrant(s.AccessRequest, want, match, policy.Outcome{}, s.now)
	asked.Spec.CredentialKey = "" // what the requester holds matters, not what a new identity does
	standing, err := access.Ask(ctx, r.Client, r.Live, asked, maxQuestionsBefore)
	if err != nil {
		return err
	}
	switch standing.Reason() {
	case v1alpha1.ReasonOtherBindings:
		s.set(v1alpha1.ConditionStandingAccess, metav1.ConditionTrue, v1alpha1.ReasonOtherBindings, "held without this request: "+standing.Listed())
	case v1alpha1.ReasonOtherGrants:
		s.set(v1alpha1.ConditionStandingAccess, metav1.ConditionFalse, v1alpha1.ReasonOtherGrants, "held already "+standing.Listed())
	}
	return nil
}

// grantedBefore refuses a request that repeats a granted one that the broker deleted
// after its retention.
func (r *Reconciler) grantedBefore(ctx context.Context, request *v1alpha1.AccessRequest) error {
	if !grant.Repeats(request) {
		return nil
	}
	g, err := record.Forgotten(ctx, r.Live, grant.Likeness(request))
	if err != nil || g == nil {
		return err
	}
	return resolve.Impossiblef(v1alpha1.ReasonGrantedBefore, "a request of this name and content was granted on %s (AccessGrant %s) and is over; to ask again, use another name, or generateName with kubectl create",
		g.Spec.NotBefore.UTC().Format(time.DateOnly), g.Name)
}

// mayBind asks whether the broker itself may bind the role, so that nobody is
// asked to approve what cannot be granted.
func (r *Reconciler) mayBind(ctx context.Context, want *resolve.Resolved) error {
	ref := want.Ask.RoleRef
	if ref == nil {
		return r.mayWrite(ctx, want)
	}
	namespaces := []string{""}
	if ref.Kind == v1alpha1.RoleKind {
		namespaces = nil
		for _, ns := range want.Namespaces {
			namespaces = append(namespaces, ns.Name)
		}
	}
	for _, namespace := range namespaces {
		allowed, err := resolve.MayBind(ctx, r.Client, namespace, *ref)
		if err != nil {
			return err
		}
		if !allowed {
			return resolve.Missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "%s", resolve.MayNotBind(*ref))
		}
	}
	return nil
}

// mayIssue tells whether a credential can be issued to the key of a request.
func (r *Reconciler) mayIssue(ctx context.Context, request *v1alpha1.AccessRequest) error {
	if request.Spec.CredentialKey == "" {
		return nil
	}
	if err := credential.CheckPublic(request.Spec.CredentialKey); err != nil {
		return resolve.Impossiblef(v1alpha1.ReasonInvalid, "spec.credentialKey: %v; kubectl access request --credential makes a key", err)
	}
	return r.Names.MayIssue(ctx, r.Client)
}

// missingLimit bounds how much of rules a refusal lists.
var missingLimit = rules.Limit{Lines: 5, Bytes: 5 * rules.MaxLine}

// mayWrite asks whether the broker itself may write a role with the rules: it
// must hold all of them.
func (r *Reconciler) mayWrite(ctx context.Context, want *resolve.Resolved) error {
	resource, namespaces := "clusterroles", []string{""}
	if !want.Ask.Cluster {
		resource, namespaces = "roles", nil
		for _, ns := range want.Namespaces {
			namespaces = append(namespaces, ns.Name)
		}
	}
	for _, namespace := range namespaces {
		allowed, err := resolve.MayI(ctx, r.Client, authorizationv1.ResourceAttributes{Resource: resource, Verb: "create", Namespace: namespace})
		if err != nil {
			return err
		}
		if !allowed {
			return resolve.Missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "spec.rules is not enabled in this installation (config/components/adhoc-rules): ask for an existing role with roleRef")
		}
		holds := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: cmp.Or(namespace, metav1.NamespaceDefault)}}
		if err := r.Client.Create(ctx, holds); err != nil {
			return fmt.Errorf("ask what the broker holds: %w", err)
		}
		if covered, uncovered := rules.Covers(rulesOf(holds.Status), v1alpha1.RBACRules(want.Rules)); !covered && !holds.Status.Incomplete {
			missing := rules.Show(uncovered, missingLimit).Lines
			return resolve.Missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "rules: the broker itself does not hold %s: an administrator lists in the ClusterRole access-broker-adhoc-ceiling what requests may ask for", strings.Join(missing, "; "))
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
