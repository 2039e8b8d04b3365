package request

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/text"
)

// maxMatching bounds how long the conditions of all policies may take for one
// request.
const maxMatching = 10 * time.Second

// match matches the request to a policy, and records in the status what is asked for
// and whom to ask. It returns nil when no policy allows the request, or when that is
// not known now.
func (r *Reconciler) match(ctx context.Context, s *step, want *resolve.Resolved) (*policy.Match, error) {
	candidates, err := r.Policies.All(ctx)
	if err != nil {
		return nil, err
	}
	begin := s.now
	if s.Spec.StartTime != nil && s.Spec.StartTime.After(begin) {
		begin = s.Spec.StartTime.Time
	}
	// Each condition is bounded by itself; this bounds all of them together.
	findCtx, cancel := context.WithTimeout(ctx, maxMatching)
	defer cancel()
	r.Names.Version.Tell(findCtx, &want.Ask, candidates...)
	match := policy.Find(findCtx, candidates, want.Ask, begin)
	if match.Answer == policy.NotAllowed {
		if match, err = r.findLive(findCtx, s, begin); err != nil {
			return nil, err
		}
	}
	switch match.Answer {
	case policy.NotAllowed:
		if !match.About && r.awaits(s, &resolve.Impossible{Waits: v1alpha1.ReasonWaitingForPolicy, Message: match.Message}) {
			return nil, nil
		}
		s.set(v1alpha1.ConditionPolicyMatched, metav1.ConditionFalse, v1alpha1.ReasonNoPolicy, match.Message)
		s.end(v1alpha1.RequestDenied, v1alpha1.ReasonNoPolicy, match.Message)
		return nil, nil
	case policy.Unknown:
		s.Status.Policy, s.Status.Approvals = nil, nil
		s.set(v1alpha1.ConditionPolicyMatched, metav1.ConditionFalse, v1alpha1.ReasonPolicyNotReady, match.Message)
		return nil, nil
	case policy.Allowed:
	}
	if err := r.reviewed(ctx, s, match.Policy); err != nil || s.Status.Phase.Ended() {
		return nil, err
	}
	if s.Status.Policy == nil {
		if err := r.precheck(ctx, s, &match, want); err != nil || s.Status.Phase.Ended() {
			return nil, err
		}
	}
	s.Status.Policy = resolve.PolicyRef(match.Policy)
	s.Status.Approvals = match.Stages
	s.Status.Rules, s.Status.Pins, s.Status.RulesHash = want.Lines, want.Pins, want.RulesHash
	s.Status.Risks = want.Risks
	if !match.Latest.IsZero() {
		s.until(match.Latest.Add(time.Millisecond)) // nobody is asked for what can no longer be given
	}
	s.set(v1alpha1.ConditionPolicyMatched, metav1.ConditionTrue, v1alpha1.ReasonMatched, match.Message)
	return &match, nil
}

// weigh counts the decisions. It ends the request when somebody decided to end it,
// and otherwise says whose approval is missing.
func weigh(s *step, want *resolve.Resolved, duration time.Duration) policy.Outcome {
	outcome := policy.Weigh(policy.BallotOf(s.AccessRequest))
	s.Status.Approvals = outcome.Stages
	switch {
	case outcome.Denied:
		s.end(v1alpha1.RequestDenied, v1alpha1.ReasonDenied, outcome.Message)
	case outcome.Revoked:
		s.end(v1alpha1.RequestRevoked, string(v1alpha1.EndRevoked), outcome.Message)
	case outcome.Withdrawn:
		s.end(v1alpha1.RequestCompleted, v1alpha1.ReasonWithdrawn, outcome.Message)
	case s.over(outcome.Caps, want.Before, duration):
	case !outcome.Approved:
		s.Status.Phase = v1alpha1.RequestPending
		s.set(v1alpha1.ConditionApproved, metav1.ConditionFalse, v1alpha1.ReasonWaitingForApproval, outcome.Message)
	}
	return outcome
}

// sameStages tells whether the stages ask the same people, whoever has approved.
func sameStages(a, b []v1alpha1.StageApproval) bool {
	return slices.EqualFunc(a, b, func(a, b v1alpha1.StageApproval) bool {
		a.Approved, b.Approved = nil, nil
		return equality.Semantic.DeepEqual(a, b)
	})
}

// over ends a request of which an approver allowed so little that nothing is left of it:
// nobody else is asked in vain.
func (s *step) over(caps []policy.Cap, before *v1alpha1.AccessGrant, duration time.Duration) bool {
	begin := s.now
	if s.Spec.StartTime != nil && s.Spec.StartTime.After(begin) {
		begin = s.Spec.StartTime.Time
	}
	if before != nil {
		begin = before.Spec.ExpirationTime.Time
	}
	end, by := policy.Capped(begin, begin.Add(duration), caps)
	if before != nil && !end.Truncate(time.Second).After(begin) {
		s.end(v1alpha1.RequestDenied, v1alpha1.ReasonDenied, fmt.Sprintf("%s approved it until %s, and the access is given until %s anyway", by, text.Moment(end), text.Moment(begin)))
		return true
	}
	if !end.Truncate(time.Second).After(begin) {
		s.end(v1alpha1.RequestLapsed, v1alpha1.ReasonLapsed, fmt.Sprintf("%s approved it until %s, and it could not begin before that; ask again", by, text.Moment(end)))
		return true
	}
	for _, c := range caps {
		if !c.NotAfter.IsZero() {
			s.until(c.NotAfter)
		}
	}
	return false
}

// findLive matches against the policies on the API server. The cache may not show a
// new policy yet, and a denial is final.
func (r *Reconciler) findLive(ctx context.Context, s *step, begin time.Time) (policy.Match, error) {
	candidates, err := r.Policies.AllLive(ctx)
	if err != nil {
		return policy.Match{}, err
	}
	want, err := r.Names.FromLive().Resolve(ctx, s.AccessRequest)
	if err != nil {
		return policy.Match{}, err
	}
	r.Names.Version.Tell(ctx, &want.Ask, candidates...)
	return policy.Find(ctx, candidates, want.Ask, begin), nil
}
