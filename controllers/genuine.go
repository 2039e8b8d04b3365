package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
)

// maxClockSkew between two replicas, for a grant that another one wrote.
const maxClockSkew = time.Minute

// notApproved looks whether a grant is what its request, its policy and the
// decisions come to, before anything is given. Only the broker may write
// grants, but that is for the admission policies to enforce, and they may have
// been removed: a grant that somebody else wrote gives nothing.
//
// What the cache shows is confirmed by a live read: it may be older than the
// grant.
func (r *GrantReconciler) notApproved(ctx context.Context, g *v1alpha1.AccessGrant, now time.Time) (*grant.End, error) {
	if r.Backlog.wrote(g) {
		return nil, nil // by this process a moment ago, after it had looked
	}
	end, err := r.notApprovedIn(ctx, r.reader(), g, now)
	if end == nil {
		return nil, err
	}
	return r.notApprovedIn(ctx, reader{cache: r.Live, live: r.Live, tasks: r.Tasks}, g, now)
}

func (r *GrantReconciler) notApprovedIn(ctx context.Context, from reader, g *v1alpha1.AccessGrant, now time.Time) (*grant.End, error) {
	request, object := &v1alpha1.AccessRequest{}, &v1alpha1.AccessPolicy{}
	ref := g.Spec.RequestRef
	if err := from.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, request); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	err := from.Get(ctx, client.ObjectKey{Name: g.Spec.PolicyRef.Name}, object)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	want, err := from.resolve(ctx, request)
	if err != nil {
		return impossibleEnd(err, v1alpha1.EndNotApproved)
	}
	p := r.Policies.Compile(object)
	match := policy.Find(ctx, []*policy.Policy{p}, want.ask, g.Spec.NotBefore.Time)
	if match.Answer == policy.Unknown {
		return nil, fmt.Errorf("%s", match.Message)
	}
	no := func(format string, args ...any) (*grant.End, error) {
		return &grant.End{Reason: v1alpha1.EndNotApproved, Message: "the grant is not what was approved: " + fmt.Sprintf(format, args...)}, nil
	}
	if match.Answer == policy.NotAllowed {
		return no("%s", match.Message)
	}
	outcome := policy.Weigh(policy.Ballot{
		RequestUID: request.UID, RulesHash: g.Spec.RulesHash, HashBefore: want.pins().HashBefore(),
		Requester: request.Spec.Requester, Subjects: identity.Subjects(&request.Spec),
		Approvers: p.Spec.Approvers, Required: p.Required(), Decisions: request.Status.Decisions,
	})
	if end := endedBy(outcome); end != nil {
		return end, nil
	}
	expected := newGrant(request, want, &match, outcome.Approvers, g.Spec.NotBefore.Time)
	switch {
	case !outcome.Approved:
		return no("%s", outcome.Message)
	case g.Name != expected.Name:
		return no("its name is not that of the request's grant")
	case g.Spec.PolicyRef.UID != object.UID:
		return no("its policy was replaced")
	case request.Status.Phase.Ended():
		return no("the request is over (%s)", request.Status.Phase)
	case request.Spec.StartTime != nil && g.Spec.NotBefore.Before(request.Spec.StartTime):
		return no("it begins before the startTime of the request")
	case request.CreationTimestamp.Sub(g.Spec.NotBefore.Time) > maxClockSkew, g.Spec.ExpirationTime.After(expected.Spec.ExpirationTime.Time), g.Spec.NotBefore.Sub(now) > maxClockSkew:
		return no("it lasts from %s until %s", g.Spec.NotBefore.UTC().Format(time.RFC3339), g.Spec.ExpirationTime.UTC().Format(time.RFC3339))
	case request.Spec.Task != nil && want.task == nil:
		return no("its task does not exist")
	case !equality.Semantic.DeepEqual(g.Spec.Requester, expected.Spec.Requester),
		!equality.Semantic.DeepEqual(g.Spec.Subjects, expected.Spec.Subjects),
		!equality.Semantic.DeepEqual(g.Spec.Task, expected.Spec.Task):
		return no("requester, subjects or task differ from the request's")
	case !equality.Semantic.DeepEqual(g.Spec.RoleRef, expected.Spec.RoleRef),
		!equality.Semantic.DeepEqual(g.Spec.Rules, expected.Spec.Rules),
		!equality.Semantic.DeepEqual(g.Spec.RoleRules, expected.Spec.RoleRules), g.Spec.RulesHash != expected.Spec.RulesHash:
		return no("its role is not the request's, or has changed")
	case g.Spec.Cluster != expected.Spec.Cluster, slices.ContainsFunc(g.Spec.Namespaces, func(ns v1alpha1.GrantNamespace) bool {
		return !slices.Contains(expected.Spec.Namespaces, ns)
	}):
		return no("its scope is not the request's")
	}
	return nil, nil
}
