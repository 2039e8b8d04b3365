package view

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
)

// Mine tells whether I asked for the access or get it.
func Mine(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	return identity.Benefits(me.Username, me.Groups, r.Spec.Requester.Username, identity.Subjects(r.Asked()))
}

// mayDecide tells whether the policy names me as an approver and I do not benefit.
func mayDecide(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	return identity.Among(r.Status.Approvers(), me.Username, me.Groups) && !Mine(r, me)
}

// WaitsForMe tells whether my approval is missing. It is not where none is needed of
// mine or enough are there; it is when I gave one before the role changed.
func WaitsForMe(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	return r.Status.Phase == v1alpha1.RequestPending && mayDecide(r, me) &&
		policy.BallotOf(r).Needs(me) && !meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionApproved) &&
		!slices.ContainsFunc(r.Status.Decisions, func(d v1alpha1.Decision) bool {
			return d.Username == me.Username && d.Verdict == v1alpha1.VerdictApprove && d.RulesHash == r.Status.RulesHash
		})
}

// Deniable tells whether I may still deny it, approved or not.
func Deniable(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	undecided := r.Status.Phase == v1alpha1.RequestPending || r.Status.Phase == v1alpha1.RequestApproved
	return undecided && mayDecide(r, me)
}

// Revocable tells whether I may take away what was approved.
func Revocable(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	approved := r.Status.Phase == v1alpha1.RequestActive || r.Status.Phase == v1alpha1.RequestApproved
	return approved && mayDecide(r, me)
}

// Extendable tells whether I may ask for more time of it.
func Extendable(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	return r.Status.Phase == v1alpha1.RequestActive && r.Spec.Requester.Username == me.Username && r.Spec.CredentialKey == ""
}

// Next is what I can do about a request: why, and by which decisions of mine.
func Next(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) (why string, verdicts []v1alpha1.Verdict) {
	switch {
	case WaitsForMe(r, me):
		return "It waits for you", []v1alpha1.Verdict{v1alpha1.VerdictApprove, v1alpha1.VerdictDeny}
	case Revocable(r, me):
		return "To take it away", []v1alpha1.Verdict{v1alpha1.VerdictRevoke}
	case ToReview(r, me):
		return "It waits for your review", []v1alpha1.Verdict{v1alpha1.VerdictReview}
	case Mine(r, me) && !r.Status.Phase.Ended():
		return "To give it back", []v1alpha1.Verdict{v1alpha1.VerdictRelease}
	}
	return "", nil
}
