package grant

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func without(edit func(*v1alpha1.AccessPolicySpec)) change {
	return policyIs(func(p *v1alpha1.AccessPolicy) { edit(&p.Spec) })
}

// What is not observed ends nothing, and neither does what no policy wants ended.
func TestUsageThatEndsNothing(t *testing.T) {
	noTimeout := without(func(s *v1alpha1.AccessPolicySpec) { s.IdleTimeout = nil })
	for name, changes := range map[string][]change{
		"no observer":                         {usageIsNone},
		"nothing is observed yet":             {usageIs()},
		"a window without an end":             {usageIs(func(u *v1alpha1.AccessUsage) { u.Status.Since = at(0) })},
		"a window without a begin":            {usageIs(func(u *v1alpha1.AccessUsage) { u.Status.Until = at(50) })},
		"observed for a second too little":    {usageIs(observed(0, 30), untilLess(time.Second))},
		"a stream that went silent":           {usageIs(observed(0, 29))},
		"a stream that began late":            {usageIs(observed(31, 60))},
		"used within the time":                {usageIs(observed(0, 60), calledAt(31))},
		"used, the clock of the streams back": {usageIs(observed(-120, -60), calledAt(-90))},
		"a gap within the time":               {usageIs(observed(0, 60), gapUntil(31))},
		"an exec that is open":                {usageIs(observed(0, 60), open("watch", "exec"))},
		"an attach that is open":              {usageIs(observed(0, 60), open("attach"))},
		"a port-forward that is open":         {usageIs(observed(0, 60), open("portforward"))},
		"logs that are followed":              {usageIs(observed(0, 60), open("log"))},
		"a kind of session of tomorrow":       {usageIs(observed(0, 60), open("tunnel"))},
		"sessions that are not listed":        {usageIs(observed(0, 60), func(u *v1alpha1.AccessUsage) { u.Status.More.Sessions = 1 })},
		"no timeout":                          {noTimeout, usageIs(observed(0, 60))},
		"streams whose clock is ahead":        {usageIs(observed(31, 300))},

		"a finding to report":              {usageIs(finding("told", v1alpha1.SuspiciousReport, 5))},
		"a finding that the usage raises":  {usageIs(finding("told", v1alpha1.SuspiciousRevoke, 5))},
		"a finding of no policy":           {usageIs(finding("made-up", v1alpha1.SuspiciousRevoke, 5))},
		"a finding from before the grant":  {usageIs(finding("secrets", v1alpha1.SuspiciousRevoke, -1))},
		"a finding that was to be told":    {usageIs(finding("secrets", v1alpha1.SuspiciousReport, 5))},
		"a finding, and the policy is lax": {without(func(s *v1alpha1.AccessPolicySpec) { s.Suspicious[1].Action = v1alpha1.SuspiciousReport }), usageIs(finding("secrets", v1alpha1.SuspiciousRevoke, 5))},
		"a finding, and no policy for it":  {without(func(s *v1alpha1.AccessPolicySpec) { s.Suspicious = nil }), usageIs(finding("secrets", v1alpha1.SuspiciousRevoke, 5))},
	} {
		facts := fine()
		for _, change := range changes {
			change(facts, fine())
		}
		if end, err := Over(whole(), facts, before); end != nil || err != nil {
			t.Errorf("%s: %v, %v", name, end, err)
		}
	}
	// Before it is given, nobody asks for the usage.
	pending := whole()
	pending.Status.GrantedTime = nil
	facts := fine()
	unknown["usage"](facts)
	if end, err := Over(pending, facts, before); end != nil || err != nil {
		t.Errorf("a grant that is not given: %v, %v", end, err)
	}
	// Nor where the policy ends nothing by it.
	facts = fine()
	without(func(s *v1alpha1.AccessPolicySpec) { s.IdleTimeout, s.Suspicious = nil, s.Suspicious[:1] })(facts, fine())
	unknown["usage"](facts)
	if end, err := Over(whole(), facts, before); end != nil || err != nil {
		t.Errorf("a policy that ends nothing by the usage: %v, %v", end, err)
	}
}

func usageIsNone(f, _ *Facts) {
	f.Usage = func() (*v1alpha1.AccessUsage, error) { return nil, nil }
}

