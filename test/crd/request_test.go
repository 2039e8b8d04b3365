package crd

import (
	"fmt"
	"strings"
	"testing"
)

const oneRole = "exactly one of roleRef, rules and extends is required"

func TestAccessRequest(t *testing.T) {
	user := func(name string) object { return object{"kind": "User", "name": name} }
	group := func(name string) object { return object{"kind": "Group", "name": name} }
	const reserved = "users and groups whose name begins with system: belong to Kubernetes and cannot be given access"
	const notOne = "a user whose name begins with spiffe:// must be one workload by its exact SPIFFE ID"
	rule := object{"verbs": []string{"get"}, "apiGroups": []string{""}, "resources": []string{"pods"}}
	withRules := func(o object) {
		unset("spec.roleRef")(o)
		set("spec.rules", []any{runtimeCopy(rule)})(o)
	}
	extends := func(o object) {
		unset(append(strings.Fields(optionalAsk), "spec.roleRef")...)(o)
		set("spec.extends", "fix")(o)
		set("spec.duration", "30m")(o)
	}
	only := func(field string, value any) edit { return set("spec.scope", object{field: value}) }
	const oneScope = "spec.scope: …exactly one of namespaces, namespaceSelector and cluster is required"

	requestSpec.check(t, []testCase{
		{"every field", same, accepted},
		{"only what is required", both(unset(strings.Fields(optionalAsk)...), set("spec.roleRef", object{"kind": "Role", "name": "deploy"})), accepted},
		{"no spec", unset("spec"), "spec: …Required value"},
		{"an unknown field", set("spec.duratoin", "1h"), `…unknown field "spec.duratoin"`},
	})
	requestSpec.check(t, cases(
		// Names are those of Kubernetes: the API server bounds them.
		ok("metadata.name", strings.Repeat("a.b-", 63)+"z"),
		no("metadata.name", strings.Repeat("a", 254), "no more than 253"),
		no("metadata.name", "a\u200bb", "RFC 1123"),
		no("metadata.name", "Fix", "RFC 1123"),
		no("metadata.name", "a/b", "RFC 1123"),
	))

	t.Run("requester", func(t *testing.T) {
		e.NeedsStamps(t)
		// Nobody can be somebody else: what the schema admits here, admission
		// refuses. The accepted values are in the test of AccessGrant.
		for i, tc := range users("spec.requester") {
			if tc.want == accepted {
				tc.want = "…spec.requester must be the authenticated user"
			}
			tc.edit = both(set("spec.requester", object{"username": "alice"}), tc.edit)
			requestSpec.check(t, []testCase{{fmt.Sprint(i, " ", tc.name), tc.edit, tc.want}})
		}
		requestSpec.check(t, []testCase{
			{"left out", unset("spec.requester"), accepted},
			{"empty", set("spec.requester", object{}), "spec.requester.username: …Required value"},
			{"a text", set("spec.requester", "alice"), "spec.requester: …must be of type object"},
		})
	})

	t.Run("subjects", func(t *testing.T) {
		requestSpec.check(t, cases(
			exactSubjects("spec.subjects.0"),
			lengths("spec.subjects", 1, 16, func(i int) object { return user(numbered("u")(i)) }),
		))
		requestSpec.check(t, []testCase{
			{"left out", unset("spec.subjects"), accepted},
			{"user of Kubernetes", set("spec.subjects", []any{user("alice"), user("system:admin")}), "spec.subjects: …" + reserved},
			{"ServiceAccount as a user", set("spec.subjects", []any{user("system:serviceaccount:payments:migrate")}), "spec.subjects: …" + reserved},
			{"group of Kubernetes", set("spec.subjects", []any{group("system:masters")}), "spec.subjects: …" + reserved},
			{"everybody", set("spec.subjects", []any{group("system:authenticated")}), "spec.subjects: …" + reserved},
			{"workload", set("spec.subjects", []any{user("spiffe://example.org/ns/payments/sa/deployer")}), accepted},
			{"trust domain", set("spec.subjects", []any{user("spiffe://example.org")}), "spec.subjects: …" + notOne},
			{"pattern as a user", set("spec.subjects", []any{user("spiffe://example.org/ns/*/sa/deployer")}), "spec.subjects: …" + notOne},
			{"SPIFFE ID of another spelling", set("spec.subjects", []any{user("alice"), user("spiffe://Example.org/x")}), "spec.subjects: …" + notOne},
			{"name that only contains spiffe:", set("spec.subjects", []any{user("oidc:spiffe://*")}), accepted},
			{"name that only contains system:", set("spec.subjects", []any{user("oidc:system:x")}), accepted},
			// The broker gives access once, however often somebody is named.
			{"one subject twice", set("spec.subjects", []any{user("alice"), user("alice")}), accepted},
		})
	})

	t.Run("roleRef and rules", func(t *testing.T) {
		requestSpec.check(t, roleRefs("spec.roleRef"))
		requestSpec.check(t, []testCase{
			{"neither", unset("spec.roleRef"), "spec: …" + oneRole},
			{"a role and extends", set("spec.extends", "fix"), "spec: …" + oneRole},
			{"extends", extends, accepted},
			{"both", set("spec.rules", []any{rule}), "spec: …" + oneRole},
			{"rules", withRules, accepted},
		})
		for _, tc := range cases(policyRules("spec.rules.0"), lengths("spec.rules", 1, 32, func(int) object { return rule })) {
			requestSpec.check(t, []testCase{{tc.name, both(withRules, tc.edit), tc.want}})
		}
	})

	t.Run("extends", func(t *testing.T) {
		const alone = "spec: …extends takes subjects, role, scope, policy and task from the request that it names: write only duration, reason and ticket"
		for _, tc := range cases(
			ok("spec.extends", "a.b-1"), ok("spec.extends", strings.Repeat("p", 253)), no("spec.extends", strings.Repeat("p", 254), "Too long"),
			no("spec.extends", "", "should be at least 1 chars long"), no("spec.extends", "Fix", "must be the name of an AccessRequest in this namespace"),
			no("spec.extends", "a/b", "must be the name of an AccessRequest in this namespace"), no("spec.extends", "a\nb", "must be the name of an AccessRequest in this namespace"),
		) {
			requestSpec.check(t, []testCase{{tc.name, both(extends, tc.edit), tc.want}})
		}
		o := parse(validRequest)["spec"].(object)
		for _, name := range []string{"subjects", "scope", "policyName", "startTime", "task"} {
			requestSpec.check(t, []testCase{{"with " + name, both(extends, set("spec."+name, o[name])), alone}})
		}
		requestSpec.check(t, []testCase{{"with credentialKey", both(extends, set("spec.credentialKey", someKey)), alone}})
	})

	t.Run("scope", func(t *testing.T) {
		requestSpec.check(t, []testCase{
			{"left out", unset("spec.scope"), accepted},
			{"namespaces", only("namespaces", []string{"a", "b"}), accepted},
			{"selector", only("namespaceSelector", object{"matchLabels": object{"a": "b"}}), accepted},
			{"cluster", only("cluster", object{}), accepted},
			{"none", set("spec.scope", object{}), oneScope},
			{"namespaces and cluster", set("spec.scope.cluster", object{}), oneScope},
			{"namespaces and selector", set("spec.scope.namespaceSelector", object{}), oneScope},
			{"selector and cluster", set("spec.scope", object{"namespaceSelector": object{}, "cluster": object{}}), oneScope},
			{"all three", both(set("spec.scope.namespaceSelector", object{}), set("spec.scope.cluster", object{})), oneScope},
			{"a field in cluster", only("cluster", object{"all": true}), `…unknown field "spec.scope.cluster.all"`},
			{"cluster: true", only("cluster", true), "spec.scope.cluster: …must be of type object"},
			{"a text", set("spec.scope", "payments"), "spec.scope: …must be of type object"},
		})
		requestSpec.check(t, namespaceNames("spec.scope.namespaces", 64))
		for _, tc := range selectors("spec.scope.namespaceSelector") {
			requestSpec.check(t, []testCase{{tc.name, both(only("namespaceSelector", object{}), tc.edit), tc.want}})
		}
	})

	t.Run("policyName", func(t *testing.T) {
		requestSpec.check(t, cases(
			ok("spec.policyName", "a.b-1"), ok("spec.policyName", strings.Repeat("p", 253)),
			no("spec.policyName", strings.Repeat("p", 254), "Too long"),
			no("spec.policyName", "", "should be at least 1 chars long"),
			no("spec.policyName", "Prod", "must be the name of an AccessPolicy, such as break-glass"), no("spec.policyName", "a/b", "must be the name of an AccessPolicy, such as break-glass"),
			no("spec.policyName", "a\nb", "must be the name of an AccessPolicy, such as break-glass"), no("spec.policyName", "a\u202eb", "must be the name of an AccessPolicy, such as break-glass"), no("spec.policyName", "*", "must be the name of an AccessPolicy, such as break-glass"),
		))
	})

	t.Run("times", func(t *testing.T) {
		requestSpec.check(t, durations("spec.duration", outside("duration"), outside("duration")))
		requestSpec.check(t, moments("spec.startTime", "spec.startTime"))
		requestSpec.check(t, zonedMoments("spec.startTime"))
	})

	t.Run("reason and ticket", func(t *testing.T) {
		requestSpec.check(t, cases(
			missing("spec.reason"),
			no("spec.reason", "", "should be at least 1 chars long"),
			no("spec.reason", " ", "reason must not be blank"),
			no("spec.reason", "\n", "reason must not be blank"),
			no("spec.reason", " \u00a0\u3000 ", "reason must not be blank"),
			no("spec.reason", strings.Repeat("x", 1<<20), "Too long"),
			no("spec.reason", strings.Repeat("x\n", 1<<19), "Too long"),
			no("spec.reason", []string{"x"}, "must be of type string"),
			visible("spec.reason", 1024),
			ok("spec.ticket", ""), ok("spec.ticket", "\n"),
			ok("spec.ticket", "https://example.com/browse/INC-42?x=1#y"),
			no("spec.ticket", strings.Repeat("x", 1<<20), "Too long"),
			visible("spec.ticket", 256),
		))
	})

	t.Run("task", func(t *testing.T) { requestSpec.check(t, tasks("spec.task")) })

	t.Run("credentialKey", func(t *testing.T) {
		for _, tc := range credentialKeys("spec.credentialKey") {
			requestSpec.check(t, []testCase{{tc.name, both(unset("spec.subjects"), tc.edit), tc.want}})
		}
		requestSpec.check(t, []testCase{{"with subjects", set("spec.credentialKey", someKey), "spec: …credentialKey and subjects exclude each other: only the requester gets an issued credential"}})
	})
}

