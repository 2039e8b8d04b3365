package plugin

import (
	"bytes"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
	"github.com/accessbroker/accessbroker/internal/usage/advice"
)

func minutesAgo(n int) *v1alpha1.Moment {
	m := metav1.NewTime(now.Add(-time.Duration(n) * time.Minute))
	return &m
}

// aUsage is what was observed of a grant in the last half hour; what users choose
// ends in s.
func aUsage(s string) *v1alpha1.AccessUsageStatus {
	return &v1alpha1.AccessUsageStatus{
		Phase: v1alpha1.UsageObserving, Since: minutesAgo(30), Until: minutesAgo(1),
		Streams: []v1alpha1.UsageStream{{Name: "cp-1" + s, Since: *minutesAgo(30), Until: *minutesAgo(1)}},
		Calls:   41, SharedCalls: 12, RefusedCalls: 3, FailedCalls: 1, FirstCall: minutesAgo(15), LastCall: minutesAgo(3),
		Callers: []v1alpha1.UsageCaller{
			{UsageClient: v1alpha1.UsageClient{User: "alice" + s, Address: "192.0.2.7" + s, ClaimedAddress: "198.51.100.9" + s, UserAgent: "kubectl/v1.37 " + s}, Calls: 40},
			{UsageClient: v1alpha1.UsageClient{User: "ops" + s, As: "alice" + s, Address: "192.0.2.8"}, Calls: 1},
		},
		Used: []v1alpha1.UsageRight{
			{Verb: "list", Resource: "pods", Namespace: "payments", Calls: 33, Shared: 12},
			{Verb: "get", Resource: "secrets", Namespace: "payments", Calls: 4, Failed: 1, Names: []string{"db" + s, "tls" + s}},
			{Verb: "get", Resource: "pods", Subresource: "log", Namespace: "payments", Calls: 2, Names: []string{"api-0" + s}},
			{Verb: "get", Resource: "pods", Subresource: "log", Namespace: "billing" + s, Calls: 1, Names: []string{"api-0" + s}},
			{Verb: "create", Resource: "pods", Namespace: "payments", Calls: 1},
		},
		Refused:  []v1alpha1.UsageRight{{Verb: "delete", Group: "apps" + s, Resource: "deployments", Namespace: "payments", Calls: 3, Names: []string{"api" + s}}},
		Risks:    []v1alpha1.UsageCount{{Kind: "ReadSecrets", Count: 3}, {Kind: "RunPods", Count: 1}},
		Created:  []v1alpha1.UsageObject{{Resource: "pods", Namespace: "payments", Name: "debug-x" + s, From: *minutesAgo(9), To: *minutesAgo(9), Times: 1}},
		Sessions: []v1alpha1.UsageSession{{ID: "1", Kind: "exec", Resource: "pods", Subresource: "exec", Namespace: "payments", Name: "api-0" + s, UsageClient: v1alpha1.UsageClient{User: "alice" + s}, Since: *minutesAgo(5)}},
	}
}

// aUsedGrant is the grant that it was observed of.
func aUsedGrant() *v1alpha1.AccessGrant {
	return &v1alpha1.AccessGrant{
		ObjectMeta: metav1.ObjectMeta{Name: ofGrant, UID: "g1"},
		Spec: v1alpha1.AccessGrantSpec{
			RequestRef: v1alpha1.RequestRef{Namespace: "payments", ObjectRef: v1alpha1.ObjectRef{Name: "edit-x7k2p"}},
			Requester:  v1alpha1.UserInfo{Username: "alice", Groups: []string{"dev"}},
			Subjects:   []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: "alice"}}},
			RoleRef:    &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"},
			Namespaces: []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: "payments"}}},
			PolicyRef:  v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "on-call", UID: "p1"}},
			Decisions:  []v1alpha1.Decision{{Username: "bob", Groups: []string{"sre"}, Verdict: "Approve", Comment: "go ahead"}},
			RoleRules:  []string{"create,delete,get,list,patch,update,watch pods,secrets,services,deployments.apps", "get pods/log", "get /metrics"},
			Reason:     "INC-42: stuck consumers", Ticket: "INC-42",
			NotBefore: *minutesAgo(30), ExpirationTime: metav1.NewTime(now.Add(30 * time.Minute)),
			Summary: v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "payments", Approvers: "bob"},
		},
		Status: v1alpha1.AccessGrantStatus{Phase: v1alpha1.GrantActive, GrantedTime: minutesAgo(30)},
	}
}

