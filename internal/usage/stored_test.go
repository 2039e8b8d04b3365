package usage

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// added are events in parts, each added to what is stored, with all of it written
// and read in between.
func added(t *testing.T, parts ...[]Event) v1alpha1.AccessUsageStatus {
	t.Helper()
	var s v1alpha1.AccessUsageStatus
	for _, events := range parts {
		part := NewPart()
		for i := range events {
			part.AddShared(&events[i], events[i].UserAgent == "shared")
		}
		part.AddTo(&s)
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		s = v1alpha1.AccessUsageStatus{}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// However events come, in however many parts and in whichever order, by whichever
// observer: what is stored is the same.
func TestPartsAddUp(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var events []Event
		for n := range 1 + r.IntN(40) {
			began, ended := exec(n)
			switch r.IntN(6) {
			case 0:
				events = append(events, began)
			case 1:
				events = append(events, ended)
			case 2:
				events = append(events, began, ended)
			case 3:
				events = append(events, made(n, func(e *Event) { e.Allowed, e.Code, e.Reason = false, 403, "" }))
			case 4:
				events = append(events, made(n, func(e *Event) {
					e.Verb, e.Resource, e.Name, e.Code, e.UserAgent = "create", "pods", fmt.Sprint("p", r.IntN(3)), 201, "shared"
				}))
			default:
				events = append(events, made(n, func(e *Event) { e.Name = fmt.Sprint("s", r.IntN(4)) }))
			}
		}
		want := added(t, events)
		r.Shuffle(len(events), func(a, b int) { events[a], events[b] = events[b], events[a] })
		var parts [][]Event
		for len(events) > 0 {
			n := 1 + r.IntN(len(events))
			parts, events = append(parts, events[:n]), events[n:]
		}
		got := added(t, parts...)
		for _, s := range []*v1alpha1.AccessUsageStatus{&want, &got} {
			s.EndedSessions = nil // what it remembers depends on the order
			for i := range s.Used {
				slices.Sort(s.Used[i].Names)
			}
			slices.SortFunc(s.Created, func(a, b v1alpha1.UsageObject) int { return strings.Compare(a.Name, b.Name) })
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

// A session counts as a call from its beginning, and not again at its end.
func TestSessionsInParts(t *testing.T) {
	began, ended := exec(1)
	open := added(t, []Event{began})
	if open.Calls != 1 || len(open.Sessions) != 1 || open.Sessions[0].Kind != "exec" || len(open.Used) != 1 || open.LastCall == nil {
		t.Errorf("while it is open: %+v", open)
	}
	for name, parts := range map[string][][]Event{
		"in order": {{began}, {ended}}, "the end first": {{ended}, {began}}, "three looks": {{began}, {made(5, nil)}, {ended}},
	} {
		over := added(t, parts...)
		if want := int64(1 + len(parts)/3); over.Calls != want || len(over.Sessions) != 0 || over.ClosedSessions[0].Count != 1 || over.Callers[0].Calls != want {
			t.Errorf("%s: %+v", name, over)
		}
	}
}

// What the same access deleted again is not left.
func TestCreatedAndDeleted(t *testing.T) {
	create := func(n int, name string) Event {
		return made(n, func(e *Event) {
			e.Verb, e.Resource, e.Name, e.UID, e.Code = "create", "pods", name, fmt.Sprint("u", n), 201
		})
	}
	remove := func(n int, name string) Event {
		return made(n, func(e *Event) { e.Verb, e.Resource, e.Name, e.Code = "delete", "pods", name, 200 })
	}
	s := added(t, []Event{create(1, "a"), create(2, "b")}, []Event{remove(3, "a"), create(4, "c"), remove(5, "c"), create(6, "c")})
	var left []string
	for _, o := range s.Created {
		left = append(left, o.Name+" "+o.UID)
	}
	slices.Sort(left)
	if want := []string{"b u2", "c u6"}; !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}

// The greatest that can be stored is less than etcd takes, which is 1.5 MiB.
func TestStoredIsBounded(t *testing.T) {
	part, long := NewPart(), strings.Repeat("x", 300)
	for n := range 4000 {
		for k := range 12 {
			name := fmt.Sprint(n, k, long)
			part.Add(new(made(12*n+k, func(e *Event) {
				e.Verb, e.Resource, e.Subresource, e.Group, e.Namespace, e.Name = fmt.Sprint(n%400, long), fmt.Sprint(n, long), long, long, long, name
				e.User, e.Impersonated, e.UserAgent, e.Addresses = name, name, name, []string{name, long}
				switch n % 4 {
				case 0:
					e.Allowed, e.Reason = false, ""
				case 1:
					e.Verb, e.Subresource, e.Code = "create", "", 201
				case 2:
					e.Stage, e.Subresource, e.Code = "ResponseStarted", "exec", 101
				}
			})))
		}
	}
	var s v1alpha1.AccessUsageStatus
	part.AddTo(&s)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Used) != storedUsed || len(s.Callers) != storedCallers || len(s.Created) != storedCreated || len(s.Sessions) != storedSessions || len(s.Refused) != storedDemanded {
		t.Errorf("this shows nothing: %d used, %d callers, %d created, %d sessions, %d refused", len(s.Used), len(s.Callers), len(s.Created), len(s.Sessions), len(s.Refused))
	}
	if len(text) > 1<<20 {
		t.Errorf("%d bytes", len(text))
	}
	t.Logf("%d bytes", len(text))
}
