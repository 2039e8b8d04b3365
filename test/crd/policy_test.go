package crd

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

// outside is what is said of a duration that is not in its bounds.
func outside(name string) string {
	return "spec." + name + ": …" + name + " must be between 1s and 720h"
}

// runtimeCopy is a deep copy as JSON has it, so that edits can go into it.
func runtimeCopy(o object) object {
	body, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var out object
	if err := json.Unmarshal(body, &out); err != nil {
		panic(err)
	}
	return runtime.DeepCopyJSON(out)
}

func TestAccessPolicy(t *testing.T) {
	user := func(name string) object { return object{"kind": "User", "name": name} }
	matching := func(pattern string) object { return object{"kind": "SPIFFE", "name": pattern} }
	named := func(i int) object { return user(numbered("u")(i)) }
	approvals := func(n int, approvers ...object) edit {
		return set("spec.approvals", []any{object{"name": "sre", "from": approvers, "count": n}})
	}
	stage := func(name string, count int, people []object) object {
		return object{"name": name, "from": people, "count": count}
	}
	people := func(n int) (out []object) {
		for i := range n {
			out = append(out, named(i))
		}
		return out
	}
	many := []object{{"kind": "Group", "name": "many"}}
	const (
		either  = "spec.approvals[0]: …exactly one of from and fromNamespaceLabel is required"
		tooMany = "spec.approvals[0]: …count is more than the people in from can give"
		twice   = "spec.approvals[0].from: …name each approver only once"
		word    = "name must be one word, such as owners"
		what    = "spec: …at least one of roles and rules is required"
		where   = "spec: …at least one of namespaces and clusterScope: Allowed is required"
		within  = "spec: …defaultDuration must not be above maxDuration"
	)
	robot := object{"kind": "ServiceAccount", "name": "bob", "namespace": "ops"}

	policySpec.check(t, []testCase{
		{"every field", same, accepted},
		{"no spec", unset("spec"), "spec: …Required value"},
		{"no requesters", unset("spec.requesters"), "spec.requesters: …Required value"},
		{"no approvals", unset("spec.approvals"), "spec.approvals: …Required value"},
		{"approvals that are null", set("spec.approvals", nil), "spec.approvals: …Required value"},
		{"no maxDuration", unset("spec.maxDuration"), "spec.maxDuration: …Required value"},
	})

	t.Run("approvers", func(t *testing.T) {
		policySpec.check(t, []testCase{
			{"no stage", set("spec.approvals", []any{}), accepted},
			{"none needed, one named", approvals(0, user("bob")), accepted},
			{"none named", set("spec.approvals.0.from", []any{}), "spec.approvals[0].from: …should have at least 1 items"},
			{"neither list nor label", unset("spec.approvals.0.from"), either},
			{"both list and label", set("spec.approvals.0.fromNamespaceLabel", object{"key": "team"}), either},
			{"count left out, and one is named", both(approvals(1, user("bob")), unset("spec.approvals.0.count")), accepted},
			{"a label may name many", set("spec.approvals.1.count", 15), accepted},
			{"two stages of one name", set("spec.approvals.1.name", "sre"), "spec.approvals[1]: …Duplicate value"},
			{"counts of 16 together", both(set("spec.approvals.0", stage("sre", 8, many)), set("spec.approvals.1", stage("sec", 8, many))), accepted},
			{"counts of 17 together", both(set("spec.approvals.0", stage("sre", 8, many)), set("spec.approvals.1", stage("sec", 9, many))), "spec.approvals: …the counts of all stages together are at most 16"},
			{"64 approvers together", set("spec.approvals", []any{stage("a", 1, people(32)), stage("b", 1, people(32))}), accepted},
			{"65 approvers together", set("spec.approvals", []any{stage("a", 1, people(32)), stage("b", 1, people(32)), stage("c", 1, people(1))}), "spec.approvals: …all stages together name at most 64 approvers"},
			{"as many as there are", approvals(2, user("bob"), user("carol")), accepted},
			{"more than there are", approvals(3, user("bob"), user("carol")), tooMany},
			{"a group may have many", approvals(16, object{"kind": "Group", "name": "sre"}), accepted},
			{"a pattern may stand for many", approvals(16, matching("spiffe://example.org/ns/*/sa/deployer")), accepted},
			{"a trust domain may have many", approvals(16, matching("spiffe://example.org/**")), accepted},
			{"a pattern without a wildcard is one", approvals(2, matching("spiffe://example.org/ns/payments/sa/deployer")), tooMany},
			{"one pattern named twice", approvals(2, matching("spiffe://example.org/**"), matching("spiffe://example.org/**")), twice},
			{"one named twice", approvals(2, user("bob"), user("bob")), twice},
			{"one named twice in two ways", approvals(2, user("bob"), object{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}), twice},
			{"a ServiceAccount twice", approvals(2, robot, robot), twice},
			{"a ServiceAccount and a user of one name", approvals(2, robot, user("bob")), accepted},
			{"ServiceAccounts of one name in two namespaces", approvals(2, robot, object{"kind": "ServiceAccount", "name": "bob", "namespace": "dev"}), accepted},
		})
		policySpec.check(t, cases(
			policySubjects(t, "spec.approvals.0.from.0"),
			lengths("spec.approvals.0.from", 1, 32, named),
			lengths("spec.approvals", 0, 8, func(i int) object { return stage(numbered("s")(i), 1, many) }),
			missing("spec.approvals.0.name"), missing("spec.approvals.1.fromNamespaceLabel.key"),
			ok("spec.approvals.0.name", strings.Repeat("s", 63)), no("spec.approvals.0.name", strings.Repeat("s", 64), "Too long"), no("spec.approvals.0.name", "", "should be at least 1 chars long"),
			no("spec.approvals.0.name", "Owners", word), no("spec.approvals.0.name", "a b", word), no("spec.approvals.0.name", "-a", word), no("spec.approvals.0.name", "a\n", word),
			labelKeys("spec.approvals.1.fromNamespaceLabel.key"),
			ok("spec.approvals.1.fromNamespaceLabel.prefix", ""), visible("spec.approvals.1.fromNamespaceLabel.prefix", 256),
			no("spec.approvals.1.fromNamespaceLabel.prefix", "system:", "belong to Kubernetes and approve nothing by a label"),
			ok("spec.approvals.1.fromNamespaceLabel.suffix", ""), visible("spec.approvals.1.fromNamespaceLabel.suffix", 256),
			moments("spec.requesters.1.until", "spec.requesters.1.until"), zonedMoments("spec.requesters.1.until"),
			policySubjects(t, "spec.requesters.0"),
			lengths("spec.requesters", 1, 64, named),
			// Whoever has an account may be allowed to ask.
			testCase{"requesters of Kubernetes", set("spec.requesters", []any{object{"kind": "Group", "name": "system:authenticated"}}), accepted},
		))
		for _, tc := range number("spec.approvals.0.count", 0, 16) {
			policySpec.check(t, []testCase{{tc.name, both(set("spec.approvals", []any{stage("sre", 1, many)}), tc.edit), tc.want}})
		}
	})

	t.Run("roles and rules", func(t *testing.T) {
		role := func(i int) object { return object{"kind": "ClusterRole", "name": numbered("r")(i)} }
		policySpec.check(t, cases(
			roleRefs("spec.roles.0"),
			lengths("spec.roles", 1, 64, role),
			policyRules("spec.rules.0"),
			lengths("spec.rules", 1, 64, func(int) object { return object{"verbs": []string{"get"}} }),
		))
		policySpec.check(t, []testCase{
			{"neither", unset("spec.roles", "spec.rules"), what},
			{"roles only", unset("spec.rules"), accepted},
			{"rules only", unset("spec.roles"), accepted},
			{"one role twice", set("spec.roles", []any{role(1), role(1)}), "spec.roles[1]: …Duplicate value"},
			{"a Role and a ClusterRole of one name", set("spec.roles", []any{role(1), object{"kind": "Role", "name": "r1"}}), accepted},
		})
	})

	t.Run("namespaces and clusterScope", func(t *testing.T) {
		policySpec.check(t, []testCase{
			{"neither", unset("spec.namespaces"), where},
			{"neither, by default", unset("spec.namespaces", "spec.clusterScope"), where},
			{"the cluster only", both(unset("spec.namespaces"), set("spec.clusterScope", "Allowed")), accepted},
			{"both", set("spec.clusterScope", "Allowed"), accepted},
			{"names only", unset("spec.namespaces.selector"), accepted},
			{"selector only", unset("spec.namespaces.names"), accepted},
			{"all namespaces", set("spec.namespaces", object{"selector": object{}}), accepted},
			{"nothing in namespaces", set("spec.namespaces", object{}), "spec.namespaces: …at least one of names and selector is required"},
		})
		policySpec.check(t, cases(
			choice("spec.clusterScope", "Allowed", "Forbidden"),
			namespaceNames("spec.namespaces.names", 256),
			selectors("spec.namespaces.selector"),
		))
	})

	t.Run("durations", func(t *testing.T) {
		for _, tc := range durations("spec.maxDuration", outside("maxDuration"), outside("maxDuration")) {
			policySpec.check(t, []testCase{{tc.name, both(unset("spec.defaultDuration"), tc.edit), tc.want}})
		}
		for _, tc := range durations("spec.defaultDuration", "spec.defaultDuration: …defaultDuration must be at least 1s", within) {
			policySpec.check(t, []testCase{{tc.name, both(set("spec.maxDuration", "720h"), tc.edit), tc.want}})
		}
		policySpec.check(t, durations("spec.pendingTimeout", outside("pendingTimeout"), outside("pendingTimeout")))
		policySpec.check(t, cases(reviews("spec.reviewWithin"), moments("spec.reviewBy", "spec.reviewBy"), zonedMoments("spec.reviewBy")))
		policySpec.check(t, []testCase{
			{"default as long as the maximum", both(set("spec.maxDuration", "1h"), set("spec.defaultDuration", "60m")), accepted},
			{"default above the maximum", both(set("spec.maxDuration", "1h"), set("spec.defaultDuration", "1h1s")), within},
			{"default that only looks shorter", both(set("spec.maxDuration", "10h"), set("spec.defaultDuration", "601m")), within},
		})
	})

	t.Run("choices and numbers", func(t *testing.T) {
		policySpec.check(t, cases(
			choice("spec.subjects", "Self", "ServiceAccounts", "Any"),
			choice("spec.task", "Optional", "Required"),
			choice("spec.onRoleWidened", "Revoke", "Keep"),
			choice("spec.credential", "Own", "Issued"),
			number("spec.maxPendingPerRequester", 1, 1000), number("spec.maxExtensions", 0, 100),
		))
	})

	t.Run("conditions", func(t *testing.T) {
		condition := func(i int) object { return object{"name": numbered("c")(i), "expression": "true"} }
		first := "spec.conditions.0"
		table := cases(
			missing(first+".name"), missing(first+".expression"),
			ok(first+".name", strings.Repeat("c", 63)), no(first+".name", strings.Repeat("c", 64), "Too long"),
			no(first+".name", "", "should be at least 1 chars long"),
			bounded(first+".expression", 1, 4096),
			ok(first+".message", ""), visible(first+".message", 512),
			lengths("spec.conditions", 0, 16, condition),
			testCase{"one name twice", set("spec.conditions", []any{condition(1), condition(2), condition(1)}), "spec.conditions[2]: …Duplicate value"},
			// Whether it compiles is the broker's to say, in the condition Ready.
			ok(first+".expression", "this is (no CEL"),
		)
		for _, v := range []string{"Working", "a b", "a.b", "a_b", "-a", "a\n"} {
			table = append(table, no(first+".name", v, "must be one word, such as working-hours"))
		}
		policySpec.check(t, table)
	})
}

