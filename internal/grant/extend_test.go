package grant

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// What ends as it should leaves the access to its extension; before that is given, it
// must be the only one.
func TestReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		given bool
		was   change
		want  v1alpha1.EndReason
	}{
		"expired, given":         {true, endedBefore(v1alpha1.EndExpired), ""},
		"expired, not given yet": {false, endedBefore(v1alpha1.EndExpired), ""},
		"extended, given":        {true, endedBefore(v1alpha1.EndExtended), ""},
		"gone, given":            {true, beforeIs(func(b *Before) { b.Grant, b.Request = nil, nil }), ""},
		"revoked, given":         {true, endedBefore(v1alpha1.EndRevoked), v1alpha1.EndRevoked},
		"expires now": {false, beforeIs(func(b *Before) {
			b.End = func() (*End, error) { return endf(v1alpha1.EndExpired, "another replica took it"), nil }
		}), ""},
		"is replaced now": {true, beforeIs(func(b *Before) {
			b.End = func() (*End, error) { return endf(v1alpha1.EndExtended, "by this one"), nil }
		}), ""},
		"nothing can come any more": {true, func(f, _ *Facts) { f.Before = func() (*Before, error) { return nil, nil } }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, facts := whole(), fine()
			if test.given {
				g.Status.Phase = v1alpha1.GrantActive
			}
			test.was(facts, fine())
			end, err := Over(g, facts, before)
			if err != nil || (end == nil) != (test.want == "") || end != nil && end.Reason != test.want {
				t.Errorf("got %+v, %v, want %q", end, err, test.want)
			}
		})
	}
}

