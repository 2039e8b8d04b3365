package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// ReviewNotice is how long before the review of a policy is due the policy says so.
const ReviewNotice = 14 * 24 * time.Hour

// Review tells how far a policy is from its reviewBy.
type Review string

const (
	// ReviewNotDue: it is more than ReviewNotice away, or there is none.
	ReviewNotDue Review = "NotDue"
	// ReviewSoon: it is near.
	ReviewSoon Review = "Soon"
	// ReviewOverdue: it has passed.
	ReviewOverdue Review = "Overdue"
)

// ReviewOf tells how far a policy is from its reviewBy, and when that changes next:
// zero for never.
func ReviewOf(spec *v1alpha1.AccessPolicySpec, now time.Time) (Review, time.Time) {
	if spec.ReviewBy == nil {
		return ReviewNotDue, time.Time{}
	}
	due := spec.ReviewBy.Time
	switch notice := due.Add(-ReviewNotice); {
	case now.Before(notice):
		return ReviewNotDue, notice
	case now.Before(due):
		return ReviewSoon, due
	}
	return ReviewOverdue, time.Time{}
}

// Overdue says that nothing is given by a policy because nobody has looked at it in
// time; nil while that is not so.
func Overdue(spec *v1alpha1.AccessPolicySpec, now time.Time) error {
	if review, _ := ReviewOf(spec, now); review != ReviewOverdue {
		return nil
	}
	return fmt.Errorf("its review was due by %s: it gives nothing until somebody has looked at it and moved reviewBy", text.Moment(spec.ReviewBy.Time))
}

// Authors are the users who changed a policy since it was last confirmed, as the API
// server stamped them; none when it was made before there was anybody to stamp them.
func Authors(p *v1alpha1.AccessPolicy) []string {
	stamped := p.Annotations[v1alpha1.AnnotationChangedBy]
	if stamped == "" {
		return nil
	}
	return strings.Split(stamped, "\n")
}

// NotConfirmed says why a policy as it is now counts as not confirmed by a second
// person; nil when it is confirmed.
func NotConfirmed(p *v1alpha1.AccessPolicy) error {
	authors := Authors(p)
	confirmed := p.Status.Confirmed
	command := fmt.Sprintf("kubectl access confirm-policy %s", p.Name)
	switch {
	case len(authors) == 0:
		return fmt.Errorf("nobody knows who wrote it, so nobody can be the second person: somebody vouches for it in the annotation %s, and another confirms it: %s", v1alpha1.AnnotationChangedBy, command)
	case confirmed == nil || confirmed.UID != p.UID || confirmed.Generation != p.Generation:
		return fmt.Errorf("it was changed by %s and gives nothing until a second person confirms it: %s", strings.Join(authors, ", "), command)
	}
	if i := slices.IndexFunc(authors, func(a string) bool { return identity.SamePerson(a, confirmed.Username) }); i >= 0 {
		return fmt.Errorf("%s confirmed it and counts as %s, who changed it: a second person confirms it: %s", confirmed.Username, authors[i], command)
	}
	return nil
}

// MustBeConfirmed makes a policy give nothing unless a second person has confirmed it
// as it is.
func (p *Policy) MustBeConfirmed() { p.notConfirmed = NotConfirmed(p.AccessPolicy) }

// NotConfirmed says why the policy has to be confirmed first, nil when it has not.
func (p *Policy) NotConfirmed() error { return p.notConfirmed }

// closed says why a policy that compiles gives nothing at a moment; nil when it does.
// It takes nothing: access that was given goes on.
func (p *Policy) closed(at time.Time) error {
	return errors.Join(p.notConfirmed, Overdue(&p.Spec, at))
}
