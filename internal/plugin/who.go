package plugin

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// mine tells whether I asked for the access or get it.
func mine(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	return identity.Benefits(me.Username, me.Groups, r.Spec.Requester.Username, identity.Subjects(&r.Spec))
}

// mayDecide tells whether the policy names me as an approver and I do not benefit.
func mayDecide(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	return identity.Among(r.Status.Approvers, me.Username, me.Groups) && !mine(r, me)
}

// waitsForMe tells whether my approval is missing. It is not where none is needed
// or enough are there; it is when I gave one before the role changed.
func waitsForMe(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	return r.Status.Phase == v1alpha1.RequestPending && mayDecide(r, me) &&
		ptr.Deref(r.Status.RequiredApprovals, 1) > 0 && !meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionApproved) &&
		!slices.ContainsFunc(r.Status.Decisions, func(d v1alpha1.Decision) bool {
			return d.Username == me.Username && d.Verdict == v1alpha1.VerdictApprove && d.RulesHash == r.Status.RulesHash
		})
}

// deniable tells whether I may still deny it, approved or not.
func deniable(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	undecided := r.Status.Phase == v1alpha1.RequestPending || r.Status.Phase == v1alpha1.RequestApproved
	return undecided && mayDecide(r, me)
}

// revocable tells whether I may take away what was approved.
func revocable(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	approved := r.Status.Phase == v1alpha1.RequestActive || r.Status.Phase == v1alpha1.RequestApproved
	return approved && mayDecide(r, me)
}