// leftMessage is how the broker tells of what it found.
const leftMessage = "of 2 objects that were created with the access, 1 still exist: Pod payments/debug-x (created 2026-05-04T09:51:00Z by alice)"

// endedGrant is the grant after its end, with what the broker found then.
func endedGrant() *v1alpha1.AccessGrant {
	g := aUsedGrant()
	g.Status.Phase, g.Status.EndedTime, g.Status.EndReason, g.Status.EndedBy = v1alpha1.GrantEnded, minutesAgo(2), v1alpha1.EndReleased, "alice"
	g.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionLeftBehind, Status: "True", Reason: v1alpha1.ReasonObjectsExist, Message: leftMessage},
		{Type: v1alpha1.ConditionSessionsOpen, Status: "True", Reason: v1alpha1.ReasonOpen, Message: "exec of pods/exec api-0 in payments by alice: kubectl delete pod api-0 -n payments"},
	}
	return g
}

func leftBehind(status metav1.ConditionStatus, items string) []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ConditionLeftBehind, Status: status, Message: "of 9 objects that were created with the access, 5 still exist: " + items}}
}

func withUsage(p view.Page, status *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant, rules []string) view.Page {
	p.Observe(view.Observed{Usage: usage.SummaryOf(status), Grant: g, Rules: rules}, now)
	return p
}

func TestPageWithUsage(t *testing.T) {
	r, g := anActiveRequest(), aUsedGrant()
	used := withUsage(view.PageOf(r, now), aUsage(""), g, view.RulesOfGrant(g))
	golden(t, "used.txt", page(used, term.Style{}))

	suspicious := aUsage("")
	suspicious.Suspicious = []v1alpha1.UsageFinding{
		{Name: "second-address", Action: v1alpha1.SuspiciousRevoke, Message: "two addresses at a time: get secrets db from 203.0.113.9", Times: 3, First: *minutesAgo(4), Last: *minutesAgo(3)},
		{Name: "host-access", Action: v1alpha1.SuspiciousReport, Message: "a Pod with host access: create pods", Times: 1, First: *minutesAgo(9), Last: *minutesAgo(9)},
	}
	suspicious.Since, suspicious.Until, suspicious.Gaps, suspicious.LastGap = minutesAgo(20), minutesAgo(10), 2, minutesAgo(12)
	suspicious.Streams[0].Lost = 7
	golden(t, "suspicious.txt", page(withUsage(view.PageOf(r, now), suspicious, g, view.RulesOfGrant(g)), term.Style{Terminal: true, Colour: true}))

	over := endedGrant()
	status := aUsage("")
	status.Until = minutesAgo(8)
	golden(t, "grant.txt", page(withUsage(view.PageOfGrant(over, now), status, over, view.RulesOfGrant(over)), term.Style{}))

	u := view.Usage{Grant: ofGrant, Summary: usage.SummaryOf(suspicious)}
	var out strings.Builder
	write(&out, view.ObservedUsages([]view.Usage{u, {Grant: "edit-y", Summary: usage.SummaryOf(&v1alpha1.AccessUsageStatus{})}}, now), true)
	observed := view.PageOfObserved(u, view.Observed{Usage: u.Summary, Grant: g, Rules: view.RulesOfGrant(g)}, now)
	golden(t, "observed.txt", usagePage(observed, term.Style{})+"\n"+out.String())
}