func TestAccessRequestStatus(t *testing.T) {
	for _, tc := range selectors("status.extended.scope.namespaceSelector") {
		requestStatus.check(t, []testCase{{tc.name, both(set("status.extended.scope", object{"namespaceSelector": object{}}), tc.edit), tc.want}})
	}
	requestStatus.check(t, cases(
		testCase{"every field", same, accepted},
		testCase{"empty", set("status", object{}), accepted},
		choice("status.review", "AfterEnd", "Waiting", "Overdue", "Done"),
		choice("status.phase", "Pending", "Approved", "Active", "Completed", "Expired", "Revoked", "Denied", "Lapsed", "Failed"),
		policyRefs("status.policy"),
		credentials("status.credential"),
		missing("status.extended.requestUID"), bounded("status.extended.requestUID", 1, 64),
		missing("status.extended.grant"), references("status.extended.grant"),
		missing("status.extended.expirationTime"), moments("status.extended.expirationTime", "status.extended.expirationTime"),
		missing("status.extended.policyName"), bounded("status.extended.policyName", 1, 253),
		exactSubjects("status.extended.subjects.0"),
		lengths("status.extended.subjects", 0, 16, func(i int) object { return object{"kind": "User", "name": numbered("u")(i)} }),
		roleRefs("status.extended.roleRef"),
		policyRules("status.extended.rules.0"),
		lengths("status.extended.rules", 0, 32, func(int) object { return object{"verbs": []string{"get"}} }),
		testCase{"two scopes extended", set("status.extended.scope.cluster", object{}), "status.extended.scope: …exactly one of namespaces, namespaceSelector and cluster is required"},
		testCase{"the cluster extended", set("status.extended.scope", object{"cluster": object{}}), accepted},
		namespaceNames("status.extended.scope.namespaces", 64),
		tasks("status.extended.task"),
		missing("status.approvals.0.name"), missing("status.approvals.0.from"), missing("status.approvals.0.count"),
		bounded("status.approvals.0.name", 1, 63), number("status.approvals.0.count", 0, 16),
		policySubjects(t, "status.approvals.0.from.0"),
		lengths("status.approvals.0.from", 1, 32, func(i int) object { return object{"kind": "User", "name": numbered("u")(i)} }),
		bounded("status.approvals.0.approved.0", 0, 2048), lengths("status.approvals.0.approved", 0, 16, numbered("u")),
		lengths("status.approvals", 0, 8, func(i int) object {
			return object{"name": numbered("s")(i), "from": []object{{"kind": "User", "name": "bob"}}, "count": 1}
		}),
		bounded("status.rules.0", 0, 1024),
		lengths("status.rules", 0, 512, func(int) string { return "get pods" }),
		bounded("status.pins.roleUID", 0, 64),
		references("status.pins.namespaces.0"), bounded("status.pins.namespaces.0.roleUID", 0, 64),
		testCase{"one namespace pinned twice", set("status.pins.namespaces", []any{object{"name": "ns-1", "uid": "1"}, object{"name": "ns-1", "uid": "2"}}), "status.pins.namespaces[1]: …Duplicate value"},
		lengths("status.pins.namespaces", 0, 1024, func(i int) object { return object{"name": numbered("ns-")(i), "uid": "1"} }),
		exactSubjects("status.pins.subjects.0"), bounded("status.pins.subjects.0.uid", 0, 64),
		lengths("status.pins.subjects", 0, 16, func(i int) object { return object{"kind": "User", "name": numbered("u")(i)} }),
		bounded("status.pins.task.uid", 0, 64), bounded("status.pins.task.hashBefore", 0, 128),
		bounded("status.rulesHash", 0, 128),
		missing("status.risks.0.kind"), missing("status.risks.0.message"),
		bounded("status.risks.0.kind", 0, 64), bounded("status.risks.0.message", 0, 1024),
		lengths("status.risks", 0, 64, func(int) object { return object{"kind": "K", "message": "m"} }),
		bounded("status.grantName", 0, 253),
		moments("status.expirationTime", "status.expirationTime"),
		conditions("status.conditions", 8),
	))
}