func untilLess(d time.Duration) ofUsage {
	return func(u *v1alpha1.AccessUsage) {
		less := metav1.NewTime(u.Status.Until.Add(-d))
		u.Status.Until = &less
	}
}

// The idle time never exceeds what the broker's own clock allows.
func TestIdleOfAClockThatIsAhead(t *testing.T) {
	facts := fine()
	usageIs(observed(0, 300))(facts, nil)
	if end, err := Over(whole(), facts, given.Add(29*time.Minute)); end != nil || err != nil {
		t.Errorf("29 minutes after it was given: %v, %v", end, err)
	}
	if end, _ := Over(whole(), facts, given.Add(30*time.Minute)); end == nil || end.Reason != v1alpha1.EndIdle {
		t.Errorf("30 minutes after it was given: %v", end)
	}
}

// A usage is a grant's only when it says so and the grant owns it.
func TestHasUsage(t *testing.T) {
	g := whole()
	usage := func(edit func(*v1alpha1.AccessUsage)) *v1alpha1.AccessUsage {
		u := &v1alpha1.AccessUsage{}
		u.Name, u.Spec.GrantRef = g.Name, v1alpha1.ObjectRef{Name: g.Name, UID: g.UID}
		u.OwnerReferences = []metav1.OwnerReference{{Kind: "Namespace", Name: "a", UID: "a"}, {APIVersion: "jit.accessbroker.dev/v1beta1", Kind: "AccessGrant", Name: g.Name, UID: g.UID}}
		edit(u)
		return u
	}
	for name, edit := range map[string]func(*v1alpha1.AccessUsage){
		"of another grant of the name": func(u *v1alpha1.AccessUsage) { u.Spec.GrantRef.UID = "another" },
		"of another name":              func(u *v1alpha1.AccessUsage) { u.Spec.GrantRef.Name = "another" },
		"that nobody owns":             func(u *v1alpha1.AccessUsage) { u.OwnerReferences = nil },
		"that an older grant owns":     func(u *v1alpha1.AccessUsage) { u.OwnerReferences[1].UID = "older" },
		"that another kind owns":       func(u *v1alpha1.AccessUsage) { u.OwnerReferences[1].Kind = "AccessRequest" },
		"of another name of its own":   func(u *v1alpha1.AccessUsage) { u.Name = "another" },
	} {
		if HasUsage(g, usage(edit)) {
			t.Errorf("a usage %s counts", name)
		}
	}
	if !HasUsage(g, usage(func(*v1alpha1.AccessUsage) {})) {
		t.Error("its own does not count")
	}
}

func TestWindow(t *testing.T) {
	ended := *at(60)
	for name, test := range map[string]struct {
		usage []ofUsage
		whole bool
		says  string
	}{
		"all":               {[]ofUsage{observed(-5, 65)}, true, "observed from 2026-07-15T10:00:00Z until 2026-07-15T11:00:00Z, 1h of the 1h of the access"},
		"none":              {nil, false, "nothing of the 1h of the access was observed"},
		"before it":         {[]ofUsage{observed(-60, -1)}, false, "nothing of the 1h"},
		"after it":          {[]ofUsage{observed(61, 90)}, false, "nothing of the 1h"},
		"began late":        {[]ofUsage{observed(2, 65)}, false, "58m of the 1h of the access"},
		"went silent":       {[]ofUsage{observed(0, 40)}, false, "until 2026-07-15T10:40:00Z, 40m of the 1h"},
		"with a gap":        {[]ofUsage{observed(0, 65), gapUntil(5)}, false, "1h of the 1h of the access, with an interruption"},
		"with gaps":         {[]ofUsage{observed(0, 65), gapUntil(5), func(u *v1alpha1.AccessUsage) { u.Status.Gaps = 3 }}, false, "with 3 interruptions"},
		"to within seconds": {[]ofUsage{observed(0, 60), untilLess(windowSlack)}, true, "59m58s of the 1h"},
		"a moment more":     {[]ofUsage{observed(0, 60), untilLess(windowSlack + time.Second)}, false, "59m57s of the 1h"},
	} {
		g, u := whole(), &v1alpha1.AccessUsage{}
		g.Status.EndedTime = &ended
		for _, change := range test.usage {
			change(u)
		}
		got := WindowOf(g, u)
		if got.Whole() != test.whole || !strings.Contains(got.String(), test.says) {
			t.Errorf("%s: %v, %s; want %v, %s", name, got.Whole(), got, test.whole, test.says)
		}
	}
}

