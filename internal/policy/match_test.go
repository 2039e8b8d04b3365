package policy

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// answer is a Match with its policy by name.
type answer struct {
	Answer   Answer
	Policy   string
	Duration time.Duration
	Message  string
}

func find(policies []*Policy, r Request, now time.Time) answer {
	m := Find(context.Background(), policies, r, now)
	a := answer{Answer: m.Answer, Duration: m.Duration, Message: m.Message}
	if m.Policy != nil {
		a.Policy = m.Policy.Name
	}
	return a
}

func allowed(policy string, d time.Duration) answer {
	return answer{Allowed, policy, d, fmt.Sprintf("policy %q allows it", policy)}
}

func refused(message string) answer { return answer{Answer: NotAllowed, Message: message} }

func unknown(message string) answer { return answer{Answer: Unknown, Message: message} }

// but is the usual refusal with the reason at its end.
func but(why string) answer {
	return refused(`no policy lets alice (group dev) request ClusterRole edit in payments; closest is "prod-edit", which ` + why)
}

func check(t *testing.T, want, got answer) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestFindOne compares one request with one policy, part by part.
func TestFindOne(t *testing.T) {
	getPods := v1alpha1.PolicyRule{Verbs: list("get"), APIGroups: list(""), Resources: list("pods")}
	asWorkload := list(asker("spiffe://example.org/ns/payments/sa/ci"), subjects(user("spiffe://example.org/ns/payments/sa/ci")))
	getOnePod := v1alpha1.PolicyRule{Verbs: list("get"), APIGroups: list(""), Resources: list("pods"), ResourceNames: list("web-0")}
	for name, test := range map[string]struct {
		policy  []ofPolicy
		request []ofRequest
		want    answer
	}{
		"the usual": {nil, nil, allowed("prod-edit", time.Hour)},

		"requester by name":      {list(requesters(user("alice"))), nil, allowed("prod-edit", time.Hour)},
		"requester in no group":  {nil, list(asker("bob"), subjects(user("bob"))), refused(`no policy lets bob request ClusterRole edit in payments; closest is "prod-edit", which is for group:dev`)},
		"requester in another":   {list(requesters(group("ops"), user("root"))), nil, but("is for group:ops, root")},
		"requester who looks so": {nil, list(asker("alice", "Dev")), refused(`no policy lets alice (group Dev) request ClusterRole edit in payments; closest is "prod-edit", which is for group:dev`)},
		// Something that a copy leaves out may exist all the same.
		"requester perhaps in it": {nil, list(partly("bob", 3, "a")), refused(`no policy lets bob (group a) request ClusterRole edit in payments; closest is "prod-edit", which is for group:dev, and bob is in none of these groups, as far as is known (a request keeps 1 of their 4 groups): name the user instead, or a group of less than 2,049 characters that comes sooner`)},
		"requester surely in it":  {nil, list(partly("bob", 3, "dev")), allowed("prod-edit", time.Hour)},
		"requester not by name":   {list(requesters(user("root"))), list(partly("bob", 3, "dev")), refused(`no policy lets bob (group dev) request ClusterRole edit in payments; closest is "prod-edit", which is for root`)},
		"condition on groups, of which some are left out": {
			list(onlyIf("staff", "!('contractors' in request.spec.requester.groups)", "")), list(partly("alice", 3, "dev")),
			but(`has the condition "staff", which reads the requester's groups, of which a request does not keep 3: they are too many or too long`),
		},
		"condition on extra, of which this is left out": {
			list(onlyIf("staff", "request.spec.requester.?extra[?'contractor'].orValue([]).size() == 0", "")), list(withoutExtra("contractor")),
			but(`has the condition "staff", which reads "contractor" of the requester's extra, which requests do not keep: an administrator can add it to keptExtra`),
		},
		"condition on a field of extra that is left out": {
			list(onlyIf("staff", "!has(request.spec.requester.extra.contractor)", "")), list(withoutExtra("contractor")),
			but(`has the condition "staff", which reads "contractor" of the requester's extra, which requests do not keep: an administrator can add it to keptExtra`),
		},
		"condition on all of extra, of which some is left out": {
			list(onlyIf("staff", "!request.spec.requester.?extra.orValue({}).exists(key, key.startsWith('contract'))", "")), list(withoutExtra("contractor")),
			but(`has the condition "staff", which reads "contractor" of the requester's extra, which requests do not keep: an administrator can add it to keptExtra`),
		},
		"condition on extra by a key in disguise": {
			list(onlyIf("staff", `!('\x63ontractor' in request.spec.requester.extra)`, "")), list(withoutExtra("contractor")),
			but(`has the condition "staff", which reads "contractor" of the requester's extra, which requests do not keep: an administrator can add it to keptExtra`),
		},
		"condition on another key of extra": {
			list(onlyIf("staff", "request.spec.?requester.?extra[?'team'].orValue([]).size() == 0", "")), list(withoutExtra("contractor")), allowed("prod-edit", time.Hour),
		},
		"condition that only speaks of groups": {list(onlyIf("why", "request.spec.ticket != 'groups'", "")), list(partly("alice", 3, "dev")), allowed("prod-edit", time.Hour)},
		"condition on something else":          {list(onlyIf("ticket", "request.spec.ticket.startsWith('INC-')", "")), list(withoutExtra("ticket"), partly("alice", 3, "dev")), allowed("prod-edit", time.Hour)},

		"workload that may":    {list(requesters(matching("spiffe://example.org/ns/*/sa/ci"))), asWorkload, allowed("prod-edit", time.Hour)},
		"workload by its name": {list(requesters(user("spiffe://example.org/ns/payments/sa/ci"))), asWorkload, allowed("prod-edit", time.Hour)},
		"workload of another domain": {
			list(requesters(matching("spiffe://other.test/**"))), asWorkload,
			refused(`no policy lets spiffe://example.org/ns/payments/sa/ci request ClusterRole edit in payments; closest is "prod-edit", which is for spiffe://other.test/**`),
		},
		"workload that is deeper": {
			list(requesters(matching("spiffe://example.org/*"), group("dev"))), asWorkload,
			refused(`no policy lets spiffe://example.org/ns/payments/sa/ci request ClusterRole edit in payments; closest is "prod-edit", which is for spiffe://example.org/*, group:dev`),
		},
		// The schema admits no such pattern; a policy that cannot be read refuses nobody.
		"pattern that cannot be read": {
			list(requesters(matching("spiffe://*/x"))), nil,
			unknown(`policy "prod-edit" cannot be used: requesters: "spiffe://*/x" is no pattern over SPIFFE IDs: trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores`),
		},
		"approvers that cannot be read": {
			list(approvers(group("sre"), matching("spiffe://example.org"))), nil,
			unknown(`policy "prod-edit" cannot be used: approvals "sre": "spiffe://example.org" is no pattern over SPIFFE IDs: it has no path: for all workloads of the trust domain, write spiffe://example.org/**`),
		},
		"cannot be read, and plainly not": {list(requesters(matching("x"))), list(lasting(2 * time.Hour)), but("allows at most 1h")},

		"ServiceAccount that may": {list(requesters(account("payments", "ci"))), list(asker("system:serviceaccount:payments:ci"), subjects(account("payments", "ci"))), allowed("prod-edit", time.Hour)},

		"role not in it":             {nil, list(wants(clusterRole("cluster-admin"))), refused(`no policy lets alice (group dev) request ClusterRole cluster-admin in payments; closest is "prod-edit", which allows view, edit`)},
		"role of another kind":       {nil, list(wants(role("edit"))), refused(`no policy lets alice (group dev) request Role edit in payments; closest is "prod-edit", which allows ClusterRole view, ClusterRole edit`)},
		"role where rules are":       {list(roles(), adhoc(getPods)), nil, but("allows rules only, no role")},
		"Role that may":              {list(roles(role("deployer"))), list(wants(role("deployer"))), allowed("prod-edit", time.Hour)},
		"rules that are covered":     {list(adhoc(getPods)), list(wantsRules(getOnePod)), allowed("prod-edit", time.Hour)},
		"rules that are wider":       {list(adhoc(getOnePod)), list(wantsRules(getPods)), refused(`no policy lets alice (group dev) request these rules in payments; closest is "prod-edit", which does not cover all of the rules`)},
		"rules where only roles are": {nil, list(wantsRules(getPods)), refused(`no policy lets alice (group dev) request these rules in payments; closest is "prod-edit", which does not cover all of the rules`)},

		"several namespaces":        {list(namespaces("payments", "billing")), list(in(namespace("billing"), namespace("payments"))), allowed("prod-edit", time.Hour)},
		"namespaces outside":        {nil, list(in(namespace("a"), namespace("payments"), namespace("b"))), refused(`no policy lets alice (group dev) request ClusterRole edit in a, payments, b; closest is "prod-edit", which does not cover namespace a, b`)},
		"namespace by label":        {list(selecting(labelled("team", "pay"))), list(in(namespace("payments", "team", "pay"))), allowed("prod-edit", time.Hour)},
		"namespace by another":      {list(selecting(labelled("team", "pay"))), list(in(namespace("payments", "team", "web"))), but("does not cover namespace payments")},
		"namespace without labels":  {list(selecting(labelled("team", "pay"))), nil, but("does not cover namespace payments")},
		"any namespace":             {list(anyNamespace), list(in(namespace("a"), namespace("b"))), allowed("prod-edit", time.Hour)},
		"policy without namespaces": {list(clusterWide, noNamespaces), nil, but("does not cover namespace payments")},
		"name or label": {
			list(selecting(labelled("team", "pay")), func(s *v1alpha1.AccessPolicySpec) { s.Namespaces.Names = list("shared") }),
			list(in(namespace("payments", "team", "pay"), namespace("shared"))),
			allowed("prod-edit", time.Hour),
		},
		"more namespaces than are told": {
			list(namespaces("a", "b")),
			list(in(namespace("a"), namespace("b"), namespace("c"), namespace("d"), namespace("e"), namespace("f"), namespace("g"), namespace("h"), namespace("i"), namespace("j"))),
			refused(`no policy lets alice (group dev) request ClusterRole edit in a, b, c, d, e, f, g, h and 2 more; closest is "prod-edit", which does not cover namespace c, d, e, f, g, h, i, j`),
		},

		"cluster where it is allowed": {list(clusterWide, noNamespaces), list(everywhere), allowed("prod-edit", time.Hour)},
		"cluster by default":          {list(anyNamespace), list(everywhere), refused(`no policy lets alice (group dev) request ClusterRole edit in the whole cluster; closest is "prod-edit", which forbids cluster-wide access`)},
		"cluster where it is forbidden": {
			list(anyNamespace, func(s *v1alpha1.AccessPolicySpec) { s.ClusterScope = v1alpha1.ClusterScopeForbidden }), list(everywhere),
			refused(`no policy lets alice (group dev) request ClusterRole edit in the whole cluster; closest is "prod-edit", which forbids cluster-wide access`),
		},

		"self, another user":            {nil, list(subjects(user("bob"))), but("allows access for the requester only, not for bob")},
		"self and another":              {nil, list(subjects(user("alice"), user("bob"))), but("allows access for the requester only, not for bob")},
		"self, their own group":         {list(forSubjects(v1alpha1.SubjectsSelf)), list(subjects(group("dev"))), but("allows access for the requester only, not for group:dev")},
		"self, a ServiceAccount":        {list(forSubjects(v1alpha1.SubjectsSelf)), list(subjects(account("payments", "ci"))), but("allows access for the requester only, not for sa:payments/ci")},
		"self, in other letters":        {nil, list(subjects(user("Alice"))), but("allows access for the requester only, not for Alice")},
		"accounts, one of the request":  {list(forSubjects(v1alpha1.SubjectsServiceAccounts)), list(subjects(account("payments", "ci"))), allowed("prod-edit", time.Hour)},
		"accounts, and the requester":   {list(forSubjects(v1alpha1.SubjectsServiceAccounts)), list(subjects(user("alice"), account("payments", "ci"))), allowed("prod-edit", time.Hour)},
		"accounts, one from elsewhere":  {list(forSubjects(v1alpha1.SubjectsServiceAccounts)), list(subjects(account("payments", "ci"), account("billing", "ci"))), but("allows other subjects only when they are ServiceAccounts of namespace payments, which sa:billing/ci is not")},
		"accounts, a user":              {list(forSubjects(v1alpha1.SubjectsServiceAccounts)), list(subjects(user("bob"))), but("allows other subjects only when they are ServiceAccounts of namespace payments, which bob is not")},
		"accounts, a user named so":     {list(forSubjects(v1alpha1.SubjectsServiceAccounts)), list(subjects(user("system:serviceaccount:payments:ci"))), but("allows other subjects only when they are ServiceAccounts of namespace payments, which system:serviceaccount:payments:ci is not")},
		"accounts, a group":             {list(forSubjects(v1alpha1.SubjectsServiceAccounts)), list(subjects(group("dev"))), but("allows other subjects only when they are ServiceAccounts of namespace payments, which group:dev is not")},
		"any, all kinds":                {list(forSubjects(v1alpha1.SubjectsAny)), list(subjects(user("bob"), group("ops"), account("billing", "ci"))), allowed("prod-edit", time.Hour)},
		"account for itself, elsewhere": {list(requesters(account("billing", "ci"))), list(asker("system:serviceaccount:billing:ci"), subjects(account("billing", "ci"))), allowed("prod-edit", time.Hour)},

		"duration asked for":        {nil, list(lasting(30 * time.Minute)), allowed("prod-edit", 30*time.Minute)},
		"duration at the maximum":   {nil, list(lasting(time.Hour)), allowed("prod-edit", time.Hour)},
		"duration over the maximum": {nil, list(lasting(time.Hour + time.Second)), but("allows at most 1h")},
		"duration by default":       {list(byDefault(10 * time.Minute)), nil, allowed("prod-edit", 10*time.Minute)},
		"duration over the default": {list(byDefault(10 * time.Minute)), list(lasting(20 * time.Minute)), allowed("prod-edit", 20*time.Minute)},
		"default over the maximum":  {list(byDefault(2 * time.Hour)), nil, but("allows at most 1h")},

		"task, where it is required": {list(taskRequired), list(withTask(nil)), allowed("prod-edit", time.Hour)},
		"no task, where it is":       {list(taskRequired), nil, but("requires a task")},
		"task, where it is not":      {nil, list(withTask(nil)), allowed("prod-edit", time.Hour)},

		"credential, where it issues one": {list(issues), list(keyed), allowed("prod-edit", time.Hour)},
		"credential, where it does not":   {nil, list(keyed), but("gives the access to the requester's own identity: ask without --credential")},
		"none, where it issues one":       {list(issues), nil, but("issues a credential: ask with --credential")},
		"none, where it says Own":         {list(ownOnly), nil, allowed("prod-edit", time.Hour)},

		"extension, where none is allowed": {nil, list(extending("prod-edit", 1)), but("allows no extensions: ask for new access")},
		"extension":                        {list(extendable(2)), list(extending("prod-edit", 2)), allowed("prod-edit", time.Hour)},
		"one extension too many":           {list(extendable(2)), list(extending("prod-edit", 3)), but("has maxExtensions 2, and this would be extension number 3: ask for new access")},
		"extension under another policy":   {list(extendable(2)), list(extending("another", 1)), but("is not the policy that gave the access, only one of its name")},
		"extension for too long":           {list(extendable(2)), list(extending("prod-edit", 1), lasting(2*time.Hour)), but("allows at most 1h")},

		"condition that holds":             {list(onlyIf("ticket", "request.spec.ticket.startsWith('INC-')", "")), nil, allowed("prod-edit", time.Hour)},
		"condition that does not":          {list(onlyIf("ticket", "request.spec.ticket.startsWith('CHG-')", "name a change")), nil, but(`has the condition "ticket" (name a change), which does not hold`)},
		"condition without a message":      {list(onlyIf("ticket", "request.spec.ticket == ''", "")), nil, but(`has the condition "ticket" (request.spec.ticket == ''), which does not hold`)},
		"conditions must all hold":         {list(onlyIf("a", "true", ""), onlyIf("b", "false", "never")), nil, but(`has the condition "b" (never), which does not hold`)},
		"each condition is told":           {list(onlyIf("a", "false", "no"), onlyIf("b", "false", "never")), nil, but(`has the condition "a" (no), which does not hold and has the condition "b" (never), which does not hold`)},
		"condition without an answer":      {list(cannotTell), nil, unknown(`policy "prod-edit" cannot be used: condition "unclear": 1:13: no such key: absent`)},
		"no is an answer, error or not":    {list(cannotTell, onlyIf("b", "false", "never")), nil, but(`has the condition "b" (never), which does not hold`)},
		"an error after a no":              {list(onlyIf("b", "false", "never"), cannotTell), nil, but(`has the condition "b" (never), which does not hold`)},
		"the first error is told":          {list(cannotTell, onlyIf("b", "request.spec.other", "")), nil, unknown(`policy "prod-edit" cannot be used: condition "unclear": 1:13: no such key: absent`)},
		"an error after a yes":             {list(onlyIf("b", "true", ""), cannotTell), nil, unknown(`policy "prod-edit" cannot be used: condition "unclear": 1:13: no such key: absent`)},
		"condition on another's request":   {list(requesters(group("ops")), cannotTell), nil, but("is for group:ops")},
		"condition on the task":            {list(onlyIf("task", "task.kind == 'Job'", "")), list(withTask(map[string]any{"kind": "Job"})), allowed("prod-edit", time.Hour)},
		"condition on a task not there":    {list(onlyIf("task", "task == null", "")), list(withTask(nil)), allowed("prod-edit", time.Hour)},
		"condition waits for the task":     {list(onlyIf("task", "task.kind == 'Job'", "")), list(withTask(nil)), unknown(`policy "prod-edit" cannot be used: condition "task": 1:5: no such key: kind`)},
		"condition on the moment":          {list(onlyIf("now", "now == timestamp('2026-07-15T12:00:00Z')", "")), nil, allowed("prod-edit", time.Hour)},
		"no namespace to a cluster's":      {list(clusterWide, onlyIf("ns", "namespaceObject == null", "")), list(everywhere), allowed("prod-edit", time.Hour)},
		"condition false for the cluster":  {list(clusterWide, onlyIf("ns", "namespaceObject != null", "not all of it")), list(everywhere), refused(`no policy lets alice (group dev) request ClusterRole edit in the whole cluster; closest is "prod-edit", which has the condition "ns" (not all of it), which does not hold`)},
		"all that is wrong":                {list(taskRequired), list(asker("bob"), wants(clusterRole("admin")), in(namespace("web")), lasting(2*time.Hour), subjects(user("carol"))), refused(`no policy lets bob request ClusterRole admin in web; closest is "prod-edit", which is for group:dev and allows view, edit and does not cover namespace web and allows access for the requester only, not for carol and allows at most 1h and requires a task`)},
		"conditions only if all else fits": {list(taskRequired, onlyIf("b", "false", "never")), nil, but("requires a task")},

		"not ready":                      {list(broken), nil, unknown(`policy "prod-edit" cannot be used: condition "broken": 1:1: undeclared reference to 'nope'`)},
		"not ready and another's":        {list(broken, requesters(group("ops"))), nil, but("is for group:ops")},
		"not ready, and for other roles": {list(broken, roles(clusterRole("view"))), nil, but("allows view")},
		"not ready, a no is not asked":   {list(approvers(user("bob")), approvals(2), onlyIf("b", "false", "never")), nil, unknown(`policy "prod-edit" cannot be used: approvals "sre": count is 2, but its people can give no more than 1`)},
		"not ready by its selector":      {list(selecting(unreadable)), nil, unknown(`policy "prod-edit" cannot be used: namespaces.selector: "Near" is not a valid label selector operator`)},

		"groups of the requester": {nil, list(asker("bob", "ops", "system:masters", "qa"), subjects(user("bob"))), refused(`no policy lets bob (groups ops, qa) request ClusterRole edit in payments; closest is "prod-edit", which is for group:dev`)},
		"more groups than are told": {
			nil, list(asker("bob", "1", "2", "3", "4", "5", "6", "7", "8", "9"), subjects(user("bob"))),
			refused(`no policy lets bob (groups 1, 2, 3, 4, 5, 6, 7, 8 and 1 more) request ClusterRole edit in payments; closest is "prod-edit", which is for group:dev`),
		},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, test.want, find(list(compiled("prod-edit", test.policy...)), newRequest(test.request...), noon))
		})
	}
}

