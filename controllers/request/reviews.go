package request

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/text"
)

// reviewed refuses a request while an earlier access of its requester, under the same
// policy, should have been reviewed and was not. It goes by the time, and not by what is
// recorded: that comes later.
func (r *Reconciler) reviewed(ctx context.Context, s *step, p *policy.Policy) error {
	list := &v1alpha1.AccessGrantList{}
	key := cached.ReviewKey(s.Spec.Requester.Username, v1alpha1.ObjectRef{Name: p.Name, UID: p.UID})
	if err := r.Reviews.List(ctx, list, client.MatchingFields{cached.ByReviewed: key}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("look for access that was not reviewed: %w", err)
	}
	var overdue []string
	for i := range list.Items {
		if g := &list.Items[i]; grant.ReviewOverdue(g, s.now) {
			overdue = append(overdue, r.toReview(ctx, g))
		}
	}
	if len(overdue) == 0 {
		return nil
	}
	slices.Sort(overdue)
	s.end(v1alpha1.RequestDenied, v1alpha1.ReasonReviewOverdue, fmt.Sprintf(
		"policy %q gives %s nothing more before what they had is reviewed: %s; ask again then", p.Name, s.Spec.Requester.Username, text.List(overdue, maxOverdue)))
	return nil
}

// maxOverdue bounds how many reviews a refusal names.
const maxOverdue = 3

// toReview names the access that a grant gave, and who may review it.
func (r *Reconciler) toReview(ctx context.Context, g *v1alpha1.AccessGrant) string {
	ref, request := g.Spec.RequestRef, &v1alpha1.AccessRequest{}
	due, _ := grant.ReviewDue(g)
	what := fmt.Sprintf("request %s/%s, by %s", ref.Namespace, ref.Name, text.Moment(due))
	err := r.Reviews.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, request)
	if err != nil || request.UID != ref.UID {
		return what + " (AccessGrant " + g.Name + ")"
	}
	return what + " by one of " + strings.Join(text.Subjects(policy.BallotOf(request).Reviewers()), ", ")
}
