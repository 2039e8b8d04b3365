package grant

import (
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// SessionWatch is the kind of a session that is no use: a client keeps it open
// without anybody.
const SessionWatch = "watch"

// HasUsage tells whether a usage is that of a grant: it says so, and the grant owns
// it. The observer makes both true; nobody else's object counts.
func HasUsage(g *v1alpha1.AccessGrant, u *v1alpha1.AccessUsage) bool {
	return u.Name == g.Name && u.Spec.GrantRef.Name == g.Name && u.Spec.GrantRef.UID == g.UID && g.UID != "" &&
		slices.ContainsFunc(u.OwnerReferences, func(owner metav1.OwnerReference) bool {
			return owner.Kind == "AccessGrant" && owner.Name == g.Name && owner.UID == g.UID
		})
}

// suspiciousOver: it was used in a way that the policy calls suspicious and wants to
// end it. The usage alone ends nothing: the policy must want it now.
func suspiciousOver(g *v1alpha1.AccessGrant, facts *Facts, _ time.Time) (*End, error) {
	if g.Status.GrantedTime == nil {
		return nil, nil // there is no use before
	}
	p, err := facts.Policy()
	if err != nil || p == nil {
		return nil, err
	}
	revokes := func(name string) bool {
		return slices.ContainsFunc(p.Spec.Suspicious, func(use v1alpha1.SuspiciousUse) bool {
			return use.Name == name && use.Action == v1alpha1.SuspiciousRevoke
		})
	}
	if !slices.ContainsFunc(p.Spec.Suspicious, func(use v1alpha1.SuspiciousUse) bool { return use.Action == v1alpha1.SuspiciousRevoke }) {
		return nil, nil
	}
	u, err := facts.Usage()
	if err != nil || u == nil {
		return nil, err
	}
	for _, f := range u.Status.Suspicious {
		before := f.Last.Add(clockSkew).Before(g.CreationTimestamp.Time)
		if f.Action != v1alpha1.SuspiciousRevoke || before || !revokes(f.Name) {
			continue
		}
		return endf(v1alpha1.EndSuspicious, "AccessPolicy %s calls a use of it suspicious, %s: %s", p.Name, f.Name, f.Message), nil
	}
	return nil, nil
}

// idleOver: it was seen to be unused for the policy's idleTimeout.
func idleOver(g *v1alpha1.AccessGrant, facts *Facts, now time.Time) (*End, error) {
	if g.Status.GrantedTime == nil {
		return nil, nil
	}
	p, err := facts.Policy()
	if err != nil || p == nil || p.Spec.IdleTimeout == nil {
		return nil, err
	}
	u, err := facts.Usage()
	if err != nil || u == nil {
		return nil, err
	}
	seen := unusedSince(g, u, now)
	if seen == nil || seen.length < p.Spec.IdleTimeout.Duration {
		return nil, nil
	}
	watches := ""
	if len(u.Status.Sessions) > 0 {
		watches = "; a watch is open, which is no use"
	}
	return endf(v1alpha1.EndIdle, "the access was not used for %s: no call was observed from %s, %s, until %s, and AccessPolicy %s ends what is idle for %s%s",
		text.Duration(seen.length.Round(time.Second)), text.Moment(seen.since), seen.from, text.Moment(seen.until), p.Name, text.Duration(p.Spec.IdleTimeout.Duration), watches), nil
}

// unused is the last stretch of time in which a grant was seen not to be used.
type unused struct {
	since, until time.Time
	// from says what it began with.
	from   string
	length time.Duration
}

// unusedSince is nil when the grant is in use, or when nothing was observed. Only the
// observed window counts: the clock can make the stretch shorter, as when the
// streams come from a machine whose clock is ahead, and never longer.
func unusedSince(g *v1alpha1.AccessGrant, u *v1alpha1.AccessUsage, now time.Time) *unused {
	status := &u.Status
	if status.Since == nil || status.Until == nil || status.More.Sessions > 0 || slices.ContainsFunc(status.Sessions, func(s v1alpha1.UsageSession) bool {
		return s.Kind != SessionWatch
	}) {
		return nil
	}
	out := &unused{since: g.Status.GrantedTime.Time, from: "when it was given", until: status.Until.Time}
	for _, moment := range []struct {
		at   *v1alpha1.Moment
		from string
	}{
		{status.Since, "when the observation began"}, {status.LastGap, "when an interruption of the observation ended"}, {status.LastCall, "the last call"},
	} {
		if moment.at != nil && moment.at.After(out.since) {
			out.since, out.from = moment.at.Time, moment.from
		}
	}
	if now.Before(out.until) {
		out.until = now
	}
	out.length = out.until.Sub(out.since)
	return out
}

// Window is what was observed of the time in which a grant was held.
type Window struct {
	// Since and Until are the observed window, within the time of the access; both are
	// zero when none of it was observed.
	Since, Until time.Time
	// Gaps counts the interruptions of the window.
	Gaps int32
	// Length of the window, and Of the access.
	Length, Of time.Duration
}

// windowSlack is what the ends of the window may differ from those of the access:
// both are written to the second.
const windowSlack = 2 * time.Second

// Whole tells whether all of the access was observed.
func (w Window) Whole() bool { return w.Gaps == 0 && !w.Since.IsZero() && w.Length+windowSlack >= w.Of }

// String says how much of the access was observed.
func (w Window) String() string {
	if w.Since.IsZero() {
		return "nothing of the " + text.Duration(w.Of) + " of the access was observed"
	}
	out := fmt.Sprintf("observed from %s until %s, %s of the %s of the access", text.Moment(w.Since), text.Moment(w.Until), text.Duration(w.Length), text.Duration(w.Of))
	switch w.Gaps {
	case 0:
		return out
	case 1:
		return out + ", with an interruption"
	}
	return out + fmt.Sprintf(", with %d interruptions", w.Gaps)
}

// WindowOf tells what was observed of a grant that has ended.
func WindowOf(g *v1alpha1.AccessGrant, u *v1alpha1.AccessUsage) Window {
	begin, end := g.Spec.NotBefore.Time, g.Spec.ExpirationTime.Time
	if g.Status.GrantedTime != nil {
		begin = g.Status.GrantedTime.Time
	}
	if g.Status.EndedTime != nil {
		end = g.Status.EndedTime.Time
	}
	out := Window{Gaps: u.Status.Gaps, Of: max(0, end.Sub(begin)).Round(time.Second)}
	if u.Status.Since == nil || u.Status.Until == nil {
		return out
	}
	since, until := latest(begin, u.Status.Since.Time), earliest(end, u.Status.Until.Time)
	if until.Before(since) {
		return out
	}
	out.Since, out.Until, out.Length = since, until, until.Sub(since).Round(time.Second)
	return out
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// KeepsPod says why the Pod of a session is not to be evicted, in words that go after
// "the Pod is not evicted: "; empty when it may be. The session is what the observer
// says: it must be one that the grant allowed, at the time of the grant, or whoever
// writes usages could have any Pod evicted.
func KeepsPod(g *v1alpha1.AccessGrant, s v1alpha1.UsageSession) string {
	began := s.Since.Time
	switch {
	case g.Status.GrantedTime == nil || g.Status.EndedTime == nil:
		return "the access was never held"
	case began.Add(clockSkew).Before(g.Status.GrantedTime.Time) || g.Status.EndedTime.Add(clockSkew).Before(began):
		return "the session did not begin while the access was held"
	case s.Shared:
		return "other access of the caller covers the session, too"
	case len(validation.IsDNS1123Subdomain(s.Name))+len(validation.IsDNS1123Label(s.Namespace)) > 0:
		return "no Pod can have its name" // it would be a path to another
	case !g.Spec.Cluster && !slices.ContainsFunc(g.Spec.Namespaces, func(ns v1alpha1.GrantNamespace) bool { return ns.Name == s.Namespace }):
		return "it is not within the scope of the grant"
	}
	approved, _, err := ApprovedRules(g)
	if err != nil {
		return "nobody can read what the grant allowed"
	}
	// The API server asks for create, or for get where a client connects by GET.
	if !slices.ContainsFunc([]string{"create", "get"}, func(verb string) bool {
		ok, _ := rules.Covers(approved, []rbacv1.PolicyRule{{
			Verbs: []string{verb}, APIGroups: []string{""}, Resources: []string{"pods/" + s.Kind}, ResourceNames: []string{s.Name},
		}})
		return ok
	}) {
		return "the grant does not allow " + s.Kind + " there"
	}
	return ""
}