// TestFindAmong picks one policy of several, whatever their order.
func TestFindAmong(t *testing.T) {
	why := func(policy, why string) answer {
		return refused(fmt.Sprintf("no policy lets alice (group dev) request ClusterRole edit in payments; closest is %q, which %s", policy, why))
	}
	for name, test := range map[string]struct {
		policies []*Policy
		request  []ofRequest
		want     answer
	}{
		"none at all":            {nil, nil, refused("no policy lets alice (group dev) request ClusterRole edit: there are no policies yet")},
		"none, by name":          {nil, list(under("b")), refused(`there is no policy "b"`)},
		"the most careful":       {list(compiled("a", approvals(1)), compiled("b", approvals(3)), compiled("c", approvals(2))), nil, allowed("b", time.Hour)},
		"the first of a tie":     {list(compiled("c", approvals(2)), compiled("b", approvals(2)), compiled("a", approvals(1))), nil, allowed("b", time.Hour)},
		"one approval if unsaid": {list(compiled("a", approvals(0)), compiled("b")), nil, allowed("b", time.Hour)},
		"its own duration":       {list(compiled("a", approvals(1), byDefault(time.Minute)), compiled("b", approvals(2), byDefault(2*time.Minute))), nil, allowed("b", 2*time.Minute)},
		"the only one that may": {
			list(compiled("a", approvals(2), roles(clusterRole("view"))), compiled("b", approvals(0)), compiled("c", approvals(2), onlyIf("no", "false", ""))),
			nil, allowed("b", time.Hour),
		},
		"the one that lasts": {
			list(compiled("short", approvals(2)), compiled("long", approvals(1), func(s *v1alpha1.AccessPolicySpec) { s.MaxDuration.Duration = 8 * time.Hour })),
			list(lasting(2 * time.Hour)), allowed("long", 2*time.Hour),
		},

		"could be met before could not": {
			list(compiled("a", approvals(2), approvers(user("alice"), user("bob"))), compiled("b", approvals(1))), nil, allowed("b", time.Hour),
		},
		"could be met before careful and not": {
			list(compiled("a", approvals(16), approvers(group("dev")), forSubjects(v1alpha1.SubjectsAny)), compiled("b", approvals(0), forSubjects(v1alpha1.SubjectsAny))),
			list(subjects(group("dev"))), allowed("b", time.Hour),
		},
		"by name, could not be met": {
			list(compiled("a", approvals(1), approvers(user("alice"))), compiled("b")), list(under("a")),
			refused(`policy "a" does not let alice (group dev) request ClusterRole edit in payments: it could never be met for this request: it needs 1 of alice, and alice is the requester`),
		},
		"by name, the least careful": {list(compiled("a", approvals(2)), compiled("break-glass", approvals(0))), list(under("break-glass")), allowed("break-glass", time.Hour)},
		"by name, no other":          {list(compiled("a"), compiled("b", roles(clusterRole("view")))), list(under("b")), refused(`policy "b" does not let alice (group dev) request ClusterRole edit in payments: it allows view`)},
		"by name, none such":         {list(compiled("a")), list(under("b")), refused(`there is no policy "b"`)},
		"by name, exactly":           {list(compiled("a")), list(under("A")), refused(`there is no policy "A"`)},
		"by name, for the cluster":   {list(compiled("a")), list(under("a"), everywhere), refused(`policy "a" does not let alice (group dev) request ClusterRole edit in the whole cluster: it forbids cluster-wide access`)},
		"by name, not ready":         {list(compiled("a"), compiled("b", cannotTell)), list(under("b")), unknown(`policy "b" cannot be used: condition "unclear": 1:13: no such key: absent`)},
		"by name, another not ready": {list(compiled("a", cannotTell), compiled("b", roles(clusterRole("view")))), list(under("b")), refused(`policy "b" does not let alice (group dev) request ClusterRole edit in payments: it allows view`)},

		"not ready beside one that may":     {list(compiled("a", approvals(0)), compiled("b", approvals(2), cannotTell)), nil, allowed("a", time.Hour)},
		"not ready beside one that may not": {list(compiled("a", roles(clusterRole("view"))), compiled("b", cannotTell)), nil, unknown(`policy "b" cannot be used: condition "unclear": 1:13: no such key: absent`)},
		"not ready and not about this":      {list(compiled("a", roles(clusterRole("view"))), compiled("b", broken, requesters(group("ops")))), nil, why("a", "allows view")},
		"each that is not ready": {
			list(compiled("b", cannotTell), compiled("a", onlyIf("task", "task.kind == 'Job'", ""))), nil,
			unknown(`policy "a" cannot be used: condition "task": 1:5: no such key: kind; policy "b" cannot be used: condition "unclear": 1:13: no such key: absent`),
		},

		"nearest, one's own before another's": {
			list(compiled("a", requesters(group("ops"))), compiled("b", roles(clusterRole("view")), namespaces("web"))), nil,
			why("b", "allows view and does not cover namespace payments"),
		},
		"nearest, what it is about before how": {
			list(compiled("a", roles(clusterRole("view"))), compiled("b", taskRequired, func(s *v1alpha1.AccessPolicySpec) { s.MaxDuration.Duration = time.Minute })),
			list(lasting(time.Hour)),
			why("b", "allows at most 1m and requires a task"),
		},
		"nearest, the fewest faults": {list(compiled("a", roles(clusterRole("view")), taskRequired), compiled("b", roles(clusterRole("view")))), nil, why("b", "allows view")},
		// Real cases: the nearest policy needs the smallest change.
		"nearest, a longer maximum": {
			list(compiled("a", func(s *v1alpha1.AccessPolicySpec) { s.MaxDuration.Duration = time.Minute }), compiled("b")), list(lasting(2 * time.Hour)),
			why("b", "allows at most 1h"),
		},
		"nearest, only longer before elsewhere": {
			list(compiled("a", roles(clusterRole("view")), namespaces("web")), compiled("b")), list(lasting(2 * time.Hour)),
			why("b", "allows at most 1h"),
		},
		"nearest, the role of that name": {
			list(compiled("a", roles(clusterRole("view"))), compiled("b", roles(role("edit")))), nil,
			why("b", "allows Role edit"),
		},
		"nearest, only a condition": {
			list(compiled("a", roles(clusterRole("view"))), compiled("b", onlyIf("hours", "false", "9 to 17"))), nil,
			why("b", `has the condition "hours" (9 to 17), which does not hold`),
		},
		"nearest, everybody's policy is no stranger's": {
			list(compiled("a", requesters(group("ops"))), compiled("b", requesters(group("dev"), group("qa")), roles(clusterRole("view")))), nil,
			why("b", "allows view"),
		},
		"nearest, by name in a tie": {list(compiled("b", roles(clusterRole("view"))), compiled("a", roles(clusterRole("admin")))), nil, why("a", "allows admin")},
		"nearest, two strangers":    {list(compiled("b", requesters(group("ops"))), compiled("a", requesters(group("qa")), taskRequired)), nil, why("b", "is for group:ops")},
	} {
		t.Run(name, func(t *testing.T) {
			request := newRequest(test.request...)
			check(t, test.want, find(test.policies, request, noon))
			slices.Reverse(test.policies)
			check(t, test.want, find(test.policies, request, noon))
		})
	}
}