// A decision is written by its author: the refused values come from the broker,
// whom nothing is stamped for, the accepted ones from an approver.
func TestDecisions(t *testing.T) {
	e.NeedsStamps(t)
	decision := object{"username": "carol", "verdict": "Approve"}
	t.Run("refused", func(t *testing.T) {
		for _, tc := range decisions("status.decisions.0") {
			if tc.want == accepted {
				// The schema admits it, the admission policy does not.
				tc.want = "…decisions are made in one's own name"
			}
			requestStatus.check(t, []testCase{{tc.name, both(set("status.decisions", []any{runtimeCopy(decision)}), tc.edit), tc.want}})
		}
		requestStatus.check(t, []testCase{
			{"one decision twice", set("status.decisions", []any{decision, decision}), "status.decisions[1]: …Duplicate value"},
			{"one decision with two comments", set("status.decisions", []any{decision, object{"username": "carol", "verdict": "Approve", "comment": "x"}}), "status.decisions[1]: …Duplicate value"},
			{"two verdicts of one person", set("status.decisions", []any{decision, object{"username": "carol", "verdict": "Deny"}}), "…decisions are made in one's own name"},
			{"two people", set("status.decisions", []any{decision, object{"username": "bob", "verdict": "Approve"}}), "…decisions are made in one's own name"},
			{"too many", set("status.decisions", manyDecisions(65)), "status.decisions: …Too many"},
			{"as many as can be", set("status.decisions", manyDecisions(64)), "…decisions are made in one's own name"},
		})
	})
	t.Run("accepted", func(t *testing.T) {
		byBob := requestStatus
		byBob.name, byBob.as = decidedByBob, bobHimself
		o, err := byBob.stored(t.Context(), decidedByBob)
		if err != nil {
			t.Fatal(err)
		}
		status := set("status", o["status"])
		var table []testCase
		for _, d := range []object{
			{"verdict": "Approve"},
			{"verdict": "Approve", "username": "bob", "comment": "", "rulesHash": "abcdef"},
			{"verdict": "Deny", "comment": "Zoë says no 日本語"},
			{"verdict": "Deny", "comment": strings.Repeat("日", 1024)},
			{"verdict": "Approve", "requestUID": o["metadata"].(object)["uid"]},
		} {
			table = append(table, testCase{show(d), both(status, set("status.decisions", []any{d})), accepted})
		}
		byBob.check(t, append(table, testCase{"two verdicts", both(status, set("status.decisions", []any{object{"verdict": "Approve"}, object{"verdict": "Deny"}})), accepted}))
	})
}

func manyDecisions(n int) []object {
	out := make([]object, n)
	for i := range out {
		out[i] = object{"username": numbered("u")(i), "verdict": "Approve"}
	}
	return out
}