// What is said is what was observed, in the words of a person, and nothing more.
func TestUsedSentence(t *testing.T) {
	for name, tc := range map[string]struct {
		change    func(*v1alpha1.AccessUsageStatus, *v1alpha1.AccessGrant)
		says, not string
	}{
		"as a person would": {nil, "Used        41 calls in 12 minutes, the last 3 minutes ago; 12 of them other access covers too; used 4 of 30 rights; read 2 Secrets; created Pod debug-x\n", "still there"},
		"left behind": {func(_ *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			g.Status.Conditions = endedGrant().Status.Conditions
		}, "created Pod debug-x, which is still there\n", ""},
		"others were left behind": {func(_ *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			g.Status.Conditions = leftBehind("True", "Pod payments/debug-x-2 (c); Job payments/debug-x (c); Pod billing/debug-x (c); Pod payments/debug-x.y, being deleted (c); Pod debug-x (c)")
		}, "Left behind of 9 objects", "is still there"},
		"it is being deleted": {func(_ *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			g.Status.Conditions = leftBehind("True", "Pod payments/debug-x, being deleted (created)")
		}, "debug-x, which is still there", ""},
		"one of it is not known": {func(u *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			u.Created = append(u.Created, v1alpha1.UsageObject{Group: "acme.example", Resource: "policies", Name: "p", Times: 1})
			g.Status.Conditions = leftBehind("True", "Policy p (created); not known: Secret payments/s (created, the broker may not read it); Pod payments/debug-x (created, the broker may not read it)")
		}, "created Pod debug-x, policies.acme.example p (still there)\n", ""},
		"two of that name": {func(u *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			other := u.Created[0]
			other.UID = "u2"
			u.Created = append(u.Created, other)
			g.Status.Conditions = endedGrant().Status.Conditions
		}, "created Pod debug-x, Pod debug-x\n", "still there"},
		"one of two": {func(u *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			u.Created = append(u.Created, v1alpha1.UsageObject{Resource: "configmaps", Namespace: "payments", Name: "left", Times: 1})
			g.Status.Conditions = endedGrant().Status.Conditions
		}, "created Pod debug-x (still there), ConfigMap left\n", ""},
		"it is not known whether": {func(_ *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			g.Status.Conditions = leftBehind("Unknown", "Pod payments/debug-x (created)")
		}, "created Pod debug-x\n", "still there"},
		"nothing yet": {func(u *v1alpha1.AccessUsageStatus, _ *v1alpha1.AccessGrant) { *u = v1alpha1.AccessUsageStatus{} }, "Used        no calls\nObserved    nothing yet", "ago"},
		"only refused": {func(u *v1alpha1.AccessUsageStatus, _ *v1alpha1.AccessGrant) {
			u.Calls, u.SharedCalls, u.Used = 0, 0, nil
		}, "Used        no calls; created", "rights"},
		"refused calls":    {nil, "Refused     3 calls: delete deployments.apps in payments\n", ""},
		"all are shared":   {func(u *v1alpha1.AccessUsageStatus, _ *v1alpha1.AccessGrant) { u.SharedCalls = 41 }, "; other access covers all of them too;", ""},
		"one, shared":      {func(u *v1alpha1.AccessUsageStatus, _ *v1alpha1.AccessGrant) { u.Calls, u.SharedCalls = 1, 1 }, "1 call, 3 minutes ago; other access covers it too;", ""},
		"more than listed": {func(u *v1alpha1.AccessUsageStatus, _ *v1alpha1.AccessGrant) { u.More.Used, u.More.Created = 3, 1 }, "used more than 4 of 30 rights; read 2 Secrets; created Pod debug-x and others\n", ""},
		"wildcards":        {func(_ *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) { g.Spec.RoleRules = []string{"* *.*"} }, "used 4 rights, of any number that wildcards (*) give;", " of 1 "},
		"rules left out": {func(_ *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			g.Spec.RoleRules = append(g.Spec.RoleRules, "... and 90 of 120 permissions more")
		}, "used 4 of more than 30 rights;", ""},
		"fewer rights than were used": {func(_ *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) { g.Spec.RoleRules = []string{"get pods"} }, "; used 4 rights;", " of 1 "},
		"rules of its own": {func(_ *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			g.Spec.RoleRef, g.Spec.RoleRules = nil, nil
			g.Spec.Rules = []v1alpha1.PolicyRule{{Verbs: []string{"get", "list", "create"}, APIGroups: []string{""}, Resources: []string{"pods", "secrets"}}}
		}, "used 4 of 6 rights;", ""},
		"observed":          {nil, "Observed    from 2026-05-04T09:30:00Z to 2026-05-04T09:59:00Z\n", "silent"},
		"observed too late": {func(u *v1alpha1.AccessUsageStatus, _ *v1alpha1.AccessGrant) { u.Since = minutesAgo(20) }, "not from 2026-05-04T09:30:00Z to 2026-05-04T09:40:00Z\n", "silent"},
		"silent":            {func(u *v1alpha1.AccessUsageStatus, _ *v1alpha1.AccessGrant) { u.Until = minutesAgo(12) }, "silent since 2026-05-04T09:48:00Z (12 minutes): what was done after it is not known\n", ""},
		"over, in time": {func(u *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			*g = *endedGrant()
			g.Status.EndedTime, u.Until = minutesAgo(20), minutesAgo(20)
		}, "Observed    from", "silent"},
		"over, too early": {func(u *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
			*g, u.Until = *endedGrant(), minutesAgo(8)
		}, "not from 2026-05-04T09:52:00Z to 2026-05-04T09:58:00Z\n", "silent"},
		"closed": {func(u *v1alpha1.AccessUsageStatus, _ *v1alpha1.AccessGrant) {
			u.Phase, u.Until = v1alpha1.UsageClosed, minutesAgo(20)
		}, "Observed    from", "silent"},
		"sessions outlive it": {func(_ *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) { *g = *endedGrant() }, "Still open  ! exec of pods/exec api-0 in payments by alice: kubectl delete pod", "No end seen"},
		"a session is open":   {nil, "No end seen exec of pods/exec api-0 in payments by alice, since 2026-05-04T09:55:00Z\n", "Still open"},
	} {
		u, g := aUsage(""), aUsedGrant()
		if tc.change != nil {
			tc.change(u, g)
		}
		got := page(withUsage(view.Page{Name: "x", Namespace: "y"}, u, g, view.RulesOfGrant(g)), term.Style{})
		if !strings.Contains(got, tc.says) || tc.not != "" && strings.Contains(got, tc.not) {
			t.Errorf("%s: want %q and not %q in\n%s", name, tc.says, tc.not, got)
		}
	}
}

