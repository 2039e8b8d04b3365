package usage

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// made is the Event of call, changed.
func made(n int, change func(*Event)) Event {
	e := wanted()
	e.ID = fmt.Sprint(n)
	e.Received = e.Received.Add(time.Duration(n) * time.Second)
	e.Stamped = e.Received.Add(time.Millisecond)
	if change != nil {
		change(&e)
	}
	return e
}

func tallied(events ...Event) *Tally {
	t := NewTally()
	for i := range events {
		t.Add(&events[i])
	}
	return t
}

// exec is a session that began, and its end after a minute.
func exec(n int) (began, ended Event) {
	began = made(n, func(e *Event) {
		e.Verb, e.Resource, e.Subresource, e.Name, e.Stage, e.Code = "create", "pods", "exec", "api-0", "ResponseStarted", 101
	})
	ended = began
	ended.Stage, ended.Stamped = "ResponseComplete", began.Stamped.Add(time.Minute)
	return began, ended
}

func TestTally(t *testing.T) {
	began, ended := exec(1)
	open, _ := exec(2)
	events := []Event{
		made(0, nil), made(3, func(e *Event) { e.Name = "api" }), made(3, func(e *Event) { e.Name = "api" }), began, ended, open,
		made(4, func(e *Event) { e.Verb, e.Name, e.Code = "list", "", 200 }),
		made(5, func(e *Event) { e.Allowed, e.Reason, e.Code, e.Verb = false, "", 403, "delete" }),
		made(6, func(e *Event) { e.Verb, e.Resource, e.Name, e.UID, e.Code = "create", "pods", "debug-x", "u1", 201 }),
		made(7, func(e *Event) { e.Verb, e.Resource, e.Name, e.Code = "create", "pods", "taken", 409 }),
		made(8, func(e *Event) {
			e.Verb, e.Group, e.Resource, e.Namespace, e.Code = "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", 201
		}),
		made(9, func(e *Event) {
			e.Verb, e.Group, e.Resource, e.Name, e.Code = "patch", "apps", "deployments", "new", 201
		}),
		made(10, func(e *Event) { e.Verb, e.Resource, e.Namespace, e.Name, e.Path = "get", "", "", "", "/healthz" }),
	}
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	caller := Caller{User: "alice", Address: "10.0.0.1", Claimed: "192.0.2.7", UserAgent: "kubectl/v1.36.1 (linux/amd64) kubernetes/abc"}
	core := func(verb, resource, subresource string) Right {
		return Right{verb, "", resource, subresource, "payments", ""}
	}
	want := Summary{
		First: at(0), Last: at(10), Calls: 11, Refused: 1, Failed: 1, Duplicates: 1,
		Callers: []CallerUse{{caller, 11}},
		Used: []RightUse{
			{core("create", "pods", ""), 2, 1, nil, 0, 0},
			{core("create", "pods", "exec"), 2, 0, []string{"api-0"}, 0, 0},
			{core("get", "secrets", ""), 2, 0, []string{"api", "db"}, 0, 0},
			{Right{Verb: "get", Path: "/healthz"}, 1, 0, nil, 0, 0},
			{core("list", "secrets", ""), 1, 0, nil, 0, 0},
			{Right{"patch", "apps", "deployments", "", "payments", ""}, 1, 0, []string{"new"}, 0, 0},
			{Right{"create", "authorization.k8s.io", "selfsubjectaccessreviews", "", "", ""}, 1, 0, nil, 0, 0},
		},
		Demanded: []RightUse{{core("delete", "secrets", ""), 1, 0, []string{"db"}, 0, 0}},
		Risks:    map[string]int{"Exec": 2, "ReadSecrets": 3, "RunPods": 2, "Persist": 2},
		Created:  []CreatedUse{{Object{"", "pods", "payments", "debug-x", "u1"}, 1}, {Object{"apps", "deployments", "payments", "new", ""}, 1}},
		Open:     []Session{{"exec", "", "pods", "exec", "payments", "api-0", caller, at(2)}},
		Closed:   map[string]int{"exec": 1},
	}
	if diff := cmp.Diff(want, tallied(events...).Summary()); diff != "" {
		t.Error(diff)
	}
}

