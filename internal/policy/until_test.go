package policy

import (
	"math/rand"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// upTo is a requester for whom the policy ends some time after noon.
func upTo(subject v1alpha1.Subject, d time.Duration) v1alpha1.PolicyRequester {
	return v1alpha1.PolicyRequester{PolicySubject: v1alpha1.PolicySubject(subject), Until: &metav1.Time{Time: noon.Add(d)}}
}

func forEver(subject v1alpha1.Subject) v1alpha1.PolicyRequester {
	return v1alpha1.PolicyRequester{PolicySubject: v1alpha1.PolicySubject(subject)}
}

func asking(requesters ...v1alpha1.PolicyRequester) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Requesters = requesters }
}

func extensions(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = 1 }

// moreFrom asks for more time of access that ends so long after noon.
func moreFrom(d time.Duration) ofRequest {
	return func(r *Request) { r.Extends = &Extension{Policy: "prod-edit", Number: 1, From: noon.Add(d)} }
}

// TestUntil: no access goes past the moment until which somebody is a requester.
func TestUntil(t *testing.T) {
	for name, test := range map[string]struct {
		policy  []ofPolicy
		request []ofRequest
		want    answer
	}{
		"time enough":         {list(asking(upTo(user("alice"), time.Hour))), nil, allowed("prod-edit", time.Hour)},
		"a second too little": {list(asking(upTo(user("alice"), time.Hour-time.Second))), nil, but("is for alice until 2026-07-15T12:59:59Z, which leaves 59m59s at most")},
		"less asked for":      {list(asking(upTo(user("alice"), time.Hour-time.Second))), list(lasting(30 * time.Minute)), allowed("prod-edit", 30*time.Minute)},
		"less by default":     {list(asking(upTo(user("alice"), time.Minute)), byDefault(2*time.Minute)), nil, but("is for alice until 2026-07-15T12:01:00Z, which leaves 1m at most")},
		"hardly any time":     {list(asking(upTo(user("alice"), time.Millisecond))), nil, but("is for alice until 2026-07-15T12:00:00Z, which leaves less than a second")},
		"more time, enough of it": {
			list(asking(upTo(user("alice"), time.Hour)), extensions), list(lasting(30*time.Minute), moreFrom(30*time.Minute)), allowed("prod-edit", 30*time.Minute),
		},
		"more time, a second too little": {
			list(asking(upTo(user("alice"), time.Hour-time.Second)), extensions), list(lasting(30*time.Minute), moreFrom(30*time.Minute)),
			but("is for alice until 2026-07-15T12:59:59Z, which leaves 29m59s at most"),
		},
		"more time, from after that": {
			list(asking(upTo(user("alice"), time.Minute)), extensions), list(lasting(30*time.Minute), moreFrom(30*time.Minute)),
			but("is for alice until 2026-07-15T12:01:00Z, which leaves less than a second"),
		},
		"at this moment":      {list(asking(upTo(user("alice"), 0))), nil, but("was for alice until 2026-07-15T12:00:00Z")},
		"long ago":            {list(asking(upTo(group("dev"), -48*time.Hour))), nil, but("was for group:dev until 2026-07-13T12:00:00Z")},
		"the latest counts":   {list(asking(upTo(user("alice"), -time.Hour), upTo(group("dev"), time.Hour), upTo(user("alice"), time.Minute))), nil, allowed("prod-edit", time.Hour)},
		"the latest is told":  {list(asking(upTo(user("alice"), -time.Hour), upTo(group("dev"), time.Minute))), nil, but("is for group:dev until 2026-07-15T12:01:00Z, which leaves 1m at most")},
		"one is for ever":     {list(asking(upTo(user("alice"), -time.Hour), forEver(group("dev")), upTo(user("alice"), time.Minute))), nil, allowed("prod-edit", time.Hour)},
		"another's is longer": {list(asking(upTo(user("alice"), -time.Hour), forEver(user("bob")))), nil, but("was for alice until 2026-07-15T11:00:00Z")},
		"another in other letters": {
			list(asking(upTo(user("alice"), -time.Hour), forEver(user("Alice")))), nil, but("was for alice until 2026-07-15T11:00:00Z"),
		},
		"perhaps in a group for ever": {
			list(asking(upTo(user("bob"), -time.Hour), forEver(group("dev")))), list(partly("bob", 1, "a")),
			refused(`no policy lets bob (group a) request ClusterRole edit in payments; closest is "prod-edit", which was for bob until 2026-07-15T11:00:00Z, and bob is in none of these groups, as far as is known (a request keeps 1 of their 2 groups): name the user instead, or a group of less than 2,049 characters that comes sooner`),
		},
		"too long for both": {
			list(asking(upTo(user("alice"), time.Minute))), list(lasting(2 * time.Hour)),
			but("is for alice until 2026-07-15T12:01:00Z, which leaves 1m at most and allows at most 1h"),
		},
		"a stranger": {
			list(asking(upTo(user("bob"), time.Hour))), nil, but("is for bob"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, test.want, find(list(compiled("prod-edit", test.policy...)), newRequest(test.request...), noon))
		})
	}
}

