package crd

import (
	"fmt"
	"strings"
	"testing"
)

func TestAccessGrant(t *testing.T) {
	namespace := func(i int) object { return object{"name": fmt.Sprintf("ns-%d", i), "uid": "1"} }

	grantSpec.check(t, []testCase{
		{"every field", same, accepted},
		{"only what is required", unset(strings.Fields(optionalGrant)...), accepted},
		{"no spec", unset("spec"), "spec: …Required value"},
	})
	for _, name := range strings.Fields("requestRef requester subjects policyRef reason notBefore expirationTime") {
		grantSpec.check(t, cases(missing("spec."+name)))
	}
	grantSpec.check(t, cases(
		references("spec.requestRef"), missing("spec.requestRef.namespace"), bounded("spec.requestRef.namespace", 1, 63),
		users("spec.requester"),
		exactSubjects("spec.subjects.0"),
		bounded("spec.subjects.1.uid", 0, 64),
		lengths("spec.subjects", 1, 16, func(i int) object { return object{"kind": "User", "name": numbered("u")(i)} }),
		roleRefs("spec.roleRef"),
		bounded("spec.roleUID", 0, 64),
		references("spec.namespaces.0"), bounded("spec.namespaces.0.roleUID", 0, 64),
		lengths("spec.namespaces", 0, 1024, namespace),
		testCase{"one namespace twice", set("spec.namespaces", []any{namespace(1), object{"name": "ns-1", "uid": "2"}}), "spec.namespaces[1]: …Duplicate value"},
		ok("spec.cluster", false), no("spec.cluster", "true", "must be of type boolean"), no("spec.cluster", object{}, "must be of type boolean"),
		policyRefs("spec.policyRef"),
		decisions("spec.decisions.0"),
		lengths("spec.decisions", 0, 64, func(i int) object { return manyDecisions(i + 1)[i] }),
		bounded("spec.reason", 0, 1024), bounded("spec.ticket", 0, 256),
		policyRules("spec.rules.0"),
		lengths("spec.rules", 0, 512, func(int) object { return object{"verbs": []string{"get"}} }),
		bounded("spec.roleRules.0", 0, 1024),
		lengths("spec.roleRules", 0, 512, func(int) string { return "get pods" }),
		bounded("spec.rulesHash", 0, 128),
		moments("spec.notBefore", "spec.notBefore"),
		moments("spec.expirationTime", "spec.expirationTime"),
		bounded("spec.shortenedBy", 0, 2048),
		references("spec.extends"), missing("spec.extends.extensions"), number("spec.extends.extensions", 1, 100),
		missing("spec.extends.first"), bounded("spec.extends.first", 1, 253),
		missing("spec.extends.expirationTime"), moments("spec.extends.expirationTime", "spec.extends.expirationTime"),
		reviews("spec.reviewWithin"),
		tasks("spec.task"), missing("spec.task.uid"), bounded("spec.task.uid", 1, 64),
		credentialKeys("spec.credentialKey"),
	))
	for _, name := range []string{"subjects", "role", "scope", "approvers"} {
		grantSpec.check(t, bounded("spec.summary."+name, 0, 1024))
	}
}

func TestAccessGrantStatus(t *testing.T) {
	binding := func(i int) object {
		return object{"kind": "RoleBinding", "namespace": numbered("ns-")(i), "name": "b", "uid": "1"}
	}
	grantStatus.check(t, cases(
		testCase{"every field", same, accepted},
		testCase{"empty", set("status", object{}), accepted},
		choice("status.review", "AfterEnd", "Waiting", "Overdue", "Done"),
		choice("status.phase", "Pending", "Active", "Ended"),
		missing("status.bindings.0.kind"),
		choice("status.bindings.0.kind", "RoleBinding", "ClusterRoleBinding", "Role", "ClusterRole", "ServiceAccount"),
		references("status.bindings.0"), bounded("status.bindings.0.namespace", 0, 63),
		lengths("status.bindings", 0, 2049, binding),
		credentials("status.credential"),
		moments("status.grantedTime", "status.grantedTime"),
		moments("status.endedTime", "status.endedTime"),
		missing("status.usage.calls"), number("status.usage.calls", 0, 1<<53-1), moments("status.usage.lastCall", "status.usage.lastCall"),
		bounded("status.endReason", 0, 64), bounded("status.endedBy", 0, 2048),
		conditions("status.conditions", 16),
	))
}

// Nobody but the broker writes grants: not even an administrator.
func TestGrantsAreTheBrokersAlone(t *testing.T) {
	byAdmin := grantSpec
	byAdmin.as = theAdmin
	byAdmin.check(t, []testCase{{"created by an administrator", same, "…grants are written by the broker alone"}})
}
