package v1alpha1

import (
	"strings"
	"time"
)

// ReviewNotice is how long before the review of a policy is due the policy says so.
const ReviewNotice = 14 * 24 * time.Hour

// PolicyReview tells how far a policy is from its reviewBy.
//
// +kubebuilder:object:generate=false
type PolicyReview string

const (
	// PolicyReviewNotDue: it is more than ReviewNotice away, or there is none.
	PolicyReviewNotDue PolicyReview = "NotDue"
	// PolicyReviewSoon: it is near.
	PolicyReviewSoon PolicyReview = "Soon"
	// PolicyReviewOverdue: it has passed.
	PolicyReviewOverdue PolicyReview = "Overdue"
)

// Review tells how far the policy is from its reviewBy, and when that changes next:
// zero for never.
func (s *AccessPolicySpec) Review(now time.Time) (PolicyReview, time.Time) {
	if s.ReviewBy == nil {
		return PolicyReviewNotDue, time.Time{}
	}
	due := s.ReviewBy.Time
	switch notice := due.Add(-ReviewNotice); {
	case now.Before(notice):
		return PolicyReviewNotDue, notice
	case now.Before(due):
		return PolicyReviewSoon, due
	}
	return PolicyReviewOverdue, time.Time{}
}

// ChangedBy are the users who changed the policy since it was last confirmed, as the
// API server stamped them; none when nobody stamped them.
func (p *AccessPolicy) ChangedBy() []string {
	stamped := p.Annotations[AnnotationChangedBy]
	if stamped == "" {
		return nil
	}
	return strings.Split(stamped, "\n")
}

// RequestersAt are the requesters who may use the policy at a moment.
func (s *AccessPolicySpec) RequestersAt(now time.Time) []PolicySubject {
	var subjects []PolicySubject
	for _, r := range s.Requesters {
		if r.Until == nil || now.Before(r.Until.Time) {
			subjects = append(subjects, r.PolicySubject)
		}
	}
	return subjects
}