// TestFindEachNamespace: a condition must hold in each namespace, and an error
// in one does not hide a no in another.
func TestFindEachNamespace(t *testing.T) {
	policy := list(compiled("prod-edit", anyNamespace, onlyIf("calm", "namespaceObject.metadata.labels.freeze == 'off'", "changes are frozen")))
	calm, frozen, unclear := namespace("calm", "freeze", "off"), namespace("frozen", "freeze", "on"), namespace("unclear")
	no := func(where string) answer {
		return refused(`no policy lets alice (group dev) request ClusterRole edit in ` + where + `; closest is "prod-edit", which has the condition "calm" (changes are frozen), which does not hold`)
	}
	cannot := unknown(`policy "prod-edit" cannot be used: condition "calm": 1:32: no such key: freeze`)
	for name, test := range map[string]struct {
		in   []Namespace
		want answer
	}{
		"one":           {list(calm), allowed("prod-edit", time.Hour)},
		"all":           {list(calm, calm), allowed("prod-edit", time.Hour)},
		"not the first": {list(frozen, calm), no("frozen, calm")},
		"not the last":  {list(calm, frozen), no("calm, frozen")},
		"told once":     {list(frozen, frozen), no("frozen, frozen")},
		"unclear":       {list(calm, unclear), cannot},
		"unclear first": {list(unclear, calm), cannot},
		"no, then what": {list(frozen, unclear), no("frozen, unclear")},
		"what, then no": {list(unclear, frozen), no("unclear, frozen")},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, test.want, find(policy, newRequest(in(test.in...)), noon))
		})
	}
}

