package grant

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lock"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/task"
	"github.com/accessbroker/accessbroker/internal/text"
)

// End is why a grant is over, and who ended it when that is known.
type End struct {
	Reason v1alpha1.EndReason
	By     string
	// Message for people, with what the reason alone does not say.
	Message string
}

func endf(reason v1alpha1.EndReason, format string, args ...any) *End {
	return &End{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Expired is the end of a grant whose time is up, nil before. It needs
// nothing but the stored deadline and the clock, so that nothing can stand
// between the deadline and the revocation.
func Expired(g *v1alpha1.AccessGrant, now time.Time) *End {
	if now.Before(g.Spec.ExpirationTime.Time) {
		return nil
	}
	return endf(v1alpha1.EndExpired, "the access was given until %s", text.Moment(g.Spec.ExpirationTime.Time))
}

// Over tells whether a grant is over, and why. The deadline comes first and needs
// nothing else. Then Over checks every other way in which a grant ends, the cheapest
// first, and stops at the first that applies. The error joins those of the facts
// that are not known now: such a fact never ends a grant, but nothing is given
// without it.
func Over(g *v1alpha1.AccessGrant, facts *Facts, now time.Time) (*End, error) {
	if end := Expired(g, now); end != nil {
		return end, nil
	}
	return OverEarly(g, facts, now)
}

// OverEarly is Over without the deadline: whether somebody or something ended it.
func OverEarly(g *v1alpha1.AccessGrant, facts *Facts, now time.Time) (*End, error) {
	var errs []error
	for _, row := range ends {
		end, err := row.over(g, facts, now)
		if end != nil {
			return end, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// ends are all ways in which a grant ends before its deadline, in the order in which
// Over checks them.
var ends = []struct {
	name string
	over func(*v1alpha1.AccessGrant, *Facts, time.Time) (*End, error)
}{
	{"deleted", deleted},
	{"request", requestOver},
	{"locked", locked},
	{"before", beforeOver},
	{"extended", extendedOver},
	{"policy", policyOver},
	{"suspicious", suspiciousOver},
	{"idle", idleOver},
	{"task", taskOver},
	{"role", roleOver},
	{"subject", subjectOver},
	{"namespace", namespaceOver},
	{"binding", bindingOver},
}

// deleted: somebody deleted the grant, and the broker's finalizer keeps it.
func deleted(g *v1alpha1.AccessGrant, _ *Facts, _ time.Time) (*End, error) {
	if g.DeletionTimestamp == nil {
		return nil, nil
	}
	return endf(v1alpha1.EndGrantDeleted, "the AccessGrant was deleted"), nil
}

// locked: somebody locked one of those out who hold the access or asked for it.
func locked(_ *v1alpha1.AccessGrant, facts *Facts, _ time.Time) (*End, error) {
	l, err := facts.Lock(false)
	if err != nil || l == nil {
		return nil, err
	}
	return lockedBy(l), nil
}

func lockedBy(l *v1alpha1.AccessLock) *End {
	return &End{Reason: v1alpha1.EndLocked, By: l.Spec.By, Message: lock.Why(l)}
}

// requestOver: the request was deleted, or somebody decided to end it.
func requestOver(g *v1alpha1.AccessGrant, facts *Facts, _ time.Time) (*End, error) {
	request, err := facts.Request()
	if err != nil {
		return nil, err
	}
	ref := g.Spec.RequestRef
	if request == nil || request.UID != ref.UID || request.DeletionTimestamp != nil {
		return endf(v1alpha1.EndRequestDeleted, "AccessRequest %s/%s was deleted", ref.Namespace, ref.Name), nil
	}
	if end := decidedTo(policy.Weigh(policy.BallotOf(request))); end != nil {
		return end, nil
	}
	// A request does not end before its grant, so somebody forged this; decisions on
	// the request would have no effect any more.
	if request.Status.Phase.Ended() {
		return endf(v1alpha1.EndNotApproved, "AccessRequest %s/%s ended (%s) before its grant", ref.Namespace, ref.Name, request.Status.Phase), nil
	}
	return nil, nil
}

// decidedTo is the end that somebody decided on, nil when nobody did.
func decidedTo(outcome policy.Outcome) *End {
	var reason v1alpha1.EndReason
	switch {
	case outcome.Denied:
		reason = v1alpha1.EndDenied
	case outcome.Revoked:
		reason = v1alpha1.EndRevoked
	case outcome.Withdrawn:
		reason = v1alpha1.EndReleased
	default:
		return nil
	}
	return &End{Reason: reason, By: outcome.By, Message: outcome.Message}
}

// policyOver: the policy was deleted, or changed so that it no longer allows this.
func policyOver(g *v1alpha1.AccessGrant, facts *Facts, _ time.Time) (*End, error) {
	p, err := facts.Policy()
	if err != nil {
		return nil, err
	}
	ref := g.Spec.PolicyRef
	if p == nil || p.UID != ref.UID || p.DeletionTimestamp != nil {
		return endf(v1alpha1.EndPolicyGone, "AccessPolicy %s was deleted", ref.Name), nil
	}
	refusal, err := facts.Refusal()
	if err != nil || refusal == "" {
		return nil, err
	}
	what := "was changed and no longer allows this"
	if p.Generation == ref.Generation {
		what = "no longer allows this, as a namespace has changed"
	}
	return endf(v1alpha1.EndPolicyChanged, "AccessPolicy %s %s: it %s", ref.Name, what, refusal), nil
}

// unservedFor is how long the API server must have served no version of a kind
// before its objects count as gone.
const unservedFor = 5 * time.Minute

// taskOver: the task is complete, failed, gone or replaced.
func taskOver(g *v1alpha1.AccessGrant, facts *Facts, now time.Time) (*End, error) {
	ref := g.Spec.Task
	if ref == nil {
		return nil, nil
	}
	seen, err := facts.Task()
	if untold := (*task.Untold)(nil); errors.As(err, &untold) && untold.Reason == v1alpha1.ReasonTaskNotServed {
		told := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionTaskWatched)
		if told != nil && told.Reason == untold.Reason && now.Sub(told.LastTransitionTime.Time) > unservedFor {
			return endf(v1alpha1.EndTaskGone, "the API server has served no kind %s of %s for %s, so the task is gone", ref.Kind, ref.APIVersion, text.Duration(unservedFor)), nil
		}
	}
	if err != nil {
		return nil, err
	}
	why := seen.Why
	if seen.Gone {
		why += ", and was deleted"
	}
	switch {
	case seen.State == task.Completed:
		return endf(v1alpha1.EndTaskCompleted, "%s", why), nil
	case seen.State == task.Failed:
		return endf(v1alpha1.EndTaskFailed, "%s", why), nil
	case seen.Gone:
		return endf(v1alpha1.EndTaskGone, "%s %s was deleted or replaced", ref.Kind, ref.Name), nil
	}
	return nil, nil // access keeps its deadline when its task is suspended again
}

// roleOver: the role was deleted or replaced, or now allows more than was approved.
func roleOver(g *v1alpha1.AccessGrant, facts *Facts, _ time.Time) (*End, error) {
	ref := g.Spec.RoleRef
	if ref == nil {
		return nil, nil
	}
	roles := facts.Roles()
	var errs []error
	for _, role := range roles.Each {
		switch {
		case role.Err != nil:
			errs = append(errs, role.Err)
		case role.Missing != "":
			return endf(v1alpha1.EndRoleGone, "%s", role.Missing), nil
		case role.UID != role.Approved:
			return endf(v1alpha1.EndRoleGone, "%s %s was deleted and recreated", ref.Kind, ref.Name), nil
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if roles.Fingerprint == g.Spec.RulesHash {
		return nil, nil
	}
	wider, err := widened(g, roles.Each)
	if err != nil || !wider {
		return nil, err
	}
	p, err := facts.Policy()
	if err != nil || p == nil || p.Spec.OnRoleWidened == v1alpha1.OnRoleWidenedKeep {
		return nil, err
	}
	return endf(v1alpha1.EndRoleWidened, "%s %s now allows more than was approved", ref.Kind, ref.Name), nil
}

// widened tells whether roles allow what was not approved. When a role is too long
// to be listed, the grant knows a part of it: what lies within that part was
// approved, and anything else that a changed role allows counts as widening. When a
// Role differs by namespace, the grant knows only the sum, not what was approved
// where: any change counts as widening.
func widened(g *v1alpha1.AccessGrant, roles []RoleNow) (bool, error) {
	if len(roles) != 1 {
		return true, nil
	}
	approved, _, err := ApprovedRules(g)
	if err != nil {
		return false, err
	}
	covered, _ := rules.Covers(approved, roles[0].Rules)
	return !covered, nil
}

// subjectOver: a ServiceAccount was deleted or replaced; a recreated one would
// inherit the bindings of its predecessor.
func subjectOver(g *v1alpha1.AccessGrant, facts *Facts, _ time.Time) (*End, error) {
	var errs []error
	for _, s := range g.Spec.Subjects {
		if s.Kind != v1alpha1.ServiceAccountKind {
			continue
		}
		uid, err := facts.ServiceAccount(s.Namespace, s.Name)
		if err == nil && uid != s.UID {
			return endf(v1alpha1.EndSubjectGone, "ServiceAccount %s/%s was deleted", s.Namespace, s.Name), nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// namespaceOver: a namespace was deleted or replaced.
func namespaceOver(g *v1alpha1.AccessGrant, facts *Facts, _ time.Time) (*End, error) {
	var errs []error
	for _, ns := range g.Spec.Namespaces {
		uid, err := facts.Namespace(ns.Name)
		if err == nil && uid != ns.UID {
			return endf(v1alpha1.EndNamespaceGone, "namespace %s was deleted", ns.Name), nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// clockSkew is how far the clocks of two replicas may differ: a binding that is
// gone this close to the deadline was taken by another replica, not by hand.
const clockSkew = 5 * time.Second

// bindingOver: somebody deleted, changed or recreated a binding.
func bindingOver(g *v1alpha1.AccessGrant, facts *Facts, now time.Time) (*End, error) {
	if len(g.Status.Bindings) == 0 {
		return nil, nil // not given yet
	}
	var errs []error
	for _, want := range Objects(g) {
		intact, err := facts.Intact(want)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !intact && g.Spec.ExpirationTime.Sub(now) < clockSkew:
			return endf(v1alpha1.EndExpired, "another replica, whose clock is ahead, took the access at the deadline"), nil
		case !intact:
			// Another replica may have taken it for a lock that this one does not see yet.
			if l, err := facts.Lock(true); err != nil || l != nil {
				if err != nil {
					return nil, err
				}
				return lockedBy(l), nil
			}
			return endf(v1alpha1.EndBindingTouched, "%s %s was deleted, changed or recreated by somebody else", want.Kind, types.NamespacedName{Namespace: want.Namespace, Name: want.Name}), nil
		}
	}
	return nil, errors.Join(errs...)
}

// RequestPhase is the phase of a request whose grant ended for a reason.
func RequestPhase(reason v1alpha1.EndReason) v1alpha1.RequestPhase {
	switch reason {
	case v1alpha1.EndExpired:
		return v1alpha1.RequestExpired
	case v1alpha1.EndTaskCompleted, v1alpha1.EndTaskFailed, v1alpha1.EndTaskGone, v1alpha1.EndReleased, v1alpha1.EndExtended:
		return v1alpha1.RequestCompleted
	case v1alpha1.EndDenied:
		return v1alpha1.RequestDenied
	case v1alpha1.EndNameTaken, v1alpha1.EndNotGrantable, v1alpha1.EndNotApproved:
		return v1alpha1.RequestFailed
	}
	return v1alpha1.RequestRevoked
}