// Without the grant, the sentence has what the usage alone tells.
func TestUsedSentenceWithoutTheGrant(t *testing.T) {
	got := page(withUsage(view.Page{Name: "x", Namespace: "y"}, aUsage(""), nil, nil), term.Style{})
	if !strings.Contains(got, "; used 4 rights; read 2 Secrets; created Pod debug-x\n") || strings.Contains(got, "still there") {
		t.Error(got)
	}
}

func TestAuditOfUse(t *testing.T) {
	grants := []v1alpha1.AccessGrant{*endedGrant(), someGrants()[1]}
	status := aUsage("")
	status.Suspicious = []v1alpha1.UsageFinding{{Name: "burst"}, {Name: "second-address"}}
	status.More.Sessions = 2
	used := map[string]view.Use{ofGrant: view.UseOf(status)}
	var b strings.Builder
	write(&b, view.Grants(grants, used, now, false), true)
	b.WriteString("\n")
	write(&b, view.Grants(grants, used, now, true), false)
	b.WriteString("\n")
	if err := view.WriteCSV(&b, view.Refs(grants), used, true); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	if err := writeLines(&b, grants, used); err != nil {
		t.Fatal(err)
	}
	golden(t, "audit-usage.txt", b.String())
	// What nobody observed is not 0 calls.
	if unobserved := view.RecordOf(&grants[1], view.Use{}, false); unobserved.Calls != nil || unobserved.Row()[19] != "" {
		t.Errorf("%+v", unobserved)
	}
}

// storedOf has AccessUsages of grants: of edit, of view which nobody observed, and of
// rules.
func adviceOf(t *testing.T, args ...string) (*advice.Advice, *advise) {
	t.Helper()
	f := &advise{maxNames: advice.DefaultMaxNames}
	cmd := (&options{}).newAdviseCommand()
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	for _, to := range []struct {
		flag string
		is   *string
	}{{"role", &f.role}, {"policy", &f.policy}, {"user", &f.user}, {"since", &f.since}} {
		*to.is = cmd.Flag(to.flag).Value.String()
	}
	var err error
	if f.widen, err = cmd.Flags().GetStringSlice("widen"); err != nil {
		t.Fatal(err)
	}
	wanted, err := f.options("", now)
	if err != nil {
		t.Fatal(err)
	}
	edit, viewer, ofRules := aUsedGrant(), aUsedGrant(), aUsedGrant()
	viewer.Name, viewer.UID, viewer.Spec.RoleRef = "view-a-93a9a96315c30a05", "g2", &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "view"}
	ofRules.Name, ofRules.UID, ofRules.Spec.RoleRef = "rules-93a9a96315c30a06", "g3", nil
	ofRules.Spec.PolicyRef.UID = "p0"
	usages := map[string]*usage.Summary{}
	for name, status := range map[string]*v1alpha1.AccessUsageStatus{edit.Name: aUsage(""), ofRules.Name: {
		Since: minutesAgo(30), Until: minutesAgo(1), Calls: 2, FirstCall: minutesAgo(9), LastCall: minutesAgo(8),
		Callers: []v1alpha1.UsageCaller{{UsageClient: v1alpha1.UsageClient{User: "carol"}, Calls: 2}},
		Used:    []v1alpha1.UsageRight{{Verb: "list", Resource: "nodes", Calls: 2}},
	}} {
		s := usage.SummaryOf(status)
		usages[name] = &s
	}
	s := storedAdvice{f: f, wanted: wanted, now: now}
	if f.policy != "" {
		s.policy = &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: f.policy, UID: "p1"}, Spec: v1alpha1.AccessPolicySpec{
			Roles: []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "edit"}, {Kind: "ClusterRole", Name: "view"}, {Kind: "ClusterRole", Name: "admin"}},
			Rules: []v1alpha1.PolicyRule{{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"nodes"}}},
		}}
	}
	grants := map[string]*v1alpha1.AccessGrant{}
	for _, g := range view.Keep([]v1alpha1.AccessGrant{*edit, *viewer, *ofRules}, s.asksFor) {
		grants[g.Name] = &g
	}
	return s.advice(grants, usages), f
}

