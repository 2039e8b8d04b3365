package view

import (
	"slices"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// ToReview tells whether access has ended and waits for a review that I may give.
func ToReview(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	return r.Status.Review.Open() && mayDecide(r, me)
}

// Reviews lists what waits for a review, that which ended first before the others.
func Reviews(requests []v1alpha1.AccessRequest, now time.Time, everywhere, wide bool) Table {
	byEnd := slices.SortedStableFunc(slices.Values(requests), func(a, b v1alpha1.AccessRequest) int { return endOf(&a).Compare(endOf(&b)) })
	return tableOf(byEnd, func(r *v1alpha1.AccessRequest) []cell {
		var row []cell
		if everywhere {
			row = append(row, cell{"NAMESPACE", r.Namespace})
		}
		row = append(row,
			cell{"NAME", r.Name},
			cell{"REQUESTER", r.Spec.Requester.Username},
			cell{"ROLE", text.Role(r.Asked().RoleRef)},
			cell{"SCOPE", text.Scope(r.Namespace, r.Asked().Scope)},
			cell{"PHASE", phaseOf(r)},
			cell{"ENDED", ago(endOf(r), now)},
			cell{"REVIEW", string(r.Status.Review)},
			cell{"REASON", r.Spec.Reason})
		if wide {
			row = append(row,
				cell{"SUBJECTS", strings.Join(text.Subjects(identity.Subjects(r.Asked())), ",")},
				cell{"POLICY", ptr.Deref(r.Status.Policy, v1alpha1.PolicyRef{}).Name},
				cell{"TICKET", r.Spec.Ticket},
				cell{"GRANT", r.Status.GrantName},
				cell{"STATE", reviewOf(r)})
		}
		return row
	})
}

// reviewOf says how the review of a request stands, nothing where there has to be none.
func reviewOf(r *v1alpha1.AccessRequest) string {
	if r.Status.Review == v1alpha1.ReviewAfterEnd {
		return "after the end, by one of those who decide"
	}
	return conditionOf(r.Status.Conditions, v1alpha1.ConditionReviewed).Message
}

func endOf(r *v1alpha1.AccessRequest) time.Time {
	return conditionOf(r.Status.Conditions, v1alpha1.ConditionEnded).LastTransitionTime.Time
}
