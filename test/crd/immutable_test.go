package crd

import (
	"encoding/json"
	"strings"
	"testing"
)

// update is the target that changes a stored object.
func (x target) update(name string) target {
	x.name = name
	return x
}

func TestAccessRequestIsImmutable(t *testing.T) {
	const immutable = "spec: …spec is immutable: create another request"
	table := []testCase{
		{"nothing changed", same, accepted},
		{"labels and annotations", both(set("metadata.labels", object{"a": "b"}), set("metadata.annotations", object{"a": "b"})), accepted},
		{"spec taken away", unset("spec"), "spec: …Required value"},
		{"requester taken away", unset("spec.requester"), "spec.requester: …Required value"},
		{"another requester", set("spec.requester", object{"username": "alice"}), immutable},
		{"another group of the requester", set("spec.requester.groups", []string{"system:masters"}), immutable},
		{"another subject", set("spec.subjects.0.name", "mallory"), immutable},
		{"one more subject", set("spec.subjects", []any{object{"kind": "User", "name": "alice"}, object{"kind": "User", "name": "mallory"}}), immutable},
		{"another role", set("spec.roleRef.name", "admin"), immutable},
		{"rules instead of the role", both(unset("spec.roleRef"), set("spec.rules", []any{object{"verbs": []string{"*"}}})), immutable},
		{"one more namespace", set("spec.scope.namespaces", []string{"payments", "kube-system"}), immutable},
		{"the cluster", set("spec.scope", object{"cluster": object{}}), immutable},
		{"another policy", set("spec.policyName", "break-glass"), immutable},
		{"longer", set("spec.duration", "8h"), immutable},
		// A typed client writes 30m0s for 30m, so it patches a request and never
		// replaces it.
		{"as long in other words", set("spec.duration", "30m"), immutable},
		{"earlier", set("spec.startTime", "2026-10-01T07:59:59Z"), immutable},
		{"another reason", set("spec.reason", "because"), immutable},
		{"another ticket", set("spec.ticket", "INC-43"), immutable},
		{"an empty ticket", set("spec.ticket", ""), immutable},
		{"another task", set("spec.task.name", "other"), immutable},
		{"another end of the task", set("spec.task.completeWhen", "false"), immutable},
		{"without an end of the task", unset("spec.task.completeWhen"), immutable},
		// The same moment, written as Go would write it or not: it is a text to
		// the API server, which is why its answers can be in words.
		{"the same moment", set("spec.startTime", "2026-10-01T08:00:00Z"), accepted},
		{"the same moment in another zone", set("spec.startTime", "2026-10-01T10:00:00+02:00"), immutable},
	}
	for _, path := range strings.Fields(optionalAsk) {
		table = append(table, testCase{path + " taken away", unset(path), immutable})
	}
	requestSpec.update(storedName).check(t, table)

	added := []testCase{
		{"nothing changed", same, accepted},
		{"an empty ticket", set("spec.ticket", ""), immutable},
		{"the scope that is the default", set("spec.scope", object{"namespaces": []string{"default"}}), immutable},
	}
	valid := parse(validRequest)["spec"].(object)
	for _, path := range strings.Fields(optionalAsk) {
		added = append(added, testCase{path + " added", set(path, valid[strings.TrimPrefix(path, "spec.")]), immutable})
	}
	t.Run("smallest", func(t *testing.T) { requestSpec.update(smallestName).check(t, added) })
}

func TestAccessGrantIsImmutable(t *testing.T) {
	const immutable = "spec: …spec is immutable"
	table := []testCase{
		{"nothing changed", same, accepted},
		{"a finalizer", set("metadata.finalizers", []string{"jit.accessbroker.dev/revoke"}), accepted},
		{"spec taken away", unset("spec"), "spec: …Required value"},
		{"another request", set("spec.requestRef.uid", "x"), immutable},
		{"another requester", set("spec.requester.username", "mallory"), immutable},
		{"another subject", set("spec.subjects.0.name", "mallory"), immutable},
		{"another ServiceAccount of the name", set("spec.subjects.1.uid", "x"), immutable},
		{"another role", set("spec.roleRef.name", "admin"), immutable},
		{"another namespace", set("spec.namespaces.0.name", "kube-system"), immutable},
		{"not the cluster", set("spec.cluster", false), immutable},
		{"another policy", set("spec.policyRef.generation", 4), immutable},
		{"no decision", set("spec.decisions", []any{}), immutable},
		{"another decider", set("spec.decisions.0.username", "carol"), immutable},
		{"another reason", set("spec.reason", "because"), immutable},
		{"other rules", set("spec.rules.0.verbs", []string{"*"}), immutable},
		{"earlier", set("spec.notBefore", "2026-10-01T07:59:59Z"), immutable},
		{"a later deadline", set("spec.expirationTime", "2026-10-01T08:30:01Z"), immutable},
		{"an earlier deadline", set("spec.expirationTime", "2026-10-01T08:29:59Z"), immutable},
		{"another task of the name", set("spec.task.uid", "x"), immutable},
		{"another summary", set("spec.summary.role", "Role/view"), immutable},
	}
	for _, path := range strings.Fields(optionalGrant) {
		table = append(table, testCase{path + " taken away", unset(path), immutable})
	}
	grantSpec.update(storedName).check(t, table)

	added := []testCase{{"nothing changed", same, accepted}}
	valid := parse(validGrant)["spec"].(object)
	for _, path := range strings.Fields(optionalGrant) {
		added = append(added, testCase{path + " added", set(path, valid[strings.TrimPrefix(path, "spec.")]), immutable})
	}
	t.Run("smallest", func(t *testing.T) { grantSpec.update(smallestName).check(t, added) })
}

// A policy is changed in place: its generation tells the broker.
func TestAccessPolicyIsMutable(t *testing.T) {
	policySpec.update(storedName).check(t, []testCase{
		{"another role", set("spec.roles.0.name", "view"), accepted},
		{"longer", set("spec.maxDuration", "9h"), accepted},
		{"wrong still", set("spec.maxDuration", "1d"), "spec.maxDuration: …must be written like 90s, 30m or 1h30m"},
	})
}

// Whoever may write the status writes nothing else, and who writes the rest
// does not write the status.
func TestStatusAndSpecAreApart(t *testing.T) {
	for _, x := range []struct {
		target  target
		changed string // what the write must not change
		edit    edit
	}{
		{requestStatus, "spec", set("spec.duration", "8h")},
		{policyStatus, "spec", set("spec.maxDuration", "9h")},
		{grantStatus, "spec", set("spec.expirationTime", "2030-01-01T00:00:00Z")},
		{requestSpec.update(storedName), "status", set("status.phase", "Expired")},
		{policySpec.update(storedName), "status", set("status.conditions.0.status", "False")},
		{grantSpec.update(storedName), "status", set("status.phase", "Active")},
	} {
		before, err := x.target.stored(t.Context(), storedName)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(before[x.changed])
		if err != nil {
			t.Fatal(err)
		}
		x.edit(before)
		body, err := x.target.send(t.Context(), before).Raw()
		if err != nil {
			t.Errorf("%s: %v", x.target.kind, err)
			continue
		}
		var after object
		if err := json.Unmarshal(body, &after); err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(after[x.changed]); string(got) != string(want) {
			t.Errorf("%s: %s was written:\n%s\nwant\n%s", x.target.kind, x.changed, got, want)
		}
	}
}