func TestSettled(t *testing.T) {
	grantIn := func(phase v1alpha1.GrantPhase, reason v1alpha1.EndReason) *v1alpha1.AccessGrant {
		g := &v1alpha1.AccessGrant{}
		g.Status.Phase, g.Status.EndReason = phase, reason
		return g
	}
	requestIn := func(phase v1alpha1.RequestPhase) *v1alpha1.AccessRequest {
		r := &v1alpha1.AccessRequest{}
		r.Status.Phase = phase
		return r
	}
	for name, test := range map[string]struct {
		before Before
		want   bool
	}{
		"gone":                          {Before{}, true},
		"replaced, its request over":    {Before{Grant: grantIn(v1alpha1.GrantEnded, v1alpha1.EndExtended), Request: requestIn(v1alpha1.RequestCompleted)}, true},
		"expired, its request gone":     {Before{Grant: grantIn(v1alpha1.GrantEnded, v1alpha1.EndExpired)}, true},
		"somebody may still decide":     {Before{Grant: grantIn(v1alpha1.GrantEnded, v1alpha1.EndExtended), Request: requestIn(v1alpha1.RequestActive)}, false},
		"held":                          {Before{Grant: grantIn(v1alpha1.GrantActive, ""), Request: requestIn(v1alpha1.RequestActive)}, false},
		"revoked, which is not settled": {Before{Grant: grantIn(v1alpha1.GrantEnded, v1alpha1.EndRevoked)}, false},
	} {
		if got := test.before.Settled(); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Every part of a grant but its time must be that of the grant that it extends.
func TestNotTheSame(t *testing.T) {
	was := whole()
	if why := NotTheSame(whole(), was); why != "" {
		t.Fatalf("the same differs: %s", why)
	}
	for name, test := range map[string]struct {
		edit func(*v1alpha1.AccessGrantSpec)
		what string
	}{
		"requester":             {func(s *v1alpha1.AccessGrantSpec) { s.Requester.Username = "mallory" }, "requester"},
		"spelling of requester": {func(s *v1alpha1.AccessGrantSpec) { s.Requester.Username += " " }, "requester"},
		"policy":                {func(s *v1alpha1.AccessGrantSpec) { s.PolicyRef.UID = "another" }, "policy"},
		"place of the request":  {func(s *v1alpha1.AccessGrantSpec) { s.RequestRef.Namespace = "other" }, "namespace"},
		"subject":               {func(s *v1alpha1.AccessGrantSpec) { s.Subjects = s.Subjects[:1] }, "subjects"},
		"UID of a subject":      {func(s *v1alpha1.AccessGrantSpec) { s.Subjects[1].UID = "another" }, "subjects"},
		"role":                  {func(s *v1alpha1.AccessGrantSpec) { s.RoleRef = &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "admin"} }, "role"},
		"UID of the role":       {func(s *v1alpha1.AccessGrantSpec) { s.RoleUID = "another" }, "role"},
		"rules": {func(s *v1alpha1.AccessGrantSpec) {
			s.Rules = []v1alpha1.PolicyRule{{Verbs: []string{"get"}, Resources: []string{"secrets"}}}
		}, "role"},
		"everywhere":           {func(s *v1alpha1.AccessGrantSpec) { s.Cluster = true }, "scope"},
		"one more namespace":   {func(s *v1alpha1.AccessGrantSpec) { s.Namespaces = append(s.Namespaces, v1alpha1.GrantNamespace{}) }, "scope"},
		"UID of a namespace":   {func(s *v1alpha1.AccessGrantSpec) { s.Namespaces[0].UID = "another" }, "scope"},
		"task":                 {func(s *v1alpha1.AccessGrantSpec) { s.Task = nil }, "task"},
		"UID of the task":      {func(s *v1alpha1.AccessGrantSpec) { s.Task.UID = "another" }, "task"},
		"end of the task":      {func(s *v1alpha1.AccessGrantSpec) { s.Task.CompleteWhen = "false" }, "task"},
		"an issued credential": {func(s *v1alpha1.AccessGrantSpec) { s.CredentialKey = "key" }, "credential"},
	} {
		t.Run(name, func(t *testing.T) {
			g := whole().DeepCopy()
			test.edit(&g.Spec)
			if why := NotTheSame(g, was); !strings.Contains(why, test.what) {
				t.Errorf("it says %q", why)
			}
		})
	}
}

func TestNotExtendable(t *testing.T) {
	active := func(edit func(*v1alpha1.AccessGrant)) *v1alpha1.AccessGrant {
		g := whole()
		g.Status.Phase = v1alpha1.GrantActive
		if edit != nil {
			edit(g)
		}
		return g
	}
	ended := func(reason v1alpha1.EndReason) func(*v1alpha1.AccessGrant) {
		return func(g *v1alpha1.AccessGrant) { g.Status.Phase, g.Status.EndReason = v1alpha1.GrantEnded, reason }
	}
	for want, g := range map[string]*v1alpha1.AccessGrant{
		"":                            active(nil),
		"holds no access":             nil,
		"holds no access yet":         active(func(g *v1alpha1.AccessGrant) { g.Status.Phase = "" }),
		"was extended already":        active(ended(v1alpha1.EndExtended)),
		"is over (Revoked)":           active(ended(v1alpha1.EndRevoked)),
		"ended at 2026-07-15T11":      active(func(g *v1alpha1.AccessGrant) { g.Spec.ExpirationTime = metav1.NewTime(before) }),
		"is about to end":             active(func(g *v1alpha1.AccessGrant) { g.DeletionTimestamp = &deletedNow }),
		"has a credential of its own": active(func(g *v1alpha1.AccessGrant) { g.Spec.CredentialKey = "key" }),
	} {
		if why := NotExtendable(g, before); !strings.HasPrefix(why, want) || (want == "") != (why == "") {
			t.Errorf("got %q, want %q", why, want)
		}
	}
}

// The chain counts, and knows where it began.
func TestExtends(t *testing.T) {
	first := whole(func(s *v1alpha1.AccessGrantSpec) { s.Extends = nil })
	first.Name, first.UID = "a", "1"
	second := whole(func(s *v1alpha1.AccessGrantSpec) { s.Extends = Extends(first) })
	second.Name, second.UID = "b", "2"
	third := Extends(second)
	if third.Name != "b" || third.UID != "2" || third.Extensions != 2 || third.First != "a" || !third.ExpirationTime.Equal(&second.Spec.ExpirationTime) {
		t.Errorf("got %+v", third)
	}
	if FirstOf(first) != "a" || FirstOf(second) != "a" {
		t.Errorf("the first of the chain is %s, %s", FirstOf(first), FirstOf(second))
	}
	if Begin(first) != first.Spec.NotBefore.Time || Begin(second) != first.Spec.ExpirationTime.Time {
		t.Errorf("the time begins at %s, %s", Begin(first), Begin(second))
	}
	if e := ExtensionOf(third, second); e.Number != 2 || e.Policy != second.Spec.PolicyRef.UID || e.From != second.Spec.ExpirationTime.Time {
		t.Errorf("the policy sees %+v", e)
	}
}

// Only an active grant that extends exactly this one takes its place.
func TestSuccessor(t *testing.T) {
	of := whole()
	of.UID = "first"
	next := func(uid types.UID, phase v1alpha1.GrantPhase, end time.Time) v1alpha1.AccessGrant {
		g := whole(func(s *v1alpha1.AccessGrantSpec) { s.Extends.UID, s.ExpirationTime = uid, metav1.NewTime(end) })
		g.Status.Phase = phase
		return *g
	}
	none := whole(func(s *v1alpha1.AccessGrantSpec) { s.Extends = nil })
	if g := Successor(of, []v1alpha1.AccessGrant{*none, next("another", v1alpha1.GrantActive, deadline), next("first", "", deadline), next("first", v1alpha1.GrantActive, before)}, before); g != nil {
		t.Errorf("%+v takes its place", g.Spec.Extends)
	}
	if g := Successor(of, []v1alpha1.AccessGrant{next("first", v1alpha1.GrantActive, deadline)}, before); g == nil {
		t.Error("nobody takes its place")
	}
}

func TestExpiresSoon(t *testing.T) {
	g := whole(func(s *v1alpha1.AccessGrantSpec) { s.Extends, s.NotBefore = nil, given })
	g.Status.Phase = v1alpha1.GrantActive
	p := &v1alpha1.AccessPolicy{}
	p.Name, p.Spec.MaxExtensions = "prod", 1
	at := deadline.Add(-10 * time.Minute)
	ask := "the access ends at 2026-07-15T12:00:00Z; 'kubectl access extend fix -n payments --for 30m --reason WHY' asks for more time"
	for name, test := range map[string]struct {
		edit func(*v1alpha1.AccessGrant, *v1alpha1.AccessPolicy)
		now  time.Time
		want string
	}{
		"before":      {nil, at.Add(-time.Second), ""},
		"then":        {nil, at, ask},
		"at the end":  {nil, deadline, ask},
		"never given": {func(g *v1alpha1.AccessGrant, _ *v1alpha1.AccessPolicy) { g.Status.Phase = "" }, at, ""},
		"no more": {func(g *v1alpha1.AccessGrant, _ *v1alpha1.AccessPolicy) {
			g.Spec.Extends = &v1alpha1.GrantExtended{Extensions: 1}
		}, at, "the access ends at 2026-07-15T12:00:00Z; policy prod allows no more extensions than the 1 that there were"},
		"none at all": {func(_ *v1alpha1.AccessGrant, p *v1alpha1.AccessPolicy) { p.Spec.MaxExtensions = 0 }, at, "the access ends at 2026-07-15T12:00:00Z; it cannot be extended"},
		"issued":      {func(g *v1alpha1.AccessGrant, _ *v1alpha1.AccessPolicy) { g.Spec.CredentialKey = "key" }, at, "the access ends at 2026-07-15T12:00:00Z; it cannot be extended"},
	} {
		g, p := g.DeepCopy(), p.DeepCopy()
		if test.edit != nil {
			test.edit(g, p)
		}
		if got := ExpiresSoon(g, p, test.now); got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := ExpiresSoon(g, nil, at); got != "the access ends at 2026-07-15T12:00:00Z" {
		t.Errorf("without a policy: %q", got)
	}
	short := g.DeepCopy()
	short.Spec.NotBefore = metav1.NewTime(deadline.Add(-20 * time.Minute))
	if got := deadline.Sub(WarnAt(short)); got != 2*time.Minute {
		t.Errorf("of 20 minutes people are told in the last %s", got)
	}
	short.Spec.NotBefore = metav1.NewTime(deadline.Add(-9 * time.Second))
	if at := WarnAt(short); at != deadline {
		t.Errorf("of 9 seconds people are told at %s", at)
	}
}

// More time can always be asked for again: it is for what is held now.
func TestRepeats(t *testing.T) {
	r := &v1alpha1.AccessRequest{}
	if !Repeats(r) {
		t.Error("a plain request does not repeat")
	}
	r.Spec.Extends = "fix"
	if Repeats(r) {
		t.Error("a request for more time repeats")
	}
	r.Spec.Extends, r.Spec.Task = "", &v1alpha1.TaskRef{Kind: "Job", Name: "migrate"}
	if Repeats(r) {
		t.Error("a request with a task repeats")
	}
}