// TestNearestInNamespaces: of two policies that do not cover all namespaces, the one
// that covers more is closest.
func TestNearestInNamespaces(t *testing.T) {
	policies := list(compiled("a", namespaces("web")), compiled("b", namespaces("payments", "billing")))
	check(t, refused(`no policy lets alice (group dev) request ClusterRole edit in billing, payments, web; closest is "b", which does not cover namespace web`),
		find(policies, newRequest(in(namespace("billing"), namespace("payments"), namespace("web"))), noon))
}

// TestFindWorkingHours: eight in Berlin is another hour in UTC before and after
// the clocks change, on the last Sundays of March and October.
func TestFindWorkingHours(t *testing.T) {
	policy := list(compiled("prod-edit", onlyIf("working-hours",
		"now.getDayOfWeek('Europe/Berlin') in [1, 2, 3, 4, 5] && now.getHours('Europe/Berlin') >= 8 && now.getHours('Europe/Berlin') < 18",
		"weekdays from 8 to 18 in Berlin")))
	no := but(`has the condition "working-hours" (weekdays from 8 to 18 in Berlin), which does not hold`)
	for now, want := range map[string]answer{
		"2026-03-27T06:59:59Z":      no, // Friday, 07:59:59
		"2026-03-27T07:00:00Z":      allowed("prod-edit", time.Hour),
		"2026-03-27T16:59:59Z":      allowed("prod-edit", time.Hour),
		"2026-03-27T17:00:00Z":      no,
		"2026-03-29T10:00:00Z":      no, // Sunday
		"2026-03-30T05:59:59Z":      no, // Monday, 07:59:59, an hour on
		"2026-03-30T06:00:00Z":      allowed("prod-edit", time.Hour),
		"2026-03-30T15:59:59Z":      allowed("prod-edit", time.Hour),
		"2026-03-30T16:00:00Z":      no,
		"2026-10-23T06:00:00Z":      allowed("prod-edit", time.Hour), // Friday
		"2026-10-23T16:00:00Z":      no,
		"2026-10-26T06:00:00Z":      no, // Monday, an hour back
		"2026-10-26T16:59:59Z":      allowed("prod-edit", time.Hour),
		"2026-03-30T15:00:00+09:00": allowed("prod-edit", time.Hour), // 06:00 in UTC
		"2026-03-30T08:00:00-07:00": allowed("prod-edit", time.Hour), // 15:00 in UTC
		"2026-03-30T09:00:00-07:00": no,
	} {
		t.Run(now, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, now)
			if err != nil {
				t.Fatal(err)
			}
			check(t, want, find(policy, newRequest(), at))
		})
	}
}

