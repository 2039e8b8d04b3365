package usage

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// How much an AccessUsage names: the bounds of its lists. With names of the greatest
// length it stays below the size that etcd takes.
const (
	storedCallers  = 32
	storedUsed     = 192
	storedDemanded = 64
	storedNames    = 8
	storedCreated  = 128
	storedSessions = 64
	storedEnded    = 64
)

var stored = limits{storedCallers, storedUsed, storedDemanded, storedNames, storedCreated, storedSessions}

// NewPart is a tally of what is to be added to an AccessUsage.
func NewPart() *Tally { return newTally(stored) }

// AddTo adds what the tally holds to what is stored. What the two have in common,
// sessions that began in one and ended in the other, is told once. The window, the
// streams and what is suspicious are not its concern.
func (t *Tally) AddTo(s *v1alpha1.AccessUsageStatus) {
	all := restore(s)
	known := maps.Clone(all.open)
	all.Merge(t)
	all.store(s)

	// An end whose beginning has not come is remembered, so that the session does not
	// begin after it.
	for _, generation := range []map[uint64]struct{}{t.ended.before, t.ended.now} {
		for id := range generation {
			if name := sessionName(id); known[id] == nil && !slices.Contains(s.EndedSessions, name) {
				s.EndedSessions = append(s.EndedSessions, name)
			}
		}
	}
	s.EndedSessions = s.EndedSessions[max(0, len(s.EndedSessions)-storedEnded):]
}

// restore makes a tally of what is stored, without the sessions that are open: they
// count as calls in what is stored, and in a tally when they are over.
func restore(s *v1alpha1.AccessUsageStatus) *Tally {
	t := newTally(stored)
	t.calls, t.shared, t.refused, t.failed = int(s.Calls), int(s.SharedCalls), int(s.RefusedCalls), int(s.FailedCalls)
	t.calls += t.refused
	t.first, t.last = timeOf(s.FirstCall), timeOf(s.LastCall)
	for _, c := range s.Callers {
		t.callers.add(callerIn(c.UsageClient), int(c.Calls))
	}
	t.used.restore(s.Used)
	t.demanded.restore(s.Refused)
	for _, r := range s.Risks {
		t.risks[r.Kind] += int(r.Count)
	}
	for _, c := range s.ClosedSessions {
		t.closed[c.Kind] += int(c.Count)
	}
	for _, o := range s.Created {
		object := Object{o.Group, o.Resource, o.Namespace, o.Name, o.UID}
		t.created.add(object, int(o.Times))
		t.note(object, span{o.From.Time, o.To.Time})
	}
	t.callers.left, t.used.left, t.demanded.left = int(s.More.Callers), int(s.More.Used), int(s.More.Refused)
	t.created.left, t.openLeft = int(s.More.Created), int(s.More.Sessions)
	for _, name := range s.EndedSessions {
		if id, err := strconv.ParseUint(name, 16, 64); err == nil {
			t.ended.add(id)
		}
	}
	for _, open := range s.Sessions {
		id, err := strconv.ParseUint(open.ID, 16, 64)
		if err != nil {
			continue
		}
		session := &session{Event{
			Stage: stageStarted, Verb: open.Verb, Group: open.Group, Resource: open.Resource, Subresource: open.Subresource,
			Namespace: open.Namespace, Name: open.Name, User: open.User, Impersonated: open.As, UserAgent: open.UserAgent,
			Received: open.Since.Time, Allowed: true, Addresses: addressesOf(open.UsageClient),
		}, open.Shared}
		t.open[id] = session
		t.uncount(session)
	}
	return t
}

// uncount takes a session back that was counted as a call while it was open.
func (t *Tally) uncount(s *session) {
	e := &s.Event
	t.calls--
	if s.shared {
		t.shared--
	}
	t.callers.take(callerOf(e))
	right, name := RightOf(e)
	t.used.take(right, name, s.shared)
	for _, kind := range right.Risks() {
		if t.risks[kind]--; t.risks[kind] <= 0 {
			delete(t.risks, kind)
		}
	}
}

