package usage

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"io"
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

// limits are how much one tally remembers.
type limits struct{ callers, used, demanded, names, created, sessions int }

var whole = limits{MaxCallers, MaxUsed, MaxDemanded, MaxNames, MaxCreated, MaxSessions}

// maxText bounds a text that users chose, in bytes. Names of objects are shorter.
const maxText = 256

func clip(s string) string { return text.Cut(s, maxText) }

// Tally is what events tell of the use of one grant, or of whatever the events have
// in common. Within its bounds, the order of events does not matter, and an event
// that comes twice counts once.
type Tally struct {
	limits
	first, last                                time.Time
	calls, shared, refused, failed, duplicates int

	callers        counted[Caller]
	used, demanded rights
	risks          map[string]int // by the kinds of internal/rules
	created        counted[Object]
	when           map[Object]span      // of what was created
	deleted        map[Object]time.Time // without the UID
	closed         map[string]int       // by kind of session
	open           map[uint64]*session
	openLeft       int

	seen, ended recent
}

// span is when calls came and were answered.
type span struct{ from, to time.Time }

// session is a call that goes on.
type session struct {
	Event
	shared bool
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
func NewTally() *Tally { return newTally(whole) }

func newTally(l limits) *Tally {
	return &Tally{
		limits:  l,
		callers: counted[Caller]{most: l.callers}, created: counted[Object]{most: l.created},
		used: rights{most: l.used, names: l.names}, demanded: rights{most: l.demanded, names: l.names},
		risks: map[string]int{}, closed: map[string]int{}, open: map[uint64]*session{},
		when: map[Object]span{}, deleted: map[Object]time.Time{},
	}
}

// Add takes an event into account. It keeps nothing of it.
func (t *Tally) Add(e *Event) { t.AddShared(e, false) }

// AddShared takes an event into account; shared tells that other access of the
// caller covers the call too.
func (t *Tally) AddShared(e *Event, shared bool) {
	key := identify(e, e.Stage)
	if t.seen.has(key) {
		t.duplicates++
		return
	}
	t.seen.add(key)
	id := sessionID(e)
	if !e.Over() {
		t.begin(id, &session{*e, shared})
		return
	}
	_, open := t.open[id]
	if kind := sessionKind(e); open || kind != "" && e.Allowed && e.Code < http.StatusBadRequest {
		t.ended.add(id)
		t.closed[kind]++
		delete(t.open, id)
	}
	t.count(e, shared)
}

// begin remembers a session. It counts as a call when it is over, or when somebody
// looks.
func (t *Tally) begin(id uint64, s *session) {
	if t.ended.has(id) {
		return
	}
	if len(t.open) >= t.sessions {
		t.openLeft++
		return
	}
	kept := *s
	for _, s := range []*string{&kept.User, &kept.Impersonated, &kept.Verb, &kept.Path, &kept.Group, &kept.Resource, &kept.Subresource, &kept.Namespace, &kept.Name, &kept.UserAgent} {
		*s = clip(*s)
	}
	kept.ID, kept.Reason, kept.UID, kept.Groups, kept.Object = "", "", "", nil, nil
	kept.Addresses = ends(s.Addresses)
	t.open[id] = &kept
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
func (t *Tally) count(e *Event, shared bool) {
	t.calls++
	t.first, t.last = earlier(t.first, e.Received), later(t.last, e.Received)
	t.callers.add(callerOf(e), 1)
	right, name := RightOf(e)
	if !e.Allowed {
		t.refused++
		t.demanded.count(right, name, false, false)
		return
	}
	if shared {
		t.shared++
	}
	failed := e.Code >= http.StatusBadRequest
	risks := t.used.count(right, name, failed, shared)
	if failed {
		t.failed++
		return
	}
	for _, kind := range risks {
		t.risks[kind]++
	}
	object := Object{clip(e.Group), clip(e.Resource), clip(e.Namespace), clip(e.Name), clip(e.UID)}
	switch {
	case creates(e):
		t.created.add(object, 1)
		t.note(object, span{e.Received, e.Stamped})
	case e.Verb == "delete" && e.Subresource == "" && e.Name != "" && len(t.deleted) < t.limits.created:
		object.UID = ""
		t.deleted[object] = later(t.deleted[object], e.Received)
	}
}

// note remembers when an object was created.
func (t *Tally) note(object Object, at span) {
	if _, named := t.created.of[object]; !named {
		return
	}
	if known, ok := t.when[object]; ok {
		at = span{earlier(known.from, at.from), later(known.to, at.to)}
	}
	t.when[object] = at
}

// isDeleted tells whether an object was deleted after it was created. The log tells
// only of what the same access deleted.
func (t *Tally) isDeleted(object Object) bool {
	created := t.when[object]
	object.UID = ""
	at, deleted := t.deleted[object]
	return deleted && !at.Before(created.from)
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
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

// identify tells the stages of calls apart, in this process. An ID alone does not:
// callers may choose it, and could so have other calls taken for copies of one. What
// API servers write of time is not theirs to choose.
func identify(e *Event, stage string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range []string{e.ID, stage, e.User, e.Impersonated, e.Verb, e.Path, e.Namespace, e.Name} {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0)
	}
	maphash.WriteComparable(&h, e.Received.UnixNano())
	maphash.WriteComparable(&h, e.Stamped.UnixNano())
	return h.Sum64()
}

var seed = maphash.MakeSeed()

// Identity is the same for every copy of an event, in every process. Nobody can find
// another event that has the same.
func Identity(e *Event) uint64 {
	h := sha256.New()
	_, _ = io.WriteString(h, e.Stage)
	_ = binary.Write(h, binary.BigEndian, sessionID(e))
	_ = binary.Write(h, binary.BigEndian, e.Stamped.UnixNano())
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// sessionID is the same for both ends of a session, in every process. Nobody can
// choose what another's session is called, nor find a call that is called like it.
func sessionID(e *Event) uint64 {
	h := sha256.New()
	for _, part := range []string{e.ID, e.User, e.Impersonated, e.Verb, e.Path, e.Namespace, e.Name} {
		_, _ = io.WriteString(h, part)
		_, _ = h.Write([]byte{0})
	}
	_ = binary.Write(h, binary.BigEndian, e.Received.UnixNano())
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// Merge adds what another tally has seen of other events.
func (t *Tally) Merge(other *Tally) {
	t.first, t.last = earlier(t.first, other.first), later(t.last, other.last)
	t.calls, t.shared, t.refused, t.failed, t.duplicates = t.calls+other.calls, t.shared+other.shared, t.refused+other.refused, t.failed+other.failed, t.duplicates+other.duplicates
	t.callers.merge(&other.callers)
	t.used.merge(&other.used)
	t.demanded.merge(&other.demanded)
	t.created.merge(&other.created)
	for object, at := range other.when {
		t.note(object, at)
	}
	for object, at := range other.deleted {
		t.deleted[object] = later(t.deleted[object], at)
	}
	for kind, n := range other.risks {
		t.risks[kind] += n
	}
	for kind, n := range other.closed {
		t.closed[kind] += n
	}
	t.seen.merge(&other.seen)
	t.ended.merge(&other.ended)
	t.openLeft += other.openLeft
	for id := range t.open {
		if t.ended.has(id) {
			delete(t.open, id)
		}
	}
	for id, s := range other.open {
		t.begin(id, s)
	}
}
