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

// Overdue says that nothing is given by a policy because nobody has looked at it in
// time; nil while that is not so.
func Overdue(spec *v1alpha1.AccessPolicySpec, now time.Time) error {
	if review, _ := spec.Review(now); review != v1alpha1.PolicyReviewOverdue {
		return nil
	}
	return fmt.Errorf("its review was due by %s: it gives nothing until somebody has looked at it and moved reviewBy", text.Moment(spec.ReviewBy.Time))
}

// NotConfirmed says why a policy as it is now counts as not confirmed by a second
// person; nil when it is confirmed.
func NotConfirmed(p *v1alpha1.AccessPolicy) error {
	authors := p.ChangedBy()
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
