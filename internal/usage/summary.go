package usage

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Summary is what a tally holds, for people and programs. Lists begin with what came
// most often.
type Summary struct {
	// First and Last are when the first and the last call came; zero without any.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Calls are all of them, Refused those that the authorizer did not allow, and
	// Failed those that it allowed and that went wrong.
	Calls      int `json:"calls"`
	Refused    int `json:"refused,omitempty"`
	Failed     int `json:"failed,omitempty"`
	Duplicates int `json:"duplicates,omitempty"`

	Callers  []CallerUse    `json:"callers,omitempty"`
	Used     []RightUse     `json:"used,omitempty"`
	Demanded []RightUse     `json:"refusedRights,omitempty"`
	Risks    map[string]int `json:"risks,omitempty"`
	Created  []CreatedUse   `json:"created,omitempty"`
	// Open are the sessions of which no end was seen, the oldest first. Closed
	// counts the others.
	Open   []Session      `json:"openSessions,omitempty"`
	Closed map[string]int `json:"closedSessions,omitempty"`

	// More is what the lists leave out, in calls.
	More More `json:"more,omitzero"`

	// What follows is only known of usage that was observed and stored.

	// Shared are those of the calls that other access covers too.
	Shared int `json:"shared,omitempty"`
	// Suspicious uses that were seen.
	Suspicious []Finding `json:"suspicious,omitempty"`
	// Window in which usage was observed.
	Window Window `json:"window,omitzero"`
}

// Finding is a suspicious use that a policy names, and that was seen.
type Finding struct {
	Name    string    `json:"name"`
	Action  string    `json:"action"`
	Message string    `json:"message"`
	Times   int       `json:"times"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// Window is when usage was observed. Nothing is known of what was before it, after
// it, or in its gaps.
type Window struct {
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Gaps counts the interruptions; LastGap is when the last of them ended.
	Gaps    int       `json:"gaps,omitempty"`
	LastGap time.Time `json:"lastGap,omitzero"`
	// Lost counts events that were there and could not be read.
	Lost int `json:"lost,omitempty"`
	// Closed is true when nothing is added any more.
	Closed bool `json:"closed,omitempty"`
}

// More counts what is not named, because there was too much of it.
type More struct {
	Callers  int `json:"callers,omitempty"`
	Used     int `json:"used,omitempty"`
	Demanded int `json:"refusedRights,omitempty"`
	Created  int `json:"created,omitempty"`
	Open     int `json:"openSessions,omitempty"`
}

// CallerUse counts the calls of one caller.
type CallerUse struct {
	Caller `json:",inline"`
	Calls  int `json:"calls"`
}

// RightUse counts the calls for one right. Names are those of the objects for which
// they went well; MoreNames counts the calls for names that are not among them.
type RightUse struct {
	Right     `json:",inline"`
	Calls     int      `json:"calls"`
	Failed    int      `json:"failed,omitempty"`
	Names     []string `json:"names,omitempty"`
	MoreNames int      `json:"moreNames,omitempty"`
	// Shared are those of the calls that other access covers too, where that is known.
	Shared int `json:"shared,omitempty"`
}

// CreatedUse counts how often an object was created.
type CreatedUse struct {
	Object `json:",inline"`
	Times  int `json:"times"`
}

// Session is a call that goes on.
type Session struct {
	Kind        string    `json:"kind"`
	Group       string    `json:"group,omitempty"`
	Resource    string    `json:"resource,omitempty"`
	Subresource string    `json:"subresource,omitempty"`
	Namespace   string    `json:"namespace,omitempty"`
	Name        string    `json:"name,omitempty"`
	Caller      Caller    `json:"caller"`
	Since       time.Time `json:"since"`
}

// Summary counts the sessions that are open as calls, too.
func (t *Tally) Summary() Summary {
	all := newTally(t.limits)
	all.Merge(t)
	var sessions []Session
	for _, s := range t.open {
		e := &s.Event
		all.count(e, s.shared)
		sessions = append(sessions, Session{
			sessionKind(e), e.Group, e.Resource, e.Subresource, e.Namespace, e.Name, callerOf(e), e.Received,
		})
	}
	slices.SortFunc(sessions, func(a, b Session) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Resource, b.Resource), a.Caller.compare(b.Caller))
	})
	s := Summary{
		First: all.first, Last: all.last, Calls: all.calls, Refused: all.refused, Failed: all.failed, Duplicates: all.duplicates,
		Used: all.used.list(), Demanded: all.demanded.list(), Risks: maps.Clone(all.risks), Open: sessions, Closed: maps.Clone(all.closed),
		Shared: all.shared, More: More{all.callers.left, all.used.left, all.demanded.left, all.created.left, all.openLeft},
	}
	for _, caller := range sorted(all.callers.of, Caller.compare) {
		s.Callers = append(s.Callers, CallerUse{caller, all.callers.of[caller]})
	}
	for _, object := range sorted(all.created.of, Object.compare) {
		s.Created = append(s.Created, CreatedUse{object, all.created.of[object]})
	}
	return s
}

func (r *rights) list() []RightUse {
	var list []RightUse
	for right, use := range r.of {
		list = append(list, RightUse{
			Right: right, Calls: use.calls, Failed: use.failed, Names: sorted(use.names.of, strings.Compare), MoreNames: use.names.left, Shared: use.shared,
		})
	}
	slices.SortFunc(list, func(a, b RightUse) int { return cmp.Or(cmp.Compare(b.Calls, a.Calls), a.compare(b.Right)) })
	return list
}

func (c Caller) compare(other Caller) int {
	return cmp.Or(
		strings.Compare(c.User, other.User), strings.Compare(c.As, other.As), strings.Compare(c.Address, other.Address),
		strings.Compare(c.Claimed, other.Claimed), strings.Compare(c.UserAgent, other.UserAgent))
}

func (o Object) compare(other Object) int {
	return cmp.Or(
		strings.Compare(o.Group, other.Group), strings.Compare(o.Resource, other.Resource), strings.Compare(o.Namespace, other.Namespace),
		strings.Compare(o.Name, other.Name), strings.Compare(o.UID, other.UID))
}