// store writes what the tally holds, sessions that are open as calls too.
func (t *Tally) store(s *v1alpha1.AccessUsageStatus) {
	sum := t.Summary()
	s.Calls, s.SharedCalls, s.RefusedCalls, s.FailedCalls = int64(sum.Calls-sum.Refused), int64(sum.Shared), int64(sum.Refused), int64(sum.Failed)
	s.FirstCall, s.LastCall = moments(sum.First), moments(sum.Last)
	s.Callers = nil
	for _, c := range sum.Callers {
		s.Callers = append(s.Callers, v1alpha1.UsageCaller{UsageClient: c.client(), Calls: int64(c.Calls)})
	}
	s.Used, s.Refused = storedRights(sum.Used), storedRights(sum.Demanded)
	s.Risks, s.ClosedSessions = storedCounts(sum.Risks), storedCounts(sum.Closed)
	s.Created = nil
	for _, c := range sum.Created {
		if t.isDeleted(c.Object) {
			continue
		}
		at := t.when[c.Object]
		s.Created = append(s.Created, v1alpha1.UsageObject{
			Group: c.Group, Resource: c.Resource, Namespace: c.Namespace, Name: c.Name, UID: c.UID,
			From: metav1.NewTime(at.from), To: metav1.NewTime(at.to), Times: int64(c.Times),
		})
	}
	s.Sessions = nil
	for id, open := range t.open {
		e := &open.Event
		s.Sessions = append(s.Sessions, v1alpha1.UsageSession{
			ID: sessionName(id), Kind: cmp.Or(sessionKind(e), "other"), Group: e.Group, Resource: e.Resource, Subresource: e.Subresource,
			Namespace: e.Namespace, Name: e.Name, Verb: e.Verb, Shared: open.shared, UsageClient: callerOf(e).client(), Since: metav1.NewTime(e.Received),
		})
	}
	slices.SortFunc(s.Sessions, func(a, b v1alpha1.UsageSession) int {
		return cmp.Or(a.Since.Compare(b.Since.Time), cmp.Compare(a.ID, b.ID))
	})
	s.More = v1alpha1.UsageMore{
		Callers: int64(sum.More.Callers), Used: int64(sum.More.Used), Refused: int64(sum.More.Demanded),
		Created: int64(sum.More.Created), Sessions: int64(sum.More.Open),
	}
}

func sessionName(id uint64) string { return strconv.FormatUint(id, 16) }

func (c Caller) client() v1alpha1.UsageClient {
	return v1alpha1.UsageClient{User: c.User, As: c.As, Address: c.Address, ClaimedAddress: c.Claimed, UserAgent: c.UserAgent}
}

func callerIn(c v1alpha1.UsageClient) Caller {
	return Caller{User: c.User, As: c.As, Address: c.Address, Claimed: c.ClaimedAddress, UserAgent: c.UserAgent}
}

// addressesOf are those of an event from this client.
func addressesOf(c v1alpha1.UsageClient) (addresses []string) {
	for _, address := range []string{c.ClaimedAddress, c.Address} {
		if address != "" {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

func storedRights(list []RightUse) (out []v1alpha1.UsageRight) {
	for _, r := range list {
		out = append(out, v1alpha1.UsageRight{
			Verb: r.Verb, Group: r.Group, Resource: r.Resource, Subresource: r.Subresource, Namespace: r.Namespace, Path: r.Path,
			Calls: int64(r.Calls), Shared: int64(r.Shared), Failed: int64(r.Failed), Names: r.Names, MoreNames: int64(r.MoreNames),
		})
	}
	return out
}

func (r *rights) restore(list []v1alpha1.UsageRight) {
	for _, s := range list {
		use := r.add(Right{Verb: s.Verb, Group: s.Group, Resource: s.Resource, Subresource: s.Subresource, Namespace: s.Namespace, Path: s.Path})
		if use == nil {
			r.left += int(s.Calls)
			continue
		}
		use.calls, use.failed, use.shared = int(s.Calls), int(s.Failed), int(s.Shared)
		for _, name := range s.Names {
			use.names.add(name, 1)
		}
		use.names.left = int(s.MoreNames)
	}
}

func (r *rights) take(right Right, name string, shared bool) {
	use := r.of[right]
	if use == nil {
		r.left = max(0, r.left-1)
		return
	}
	use.calls--
	if shared {
		use.shared--
	}
	if use.calls <= 0 {
		delete(r.of, right)
		return
	}
	// How often each name came is not stored: the name stays.
	if _, named := use.names.of[name]; name != "" && !named {
		use.names.left = max(0, use.names.left-1)
	}
}

func (c *counted[K]) take(key K) {
	switch n, known := c.of[key]; {
	case !known:
		c.left = max(0, c.left-1)
	case n <= 1:
		delete(c.of, key)
	default:
		c.of[key]--
	}
}

func storedCounts(of map[string]int) (out []v1alpha1.UsageCount) {
	for _, kind := range slices.Sorted(maps.Keys(of)) {
		out = append(out, v1alpha1.UsageCount{Kind: cmp.Or(kind, "other"), Count: int64(of[kind])})
	}
	return out
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

func moments(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}