// TestFindCancelled: when time runs out, there is no answer.
func TestFindCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("shutting down"))
	got := Find(ctx, list(compiled("prod-edit", onlyIf("a", "true", ""))), newRequest(), noon)
	if got.Answer != Unknown || got.Policy != nil || !strings.Contains(got.Message, "shutting down") {
		t.Errorf("got %+v", got)
	}
}

func TestAllows(t *testing.T) {
	type result struct {
		OK       bool
		Why, Err string
	}
	for name, test := range map[string]struct {
		policy  []ofPolicy
		request []ofRequest
		want    result
	}{
		"allows":                  {nil, nil, result{OK: true}},
		"does not":                {list(roles(clusterRole("view")), taskRequired), nil, result{Why: "allows view and requires a task"}},
		"condition does not hold": {list(onlyIf("a", "false", "never")), nil, result{Why: `has the condition "a" (never), which does not hold`}},
		"cannot tell":             {list(cannotTell), nil, result{Err: `condition "unclear": 1:13: no such key: absent`}},
		"not ready":               {list(approvals(2), approvers(user("bob"))), nil, result{Err: "approvals \"sre\": count is 2, but its people can give no more than 1"}},
		"not ready, plainly not":  {list(broken), list(lasting(2 * time.Hour)), result{Why: "allows at most 1h"}},
		"whatever its name":       {nil, list(under("another")), result{OK: true}},
	} {
		t.Run(name, func(t *testing.T) {
			ok, why, err := compiled("prod-edit", test.policy...).Allows(context.Background(), newRequest(test.request...), noon)
			got := result{OK: ok, Why: why}
			if err != nil {
				got.Err = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// FuzzFind: of any policies and any request, the answer does not depend on the
// order of the policies, the most careful of those that allow it decides and
// gives the duration asked for, and no request is refused for good while a
// policy that might allow it cannot be used.
func FuzzFind(f *testing.F) {
	f.Add([]byte{}, byte(0), int64(1))
	f.Add([]byte{0, 1, 2, 3}, byte(0), int64(1))
	f.Add([]byte{0x40, 0x80, 0xc0}, byte(1), int64(2))
	f.Add([]byte{0x04, 0x08, 0x10, 0x20, 0x42}, byte(2), int64(3))
	f.Add([]byte{0xff, 0x7f, 0x3f, 0x1f}, byte(0xff), int64(4))
	conditions := list[ofPolicy](
		func(*v1alpha1.AccessPolicySpec) {}, cannotTell, broken, onlyIf("no", "false", ""))
	f.Fuzz(func(t *testing.T, bits []byte, ask byte, seed int64) {
		request := newRequest(lasting(time.Duration(ask%4) * 30 * time.Minute))
		if ask&4 != 0 {
			request.Namespaces = append(request.Namespaces, namespace("web"))
		}
		if ask&8 != 0 {
			request.PolicyName = "p1"
		}
		var policies []*Policy
		for i, b := range bits[:min(len(bits), 6)] {
			changes := list(approvals(int32(b%4)), conditions[b>>6])
			if b&4 != 0 {
				changes = append(changes, anyNamespace)
			}
			if b&8 != 0 {
				changes = append(changes, requesters(group("ops")))
			}
			if b&16 != 0 {
				changes = append(changes, taskRequired)
			}
			policies = append(policies, compiled(fmt.Sprintf("p%d", i), changes...))
		}
		got := find(policies, request, noon)

		rand.New(rand.NewSource(seed)).Shuffle(len(policies), func(i, j int) { policies[i], policies[j] = policies[j], policies[i] })
		check(t, got, find(policies, request, noon))

		most, mostCareful, unclear := -1, "", false
		for _, p := range policies {
			if request.PolicyName != "" && request.PolicyName != p.Name {
				continue
			}
			ok, why, err := p.Allows(context.Background(), request, noon)
			if (err != nil && (ok || why != "")) || (err == nil && ok != (why == "")) {
				t.Errorf("%s: %v, %q, %v", p.Name, ok, why, err)
			}
			unclear = unclear || err != nil
			stages, _ := p.stagesFor(request)
			if needed := v1alpha1.RequiredBy(stages); ok && (needed > most || needed == most && p.Name < mostCareful) {
				most, mostCareful = needed, p.Name
			}
		}
		want := NotAllowed
		switch {
		case most >= 0:
			want = Allowed
		case unclear:
			want = Unknown
		}
		if got.Answer != want || got.Policy != mostCareful || got.Message == "" {
			t.Errorf("got %+v; want %s by %q", got, want, mostCareful)
		}
		if got.Answer == Allowed && (got.Duration != *request.Duration || got.Duration > time.Hour) {
			t.Errorf("allowed for %s; asked for %s", got.Duration, *request.Duration)
		}
	})
}