// The Pod of a session may be evicted only where the grant allowed the session, when
// it was held.
func TestKeepsPod(t *testing.T) {
	ended := *at(60)
	exec := []v1alpha1.PolicyRule{{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"pods/exec"}}}
	of := func(rules ...v1alpha1.PolicyRule) *v1alpha1.AccessGrant {
		g := whole()
		g.Status.EndedTime = &ended
		g.Spec.RoleRef, g.Spec.Rules = nil, rules
		return g
	}
	session := v1alpha1.UsageSession{ID: "1", Kind: "exec", Resource: "pods", Namespace: "a", Name: "web", UsageClient: v1alpha1.UsageClient{User: "alice"}, Since: *at(30)}
	named := func(names ...string) []v1alpha1.PolicyRule {
		rules := []v1alpha1.PolicyRule{exec[0]}
		rules[0].ResourceNames = names
		return rules
	}
	for name, test := range map[string]struct {
		grant *v1alpha1.AccessGrant
		edit  func(g *v1alpha1.AccessGrant, s *v1alpha1.UsageSession)
		says  string
	}{
		"all is as it must be": {of(exec...), nil, ""},
		"by GET":               {of(v1alpha1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{"*"}, Resources: []string{"pods/exec"}}), nil, ""},
		"by a wildcard":        {of(v1alpha1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}), nil, ""},
		"this Pod by name":     {of(named("web")...), nil, ""},
		"another Pod by name":  {of(named("api")...), nil, "does not allow exec"},
		"cluster-wide": {of(exec...), func(g *v1alpha1.AccessGrant, s *v1alpha1.UsageSession) {
			g.Spec.Cluster, g.Spec.Namespaces, s.Namespace = true, nil, "z"
		}, ""},
		"another namespace":           {of(exec...), func(_ *v1alpha1.AccessGrant, s *v1alpha1.UsageSession) { s.Namespace = "kube-system" }, "not within the scope"},
		"attach, and exec is allowed": {of(exec...), func(_ *v1alpha1.AccessGrant, s *v1alpha1.UsageSession) { s.Kind = "attach" }, "does not allow attach"},
		"Pods, and no exec":           {of(v1alpha1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"pods"}}), nil, "does not allow exec"},
		"other access covers it":      {of(exec...), func(_ *v1alpha1.AccessGrant, s *v1alpha1.UsageSession) { s.Shared = true }, "other access"},
		"before it was given":         {of(exec...), func(_ *v1alpha1.AccessGrant, s *v1alpha1.UsageSession) { s.Since = *at(-1) }, "did not begin while"},
		"after it ended":              {of(exec...), func(_ *v1alpha1.AccessGrant, s *v1alpha1.UsageSession) { s.Since = *at(61) }, "did not begin while"},
		"it never was given":          {of(exec...), func(g *v1alpha1.AccessGrant, _ *v1alpha1.UsageSession) { g.Status.GrantedTime = nil }, "never held"},
		"it did not end":              {of(exec...), func(g *v1alpha1.AccessGrant, _ *v1alpha1.UsageSession) { g.Status.EndedTime = nil }, "never held"},
		"a name that is a path":       {of(exec...), func(_ *v1alpha1.AccessGrant, s *v1alpha1.UsageSession) { s.Name = "../../x" }, "can have its name"},
		"a namespace that is a path": {of(exec...), func(g *v1alpha1.AccessGrant, s *v1alpha1.UsageSession) {
			g.Spec.Cluster, s.Namespace = true, "a/pods/web/.."
		}, "can have its name"},
		"no name": {of(exec...), func(_ *v1alpha1.AccessGrant, s *v1alpha1.UsageSession) { s.Name = "" }, "can have its name"},
	} {
		g, s := test.grant, session
		if test.edit != nil {
			test.edit(g, &s)
		}
		if got := KeepsPod(g, s); (got == "") != (test.says == "") || !strings.Contains(got, test.says) {
			t.Errorf("%s: %q, want %q", name, got, test.says)
		}
	}
	unreadable := whole()
	unreadable.Status.EndedTime, unreadable.Spec.RoleRules = &ended, []string{"\"not a line"}
	if got := KeepsPod(unreadable, session); got == "" {
		t.Error("nobody can read what it allowed, and the Pod goes")
	}
}