// What is said of the use of the access.
func TestPolicyOfUse(t *testing.T) {
	use := func(i int) object { return object{"name": numbered("use-")(i), "expression": "true"} }
	const first, idle = "spec.suspicious.0", "spec.idleTimeout"
	table := cases(
		ok(idle, "1m"), ok(idle, "90s"), ok(idle, "720h"), no(idle, "59s", "idleTimeout must be between 1m and 720h"), no(idle, "721h", "idleTimeout must be between 1m and 720h"),
		no(idle, "1d", "must be written like 90s, 30m or 1h30m"), no(idle, "", "must be written like 90s, 30m or 1h30m"), no(idle, "1111111111111111h", "Too long"),
		choice("spec.onSessionsOpen", "Report", "EvictPod"),
		missing(first+".name"), missing(first+".expression"), bounded(first+".expression", 1, 4096),
		ok(first+".name", strings.Repeat("a", 63)), no(first+".name", strings.Repeat("a", 64), "Too long"), no(first+".name", "", "should be at least 1 chars long"),
		ok(first+".message", ""), visible(first+".message", 512),
		choice(first+".action", "Report", "Revoke"),
		lengths("spec.suspicious", 0, 16, use),
		testCase{"one name twice", set("spec.suspicious", []any{use(1), use(2), use(1)}), "spec.suspicious[2]: …Duplicate value"},
	)
	for _, v := range []string{"Secrets", "a b", "a.b", "a_b", "-a", "a\n"} {
		table = append(table, no(first+".name", v, "must be one word, such as second-address"))
	}
	policySpec.check(t, table)
}

