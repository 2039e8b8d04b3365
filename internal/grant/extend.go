package grant

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Extends is what a grant records of the one that it gives more time to.
func Extends(before *v1alpha1.AccessGrant) *v1alpha1.GrantExtended {
	e := &v1alpha1.GrantExtended{
		ObjectRef:  v1alpha1.ObjectRef{Name: before.Name, UID: before.UID},
		Extensions: 1, First: before.Name, ExpirationTime: before.Spec.ExpirationTime,
	}
	if earlier := before.Spec.Extends; earlier != nil {
		e.Extensions, e.First = earlier.Extensions+1, earlier.First
	}
	return e
}

// ExtensionOf is what the policy of the grant of decides on; of is the grant that is
// extended, or the one that extends it.
func ExtensionOf(e *v1alpha1.GrantExtended, of *v1alpha1.AccessGrant) *policy.Extension {
	return &policy.Extension{Policy: of.Spec.PolicyRef.UID, Number: e.Extensions, From: e.ExpirationTime.Time}
}

// FirstOf is the name of the grant that a chain of extensions begins with: the grant's
// own, when it extends none.
func FirstOf(g *v1alpha1.AccessGrant) string {
	if g.Spec.Extends != nil {
		return g.Spec.Extends.First
	}
	return g.Name
}

// Begin is the moment at which the time begins that was decided on: that of the grant,
// or the deadline that it extends.
func Begin(g *v1alpha1.AccessGrant) time.Time {
	if g.Spec.Extends != nil {
		return g.Spec.Extends.ExpirationTime.Time
	}
	return g.Spec.NotBefore.Time
}

// NotExtendable says in words why nobody can get more time of the access that a grant
// gives; "" when somebody can. g is nil when there is no such grant.
func NotExtendable(g *v1alpha1.AccessGrant, now time.Time) string {
	switch {
	case g == nil:
		return "holds no access"
	case g.Status.Phase == v1alpha1.GrantEnded && g.Status.EndReason == v1alpha1.EndExtended:
		return "was extended already: extend the request that did it"
	case g.Status.Phase == v1alpha1.GrantEnded:
		return fmt.Sprintf("is over (%s): there is nothing to extend, ask for new access", g.Status.EndReason)
	case !now.Before(g.Spec.ExpirationTime.Time):
		return fmt.Sprintf("ended at %s: there is nothing to extend, ask for new access", text.Moment(g.Spec.ExpirationTime.Time))
	case g.Status.Phase != v1alpha1.GrantActive:
		return "holds no access yet"
	case g.DeletionTimestamp != nil:
		return "is about to end: somebody deleted its AccessGrant"
	case Issued(g):
		return "has a credential of its own, which ends with it: ask for another with 'kubectl access request --credential'"
	}
	return ""
}

// NotTheSame says in words what a grant gives that differs from the access that it
// extends; "" when only the time does. It believes nothing that the request says.
func NotTheSame(g, before *v1alpha1.AccessGrant) string {
	same := equality.Semantic.DeepEqual
	of := func(what string) string {
		return fmt.Sprintf("%s would not be the same as in the access that it extends: ask for new access", what)
	}
	switch a, b := &g.Spec, &before.Spec; {
	case a.Requester.Username != b.Requester.Username:
		return of("the requester")
	case a.PolicyRef.UID != b.PolicyRef.UID:
		return of("the policy")
	case a.RequestRef.Namespace != b.RequestRef.Namespace:
		return of("the namespace of the request")
	case !same(a.Subjects, b.Subjects):
		return of("the subjects")
	case !same(a.RoleRef, b.RoleRef), a.RoleUID != b.RoleUID, !same(a.Rules, b.Rules):
		return of("the role")
	case a.Cluster != b.Cluster, !slices.Equal(a.Namespaces, b.Namespaces):
		return of("the scope")
	case !same(a.Task, b.Task):
		return of("the task")
	case a.CredentialKey != b.CredentialKey:
		return of("the credential")
	}
	return ""
}

// Before is the grant that another one gives more time to, as it is now.
type Before struct {
	// Grant is nil when it is gone; so is its Request.
	Grant   *v1alpha1.AccessGrant
	Request *v1alpha1.AccessRequest
	// End is why Grant is over, without its deadline; asked only while it has not ended.
	End func() (*End, error)
}

// Settled tells whether nothing can come to an extension any more from what it
// extends: that is over, as it should be, and nobody can decide on its request.
func (b *Before) Settled() bool {
	return (b.Grant == nil || b.Grant.Status.Phase == v1alpha1.GrantEnded && replaced(b.Grant.Status.EndReason)) &&
		(b.Request == nil || b.Request.Status.Phase.Ended())
}

// replaced tells whether access ended in a way that leaves it to its extension.
func replaced(reason v1alpha1.EndReason) bool {
	return reason == v1alpha1.EndExtended || reason == v1alpha1.EndExpired
}