// Somebody whose time is over is told so, and does not wait for a policy.
func TestOverIsAbout(t *testing.T) {
	for name, test := range map[string]struct {
		policy ofPolicy
		want   bool
	}{"over": {asking(upTo(user("alice"), -time.Hour)), true}, "a stranger": {asking(upTo(user("bob"), time.Hour)), false}} {
		if m := Find(t.Context(), list(compiled("p", test.policy)), newRequest(), noon); m.About != test.want {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// An active grant ends when a changed policy does not last as long as it.
func TestUntilOfHeldAccess(t *testing.T) {
	for name, test := range map[string]struct {
		until time.Duration
		want  bool
	}{"it lasts as long": {time.Hour, true}, "it does not": {59 * time.Minute, false}, "it is over": {-time.Minute, false}} {
		ok, why, err := compiled("p", asking(upTo(user("alice"), test.until))).Allows(t.Context(), newRequest(lasting(time.Hour)), noon)
		if err != nil || ok != test.want || ok != (why == "") {
			t.Errorf("%s: %v, %q, %v", name, ok, why, err)
		}
	}
}

// FuzzUntil: access is allowed exactly when one of the entries that mean its requester
// lasts as long as it, and then it can begin until Latest and not a moment later.
func FuzzUntil(f *testing.F) {
	f.Add([]byte{0, 1, 2}, uint16(30), int64(1))
	f.Add([]byte{0xff, 0x80, 7}, uint16(60), int64(2))
	f.Fuzz(func(t *testing.T, bits []byte, minutes uint16, seed int64) {
		subjects := list(user("alice"), group("dev"), user("bob"), group("ops"))
		d := time.Duration(minutes%60+1) * time.Minute
		var entries []v1alpha1.PolicyRequester
		holds := func(begin time.Time) bool {
			return slices.ContainsFunc(entries, func(r v1alpha1.PolicyRequester) bool {
				mine := r.Name == "alice" || r.Name == "dev"
				return mine && (r.Until == nil || !begin.Add(d).After(r.Until.Time))
			})
		}
		for _, b := range bits[:min(len(bits), 8)] {
			entry := forEver(subjects[b%4])
			if b&128 == 0 {
				entry = upTo(subjects[b%4], time.Duration(int(b>>2)-8)*10*time.Minute)
			}
			entries = append(entries, entry)
		}
		rand.New(rand.NewSource(seed)).Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		p := list(compiled("p", asking(entries...)))
		m := Find(t.Context(), p, newRequest(lasting(d)), noon)
		if (m.Answer == Allowed) != holds(noon) {
			t.Fatalf("%s for %v by %+v: %s", m.Answer, d, entries, m.Message)
		}
		if m.Answer != Allowed || m.Latest.IsZero() {
			return
		}
		for moment, want := range map[time.Time]Answer{m.Latest: Allowed, m.Latest.Add(time.Nanosecond): NotAllowed} {
			if got := Find(t.Context(), p, newRequest(lasting(d)), moment); got.Answer != want {
				t.Errorf("at %s, Latest being %s: %+v", moment, m.Latest, got)
			}
		}
	})
}
