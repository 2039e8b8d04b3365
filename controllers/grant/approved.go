package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/resolve"
)

// Wrote notes a grant that this process is about to write, after it has checked that
// the grant is what was approved. The result takes that back, if it is not written.
func (r *Reconciler) Wrote(g *v1alpha1.AccessGrant, now time.Time) (takeBack func()) {
	return r.written.add(g, now)
}

// notApproved returns an end when a grant is not what its request, its policy and
// the decisions allow. Before that, it reads them live: the cache may be older than
// the grant.
func (r *Reconciler) notApproved(ctx context.Context, s *step) (*grant.End, error) {
	if r.written.has(s.AccessGrant, s.now) {
		return nil, nil
	}
	end, err := r.notApprovedIn(ctx, r.Names, s)
	if end == nil {
		return nil, err
	}
	return r.notApprovedIn(ctx, r.Names.FromLive(), s)
}

func (r *Reconciler) notApprovedIn(ctx context.Context, names resolve.Names, s *step) (*grant.End, error) {
	request, object := &v1alpha1.AccessRequest{}, &v1alpha1.AccessPolicy{}
	ref := s.Spec.RequestRef
	if err := names.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, request); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	err := names.Get(ctx, client.ObjectKey{Name: s.Spec.PolicyRef.Name}, object)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	want, err := names.Resolve(ctx, request)
	if no := (*resolve.Impossible)(nil); errors.As(err, &no) {
		return &grant.End{Reason: v1alpha1.EndNotApproved, Message: no.Message}, nil
	}
	if err != nil {
		return nil, err
	}
	p := r.Policies.Compile(object)
	approval := grant.Approval{Request: request, PolicyUID: object.UID, Before: want.Before, Match: policy.Find(ctx, []*policy.Policy{p}, want.Ask, s.Spec.NotBefore.Time)}
	switch approval.Match.Answer {
	case policy.Unknown:
		return nil, errors.New(approval.Match.Message)
	case policy.Allowed:
		approval.Outcome = policy.Weigh(policy.Ballot{
			RequestUID: request.UID, RulesHash: s.Spec.RulesHash, HashBefore: want.Pins.HashBefore(),
			Requester: request.Spec.Requester, Subjects: identity.Subjects(request.Asked()),
			Stages: approval.Match.Stages, Decisions: request.Status.Decisions,
		})
		approval.Grant = resolve.NewGrant(request, want, &approval.Match, approval.Outcome, s.Spec.NotBefore.Time)
	case policy.NotAllowed:
	}
	return grant.NotApproved(s.AccessGrant, approval, s.now), nil
}
