package usage

import (
	"hash/maphash"
	"net/http"
	"slices"
	"time"

	"github.com/accessbroker/accessbroker/internal/text"
)

// How much a tally remembers. What is beyond is counted and not named.
const (
	MaxCallers  = 64
	MaxUsed     = 512
	MaxDemanded = 128
	MaxNames    = 32 // of a right
	MaxCreated  = 256
	MaxSessions = 256
)

// maxText bounds a text that users chose, in bytes. Names of objects are shorter.
const maxText = 256

func clip(s string) string { return text.Cut(s, maxText) }

// Tally is what events tell of the use of one grant, or of whatever the events have
// in common. Within its bounds, the order of events does not matter, and an event
// that comes twice counts once.
type Tally struct {
	first, last                        time.Time
	calls, refused, failed, duplicates int

	callers        counted[Caller]
	used, demanded rights
	risks          map[string]int // by the kinds of internal/rules
	created        counted[Object]
	closed         map[string]int // by kind of session
	open           map[uint64]*Event
	openLeft       int

	seen, ended recent
}

// Caller is who called, from where and with what.
type Caller struct {
	User string `json:"user"`
	// As is whom they impersonated.
	As string `json:"as,omitempty"`
	// Address is the one that the API server saw. Claimed is what the caller or a
	// proxy says that it is.
	Address   string `json:"address,omitempty"`
	Claimed   string `json:"claimedAddress,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
}

// Object is one that was created. The name is empty where the log does not tell it
// (generateName at the level Metadata), and so is the UID below RequestResponse.
type Object struct {
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// NewTally has seen nothing.
func NewTally() *Tally {
	return &Tally{
		callers: counted[Caller]{most: MaxCallers}, created: counted[Object]{most: MaxCreated},
		used: rights{most: MaxUsed}, demanded: rights{most: MaxDemanded},
		risks: map[string]int{}, closed: map[string]int{}, open: map[uint64]*Event{},
	}
}

// Add takes an event into account. It keeps nothing of it.
func (t *Tally) Add(e *Event) {
	key := identify(e, e.Stage)
	if t.seen.has(key) {
		t.duplicates++
		return
	}
	t.seen.add(key)
	session := identify(e, "")
	if !e.Over() {
		t.begin(session, e)
		return
	}
	_, open := t.open[session]
	if kind := sessionKind(e); open || kind != "" && e.Allowed && e.Code < http.StatusBadRequest {
		t.ended.add(session)
		t.closed[kind]++
		delete(t.open, session)
	}
	t.count(e)
}

// begin remembers a session. It counts as a call when it is over, or when somebody
// looks.
func (t *Tally) begin(session uint64, e *Event) {
	if t.ended.has(session) {
		return
	}
	if len(t.open) >= MaxSessions {
		t.openLeft++
		return
	}
	kept := *e
	for _, s := range []*string{&kept.User, &kept.Impersonated, &kept.Verb, &kept.Path, &kept.Group, &kept.Resource, &kept.Subresource, &kept.Namespace, &kept.Name, &kept.UserAgent} {
		*s = clip(*s)
	}
	kept.ID, kept.Reason, kept.UID = "", "", ""
	kept.Addresses = ends(e.Addresses)
	t.open[session] = &kept
}

// ends are the first and the last, which is all that a Caller tells.
func ends(addresses []string) []string {
	switch len(addresses) {
	case 0:
		return nil
	case 1:
		return []string{clip(addresses[0])}
	}
	return []string{clip(addresses[0]), clip(addresses[len(addresses)-1])}
}

// count counts a call that is over, or a session that is open.
func (t *Tally) count(e *Event) {
	t.calls++
	if t.first.IsZero() || e.Received.Before(t.first) {
		t.first = e.Received
	}
	if e.Received.After(t.last) {
		t.last = e.Received
	}
	t.callers.add(callerOf(e), 1)
	right, name := RightOf(e)
	if !e.Allowed {
		t.refused++
		t.demanded.count(right, name, false)
		return
	}
	failed := e.Code >= http.StatusBadRequest
	risks := t.used.count(right, name, failed)
	if failed {
		t.failed++
		return
	}
	for _, kind := range risks {
		t.risks[kind]++
	}
	if creates(e) {
		t.created.add(Object{clip(e.Group), clip(e.Resource), clip(e.Namespace), clip(e.Name), clip(e.UID)}, 1)
	}
}

func callerOf(e *Event) Caller {
	c := Caller{User: clip(e.User), As: clip(e.Impersonated), UserAgent: clip(e.UserAgent)}
	if at := ends(e.Addresses); len(at) > 0 {
		c.Address = at[len(at)-1]
		if at[0] != c.Address {
			c.Claimed = at[0]
		}
	}
	return c
}

// unstored are the groups whose objects are questions, which leave nothing behind.
var unstored = []string{"authentication.k8s.io", "authorization.k8s.io"}

// creates tells whether a call that went well left an object: by create or, as
// server-side apply does, by a patch of what was not there.
func creates(e *Event) bool {
	return e.Resource != "" && e.Subresource == "" && !slices.Contains(unstored, e.Group) &&
		(e.Verb == "create" || e.Code == http.StatusCreated)
}

// sessionKind is what goes on after the answer, "" for a call that does not.
func sessionKind(e *Event) string {
	switch e.Subresource {
	case "exec", "attach", "portforward", "proxy", "log":
		return e.Subresource
	}
	if e.Verb == "watch" {
		return e.Verb
	}
	return ""
}

// identify tells calls, and the stages of one, apart. An ID alone does not: callers
// may choose it, and could so have other calls taken for copies of one, or end a
// session that goes on. What API servers write of time is not theirs to choose.
func identify(e *Event, stage string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range []string{e.ID, stage, e.User, e.Impersonated, e.Verb, e.Path, e.Namespace, e.Name} {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0)
	}
	writeTime(&h, e.Received)
	if stage != "" {
		writeTime(&h, e.Stamped)
	}
	return h.Sum64()
}

var seed = maphash.MakeSeed()

func writeTime(h *maphash.Hash, t time.Time) { maphash.WriteComparable(h, t.UnixNano()) }

// Merge adds what another tally has seen of other events.
func (t *Tally) Merge(other *Tally) {
	if t.first.IsZero() || !other.first.IsZero() && other.first.Before(t.first) {
		t.first = other.first
	}
	if other.last.After(t.last) {
		t.last = other.last
	}
	t.calls, t.refused, t.failed, t.duplicates = t.calls+other.calls, t.refused+other.refused, t.failed+other.failed, t.duplicates+other.duplicates
	t.callers.merge(&other.callers)
	t.used.merge(&other.used)
	t.demanded.merge(&other.demanded)
	t.created.merge(&other.created)
	for kind, n := range other.risks {
		t.risks[kind] += n
	}
	for kind, n := range other.closed {
		t.closed[kind] += n
	}
	t.seen.merge(&other.seen)
	t.ended.merge(&other.ended)
	t.openLeft += other.openLeft
	for session, e := range other.open {
		t.begin(session, e)
	}
	for session := range t.open {
		if t.ended.has(session) {
			delete(t.open, session)
		}
	}
}