// mixed are events of which many have something in common, and copies of some.
func mixed(r *rand.Rand, n int) []Event {
	var events []Event
	for i := range n {
		switch began, ended := exec(i); r.IntN(6) {
		case 0:
			events = append(events, began)
		case 1:
			events = append(events, ended)
		case 2:
			events = append(events, began, ended)
		case 3:
			events = append(events, made(i, func(e *Event) { e.Allowed, e.Code, e.Resource = false, 403, fmt.Sprint("r", r.IntN(5)) }))
		case 4:
			events = append(events, made(i, func(e *Event) { e.Verb, e.Code, e.UserAgent = "create", 201, fmt.Sprint("agent ", r.IntN(5)) }))
		default:
			events = append(events, made(r.IntN(n), func(e *Event) { e.Namespace, e.Name = fmt.Sprint("ns", r.IntN(3)), fmt.Sprint("n", r.IntN(9)) }))
		}
	}
	return append(events, events[:n/10]...)
}

// The order of events does not matter, and neither does who of several saw which.
func TestTallyOrder(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		events := mixed(r, 150)
		want := tallied(events...).Summary()
		for range 5 {
			r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
			if diff := cmp.Diff(want, tallied(events...).Summary()); diff != "" {
				t.Fatalf("seed %d, in another order: %s", seed, diff)
			}
		}
		// Copies of an event count once only where one tally sees them.
		seen := map[string]bool{}
		distinct := slices.DeleteFunc(slices.Clone(events), func(e Event) bool {
			key := fmt.Sprintf("%+v", e)
			again := seen[key]
			seen[key] = true
			return again
		})
		cut := r.IntN(len(distinct))
		a, b := tallied(distinct[:cut]...), tallied(distinct[cut:]...)
		before := b.Summary()
		a.Merge(b)
		if diff := cmp.Diff(tallied(distinct...).Summary(), a.Summary()); diff != "" {
			t.Fatalf("seed %d, merged: %s", seed, diff)
		}
		if diff := cmp.Diff(before, b.Summary()); diff != "" {
			t.Fatalf("seed %d, merging changed the other: %s", seed, diff)
		}
	}
}

// However much comes, and however large, a tally stays small, counts all of it, and
// what it counts by kind is complete.
func TestTallyBounds(t *testing.T) {
	tally := NewTally()
	const n = 20_000
	long := strings.Repeat("ü", 10_000)
	for i := range n {
		e := made(i, func(e *Event) {
			e.Addresses = []string{fmt.Sprint("10.", i)}
			e.UserAgent, e.Path, e.Name = long, long, fmt.Sprint(i, long)
			switch i % 4 {
			case 0:
				e.Verb, e.Code, e.Resource, e.Namespace = "create", 201, "pods", fmt.Sprint("ns", i)
			case 1:
				e.Allowed, e.Code, e.Resource = false, 403, fmt.Sprint(long, i)
			case 2:
				e.Verb, e.Stage, e.Resource = "watch", "ResponseStarted", "pods"
			}
		})
		tally.Add(&e)
	}
	s := tally.Summary()
	if s.Calls+s.More.Open != n || s.Refused != n/4 || s.Risks["RunPods"] != n/4 || s.Risks["ReadSecrets"] != n/4 {
		t.Errorf("%d calls and %d, %d refused, %v", s.Calls, s.More.Open, s.Refused, s.Risks)
	}
	if len(s.Callers) != MaxCallers || len(s.Used) != MaxUsed || len(s.Demanded) != 1 || len(s.Created) != MaxCreated || len(s.Open) != MaxSessions {
		t.Errorf("%d callers, %d used, %d demanded, %d created, %d open", len(s.Callers), len(s.Used), len(s.Demanded), len(s.Created), len(s.Open))
	}
	if s.More.Callers != s.Calls-MaxCallers || s.More.Created != n/4-MaxCreated || s.More.Used == 0 {
		t.Errorf("%+v", s.More)
	}
	if size := len(fmt.Sprintf("%+v", s)); size > 1<<20 {
		t.Errorf("%d bytes", size)
	}
	for i := range 5 * maxRecent {
		tally.seen.add(uint64(i))
	}
	if len(tally.seen.now)+len(tally.seen.before) > 2*maxRecent || !tally.seen.has(5*maxRecent-maxRecent) {
		t.Error("what was seen recently")
	}
}

// Callers may choose the ID of a call. That neither hides a call nor ends a session.
func TestTallyChosenID(t *testing.T) {
	same := func(e *Event) { e.ID = "mine" }
	first, second := made(1, same), made(2, same)
	open, _ := exec(3)
	_, other := exec(4)
	open.ID, other.ID = "mine", "mine"
	s := tallied(first, second, open, other).Summary()
	if s.Calls != 4 || s.Duplicates != 0 || len(s.Open) != 1 || s.Closed["exec"] != 1 {
		t.Errorf("%+v", s)
	}
}