func TestAdviseStoredText(t *testing.T) {
	text := func(args ...string) string {
		var out bytes.Buffer
		a, f := adviceOf(t, args...)
		o := &options{IOStreams: genericiooptions.IOStreams{Out: &out}}
		o.writeAdvice(a, f.about(), "")
		return out.String()
	}
	golden(t, "advise.txt", text("--policy", "on-call")+"\n\n"+text("--role", "edit", "--widen", "failed-names"))
}

func TestAdviseStoredSelects(t *testing.T) {
	for args, want := range map[string]int{
		"": 3, "--role edit": 1, "--role Role/edit": 0, "--policy on-call": 3, "--policy other": 0, "--since 10m": 3,
	} {
		a, _ := adviceOf(t, strings.Fields(args)...)
		got := 0
		if a.Stored != nil {
			got = a.Stored.Grants
		}
		if got != want {
			t.Errorf("%s: %d grants, want %d", args, got, want)
		}
	}
}

// What is written for people of an AccessUsage is safe to look at, whatever is in it.
func observedTexts(t *testing.T, s string) map[string]string {
	t.Helper()
	g := endedGrant()
	g.Name, g.UID = s, types.UID(s)
	g.Spec.RoleRules = []string{s, "get " + s, s + " " + s + " " + s}
	g.Spec.Summary, g.Spec.Reason, g.Spec.Ticket = v1alpha1.GrantSummary{Subjects: s, Role: s, Scope: s}, s, s
	for i := range g.Status.Conditions {
		g.Status.Conditions[i].Message = s
	}
	g.Status.EndedBy, g.Spec.Decisions[0].Comment = s, s
	status := aUsage(s)
	status.Suspicious = []v1alpha1.UsageFinding{{Name: s, Action: v1alpha1.SuspiciousAction(s), Message: s, Times: 2}, {Name: s, Action: "Revoke", Message: s}}
	status.Risks = append(status.Risks, v1alpha1.UsageCount{Kind: s, Count: 1})
	status.Sessions[0].Kind = s
	summary := usage.SummaryOf(status)
	u := view.Usage{Grant: s, Summary: summary}
	observed := view.Observed{Usage: summary, Grant: g, Rules: view.RulesOfGrant(g)}
	still := *g
	still.Status.Conditions = nil
	out := map[string]string{
		"grant":    page(withUsage(view.PageOfGrant(g, now), status, g, view.RulesOfGrant(g)), term.Style{}),
		"used":     page(withUsage(view.PageOf(aRequest(), now), status, &still, nil), term.Style{Terminal: true}),
		"observed": usagePage(view.PageOfObserved(u, observed, now), term.Style{}),
	}
	for _, terminal := range []bool{false, true} {
		var b strings.Builder
		write(&b, view.ObservedUsages([]view.Usage{u}, now), terminal)
		out["usages"] += strings.ReplaceAll(b.String(), "\t", " ")
	}
	c := advice.Collect(advice.Options{Widen: advice.Widen{Steps: []string{advice.UnknownNames}}})
	summary.More.Used = 1
	c.AddGrant(advice.Grant{Name: s, From: now.Add(-time.Hour), To: now, Active: true, Usage: &summary})
	c.AddGrant(advice.Grant{Name: s + "2", From: now, To: now})
	a := c.Advice()
	a.Policy = &advice.Policy{Name: s, Roles: []advice.RoleUse{{Kind: s, Name: s}}}
	var b bytes.Buffer
	o := &options{IOStreams: genericiooptions.IOStreams{Out: &b}}
	o.writeAdvice(&a, (&advise{policy: s, role: s}).about(), s)
	out["advice"] = strings.ReplaceAll(b.String(), "\t", " ")
	if len(a.Denied) > 0 {
		t.Errorf("%q: denied: %v", s, a.Denied)
	}
	b.Reset()
	writeNotes(&b, &a)
	out["notes"] = b.String()
	for line := range strings.SplitSeq(strings.TrimSuffix(b.String(), "\n"), "\n") {
		if !strings.HasPrefix(line, "# ") {
			t.Errorf("%q is no comment", text.Quote(line))
		}
	}
	return out
}