func TestPolicyDefaults(t *testing.T) {
	o := parse(validPolicy)
	spec := o["spec"].(object)
	written := object{}
	for _, name := range []string{"requesters", "approvals", "roles", "namespaces", "maxDuration"} {
		written[name] = spec[name]
	}
	o["spec"] = written
	result := policySpec.send(t.Context(), o)
	body, err := result.Raw()
	if err != nil {
		t.Fatal(err)
	}
	var got object
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(written)
	maps.Copy(want, object{
		"clusterScope": "Forbidden", "subjects": "Self", "pendingTimeout": "24h", "maxPendingPerRequester": 10,
		"task": "Optional", "onRoleWidened": "Revoke", "onSessionsOpen": "Report", "credential": "Own",
	})
	if g, w := fmt.Sprint(got["spec"]), fmt.Sprint(want); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	policySpec.mustDecode(t, o, result)
}

func TestAccessPolicyStatus(t *testing.T) {
	policyStatus.check(t, cases(testCase{"empty", set("status", object{}), accepted}, bounded("status.approvals", 0, 1024), conditions("status.conditions", 8),
		testCase{"nobody confirmed it", unset("status.confirmed"), accepted},
		missing("status.confirmed.username"), missing("status.confirmed.uid"), missing("status.confirmed.generation"),
		named("status.confirmed.username", 2048), no("status.confirmed.username", "", "should be at least"),
		bounded("status.confirmed.uid", 1, 64), number("status.confirmed.generation", 1, 1<<53-1)))
}