// beforeOver: what this grant gives more time to was taken away before this one had
// taken its place. Whoever revoked the one meant the access, and a revocation cannot
// be raced.
func beforeOver(g *v1alpha1.AccessGrant, facts *Facts, _ time.Time) (*End, error) {
	ref := g.Spec.Extends
	if ref == nil {
		return nil, nil
	}
	before, err := facts.Before()
	if err != nil || before == nil {
		return nil, err
	}
	given := g.Status.Phase == v1alpha1.GrantActive
	inherited := func(end *End) *End {
		return &End{Reason: end.Reason, By: end.By, Message: fmt.Sprintf("AccessGrant %s, which it extends, ended: %s", ref.Name, end.Message)}
	}
	if before.Request != nil {
		if end := decidedTo(policy.Weigh(policy.BallotOf(before.Request))); end != nil {
			return inherited(end), nil
		}
	}
	switch was := before.Grant; {
	case was == nil && given:
		return nil, nil
	case was == nil:
		return endf(v1alpha1.EndGrantDeleted, "AccessGrant %s, which it extends, is gone", ref.Name), nil
	case was.Status.Phase != v1alpha1.GrantEnded:
		end, err := before.End()
		if err != nil || end == nil || replaced(end.Reason) {
			return nil, err
		}
		return inherited(end), nil
	case !replaced(was.Status.EndReason):
		return inherited(&End{Reason: was.Status.EndReason, By: was.Status.EndedBy, Message: whyEnded(was)}), nil
	case was.Status.EndReason == v1alpha1.EndExtended && !given:
		return alreadyExtended(ref.Name), nil
	}
	return nil, nil
}

// whyEnded is what a grant that has ended says about it.
func whyEnded(g *v1alpha1.AccessGrant) string {
	if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAccessGiven); c != nil {
		return c.Message
	}
	return string(g.Status.EndReason)
}

func alreadyExtended(name string) *End {
	return endf(v1alpha1.EndNotGrantable, "another request extended the access of AccessGrant %s first", name)
}

// AlreadyExtended is the end of a grant that would be the second to extend another.
func AlreadyExtended(g *v1alpha1.AccessGrant) *End { return alreadyExtended(g.Spec.Extends.Name) }

// extendedOver: a grant that gives more time has taken the place of this one.
func extendedOver(_ *v1alpha1.AccessGrant, facts *Facts, _ time.Time) (*End, error) {
	next, err := facts.Successor()
	if err != nil || next == nil {
		return nil, err
	}
	ref := next.Spec.RequestRef
	return endf(v1alpha1.EndExtended, "extended by AccessRequest %s/%s until %s: AccessGrant %s holds the access now",
		ref.Namespace, ref.Name, text.Moment(next.Spec.ExpirationTime.Time), next.Name), nil
}

// Successor returns the one of these grants that holds the access of a grant in its
// place, nil when none does.
func Successor(of *v1alpha1.AccessGrant, grants []v1alpha1.AccessGrant, now time.Time) *v1alpha1.AccessGrant {
	for i := range grants {
		g := &grants[i]
		if g.Spec.Extends != nil && g.Spec.Extends.UID == of.UID && g.Status.Phase == v1alpha1.GrantActive && Expired(g, now) == nil {
			return g
		}
	}
	return nil
}

// warnBefore is how long before the deadline of a grant people are told, and of a short
// grant not before nine tenths of its time.
const warnBefore = 10 * time.Minute

// warnLeast is the least time that people need to read it. Who has less is not told.
const warnLeast = time.Second

// WarnAt is when people are told that the access will end: its end, when they are not.
func WarnAt(g *v1alpha1.AccessGrant) time.Time {
	end, whole := g.Spec.ExpirationTime.Time, g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time)
	if whole/10 < warnLeast {
		return end
	}
	return end.Add(-min(warnBefore, whole/10))
}

// ExpiresSoon says to people, in the last minutes of a grant, that it ends, and whether
// they can get more time; "" before. p is nil when the policy is not known.
func ExpiresSoon(g *v1alpha1.AccessGrant, p *v1alpha1.AccessPolicy, now time.Time) string {
	if now.Before(WarnAt(g)) || g.Status.Phase != v1alpha1.GrantActive {
		return ""
	}
	says := "the access ends at " + text.Moment(g.Spec.ExpirationTime.Time)
	had := int32(0)
	if g.Spec.Extends != nil {
		had = g.Spec.Extends.Extensions
	}
	switch {
	case p == nil:
		return says
	case Issued(g), p.Spec.MaxExtensions == 0:
		return says + "; it cannot be extended"
	case had >= p.Spec.MaxExtensions:
		return fmt.Sprintf("%s; policy %s allows no more extensions than the %d that there were", says, p.Name, had)
	}
	ref := g.Spec.RequestRef
	return fmt.Sprintf("%s; 'kubectl access extend %s -n %s --for 30m --reason WHY' asks for more time", says, ref.Name, ref.Namespace)
}
