package crd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

// junk is what a careless or hostile client might send for any field.
var junk = []any{
	nil, "x", "", true, 0, -1, 1.5, json.Number("1.0"), json.Number("1e0"), json.Number("1e19"), json.Number("1e300"), json.Number("9223372036854775808"),
	object{},
	object{"x": object{}},
	[]any{},
	[]any{nil},
	[]any{"x"},
	[]any{object{}},
	[]any{[]any{}},
}

// TestJunk puts junk into every field of a valid object. What is refused is
// refused for a reason; what is accepted decodes.
func TestJunk(t *testing.T) {
	withRules := func(o object) {
		unset("spec.roleRef")(o)
		set("spec.rules", []any{object{"verbs": []any{"get"}, "resources": []any{"pods"}}})(o)
	}
	withSelector := set("spec.scope", object{"namespaceSelector": object{
		"matchLabels": object{"a": "b"}, "matchExpressions": []any{object{"key": "a", "operator": "In", "values": []any{"b"}}},
	}})
	for _, x := range []struct {
		name   string
		target target
		edit   edit
	}{
		{"AccessRequest", requestSpec, same},
		{"AccessRequest with rules", requestSpec, both(withRules, withSelector)},
		{"AccessRequest for the cluster", requestSpec, set("spec.scope", object{"cluster": object{}})},
		{"status of AccessRequest", requestStatus, same},
		{"AccessPolicy", policySpec, same},
		{"status of AccessPolicy", policyStatus, same},
		{"AccessGrant", grantSpec, same},
		{"status of AccessGrant", grantStatus, same},
		{"status of AccessUsage", usageSpec, same},
		{"AccessLock", lockSpec, same},
	} {
		t.Run(x.name, func(t *testing.T) {
			begin, err := x.target.fresh(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			x.edit(begin)
			part := "spec"
			switch {
			case x.target.subresource != "":
				part = x.target.subresource
			case x.target.kind == usageSpec.kind:
				part = "status" // what is in its spec, the admission policies compare with its name
			}
			acceptances := 0
			for _, path := range paths(begin[part], part) {
				for _, value := range junk {
					o := runtime.DeepCopyJSON(begin)
					set(path, value)(o)
					result := x.target.send(t.Context(), o)
					if err := result.Error(); err != nil {
						x.target.refused(err)
						// Before 1.36 the status itself is not named.
						if !strings.Contains(err.Error(), lastName(path)) && (e.Stamps || path != "status") {
							t.Errorf("%s = %s is refused without a word of it: %v", path, show(value), err)
						}
						continue
					}
					acceptances++
					t.Run(fmt.Sprintf("%s = %s", path, show(value)), func(t *testing.T) { x.target.mustDecode(t, o, result) })
				}
			}
			t.Logf("%d of %d accepted", acceptances, len(junk)*len(paths(begin[part], part)))
		})
	}
}

// paths lists every field of an object.
func paths(value any, path string) []string {
	out := []string{path}
	switch v := value.(type) {
	case object:
		for name, field := range v {
			// A dot in a name would be taken for a step.
			if !strings.Contains(name, ".") {
				out = append(out, paths(field, path+"."+name)...)
			}
		}
	case []any:
		for i, item := range v {
			out = append(out, paths(item, path+"."+strconv.Itoa(i))...)
		}
	}
	slices.Sort(out)
	return out
}

// lastName is the last name in a path.
func lastName(path string) string {
	steps := strings.Split(path, ".")
	for _, step := range slices.Backward(steps) {
		if _, err := strconv.Atoi(step); err != nil {
			return step
		}
	}
	return path
}

// TestValidObjectsAreWhole makes sure that the objects above have every field,
// so that TestJunk leaves none out.
func TestValidObjectsAreWhole(t *testing.T) {
	for _, x := range []struct {
		target  target
		status  string
		missing []string // the other side of a choice, and what is written by people
	}{
		{requestSpec, validRequestStatus, []string{"spec.requester", "spec.rules", "spec.extends", "spec.scope.cluster", "spec.scope.namespaceSelector", "spec.credentialKey", "status.decisions", "status.extended.scope.cluster", "status.extended.scope.namespaceSelector"}},
		{policySpec, validPolicyStatus, nil},
		{grantSpec, validGrantStatus, nil},
		{usageSpec, "", nil},
		{lockSpec, "", nil},
	} {
		schema, err := schemaOf(t.Context(), x.target)
		if err != nil {
			t.Fatal(err)
		}
		o := parse(x.target.valid)
		if x.status != "" {
			o["status"] = parse(x.status)
		}
		have := map[string]bool{}
		for _, part := range []string{"spec", "status"} {
			for _, path := range paths(o[part], part) {
				have[indexes.ReplaceAllString(field(path), "[*]")] = true
			}
		}
		visit(schema, "", func(_ object, f string) {
			if f == "" || strings.Contains(f, ".*") || have[f] || slices.ContainsFunc(x.missing, func(m string) bool { return strings.HasPrefix(f, m) }) {
				return
			}
			t.Errorf("%s: no valid object has %s", x.target.kind, f)
		})
	}
}
