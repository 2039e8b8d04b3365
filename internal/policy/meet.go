package policy

import (
	"fmt"
	"strings"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// unmeetable says, in words that go after "which", why people can never give this
// request the approvals that the policy asks for; "" when they can.
func (p *Policy) unmeetable(r Request) string {
	deciders := identity.Deciders(p.Spec.Approvers, r.Requester.Username, r.Subjects)
	if most, bounded := mostApprovals(deciders); !bounded || most >= p.Required() {
		return ""
	}
	why := []string{fmt.Sprintf("could never be met for this request: it needs %d of %s", p.Required(), strings.Join(text.Subjects(p.Spec.Approvers), ", "))}
	named := map[string]v1alpha1.PolicySubject{}
	for _, a := range p.Spec.Approvers {
		name, isPerson := identity.Person(a)
		first, again := named[identity.Fold(name)]
		switch {
		case isPerson && identity.SamePerson(name, r.Requester.Username):
			why = append(why, text.Subject(a)+" is the requester")
		case len(identity.Deciders([]v1alpha1.PolicySubject{a}, r.Requester.Username, r.Subjects)) == 0:
			why = append(why, text.Subject(a)+" would get the access")
		case isPerson && again:
			why = append(why, text.Subject(a)+" counts as "+text.Subject(first))
		case isPerson:
			named[identity.Fold(name)] = a
		}
	}
	return strings.Join(why, ", and ")
}

// mostApprovals is how many different people the approvers are, unless a
// group or a pattern is among them.
func mostApprovals(approvers []v1alpha1.PolicySubject) (int, bool) {
	people := map[string]bool{}
	for _, a := range approvers {
		username, ok := identity.Person(a)
		if !ok {
			return 0, false
		}
		people[identity.Fold(username)] = true
	}
	return len(people), true
}
