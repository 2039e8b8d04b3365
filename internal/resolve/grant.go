package resolve

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/text"
)

// NewGrant is the record of what was approved, complete with its deadline. The
// deadline is cut to whole seconds, as the API stores it: never later than what was
// approved. It records only the decisions that counted. More time of access that is
// held begins at the deadline of that access.
func NewGrant(request *v1alpha1.AccessRequest, want *Resolved, match *policy.Match, outcome policy.Outcome, now time.Time) *v1alpha1.AccessGrant {
	begin := now
	if want.Before != nil {
		begin = want.Before.Spec.ExpirationTime.Time
	}
	end, shortenedBy := policy.Capped(begin, begin.Add(match.Duration), outcome.Caps)
	g := &v1alpha1.AccessGrant{}
	g.Name = grant.Name(request.Name, request.UID)
	controllerutil.AddFinalizer(g, v1alpha1.FinalizerRevoke)
	g.Spec = v1alpha1.AccessGrantSpec{
		RequestRef:     v1alpha1.RequestRef{Namespace: request.Namespace, ObjectRef: v1alpha1.ObjectRef{Name: request.Name, UID: request.UID}},
		Requester:      request.Spec.Requester,
		Subjects:       want.Subjects,
		RoleRef:        request.Asked().RoleRef,
		RoleUID:        want.RoleUID,
		Namespaces:     want.Namespaces,
		Cluster:        want.Ask.Cluster,
		PolicyRef:      *PolicyRef(match.Policy),
		CredentialKey:  request.Spec.CredentialKey,
		Reason:         text.Trim(request.Spec.Reason),
		Ticket:         text.Trim(request.Spec.Ticket),
		RoleRules:      want.Lines,
		RulesHash:      want.RulesHash,
		NotBefore:      metav1.NewTime(now.Truncate(time.Second)),
		ExpirationTime: metav1.NewTime(end.Truncate(time.Second)),
		ShortenedBy:    shortenedBy,
		ReviewWithin:   match.Policy.Spec.ReviewWithin,
	}
	for _, d := range request.Status.Decisions {
		if d.Verdict == v1alpha1.VerdictApprove && slices.Contains(outcome.Approvers, d.Username) {
			d.Comment = text.Trim(d.Comment)
			g.Spec.Decisions = append(g.Spec.Decisions, d)
		}
	}
	if request.Asked().RoleRef == nil {
		g.Spec.Rules, g.Spec.RoleRules = want.Rules, nil
	}
	if want.Task != nil {
		g.Spec.Task = &v1alpha1.GrantTask{TaskRef: *request.Asked().Task, UID: want.Task.GetUID()}
	}
	if want.Before != nil {
		g.Spec.Extends = grant.Extends(want.Before)
	}
	g.Spec.Summary = grant.Summarize(&g.Spec)
	return g
}

// PolicyRef names a policy as it is now.
func PolicyRef(p *policy.Policy) *v1alpha1.PolicyRef {
	return &v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: p.Name, UID: p.UID}, Generation: p.Generation}
}
