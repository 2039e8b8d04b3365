package crd

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// What people send by mistake is answered in the words of the schema, not with
// the CEL of the policies that stamp.
func TestOddTypesAreAnsweredInWords(t *testing.T) {
	e.NeedsStamps(t)
	const decisions = "status.decisions: …must be of type array"
	inWords := func(t *testing.T, x target, err error, want string) {
		t.Helper()
		if err == nil {
			t.Fatal("accepted")
		}
		for _, cel := range []string{"AdmissionPolicy", "overload", "no such key", "expression"} {
			if strings.Contains(err.Error(), cel) {
				t.Fatalf("answered with CEL: %v", err)
			}
		}
		for _, cause := range x.refused(err) {
			if containsAll(cause, strings.Split(want, "…")) {
				return
			}
		}
		t.Errorf("nothing says %q in: %v", want, err)
	}
	for body, want := range map[string]string{
		`{"decisions":"Approve"}`:                            decisions,
		`{"decisions":{}}`:                                   decisions,
		`{"decisions":{"verdict":"Approve"}}`:                decisions,
		`{"decisions":true}`:                                 decisions,
		`{"decisions":["Approve"]}`:                          "status.decisions[0]: …must be of type object",
		`{"decisions":[null]}`:                               "status.decisions[0]: …must be of type object",
		`{"decisions":[["Approve"]]}`:                        "status.decisions[0]: …must be of type object",
		`{"decisions":[{"verdict":1}]}`:                      "status.decisions[0].verdict: …must be of type string",
		`{"decisions":[{"verdict":null}]}`:                   "status.decisions[0].verdict: …Unsupported value",
		`{"decisions":[{"verdict":["Approve"]}]}`:            "status.decisions[0].verdict: …must be of type string",
		`{"decisions":[{}]}`:                                 "status.decisions[0].verdict: …Unsupported value",
		`{"decisions":[{"verdict":"approve"}]}`:              "status.decisions[0].verdict: …Unsupported value",
		`{"decisions":[{"verdict":"Approve","comment":1}]}`:  "status.decisions[0].comment: …must be of type string",
		`{"decisions":[{"verdict":"Approve","username":1}]}`: "status.decisions[0].username: …must be of type string",
		`"x"`: "status: …must be of type object",
		`[]`:  "status: …must be of type object",
		`5`:   "status: …must be of type object",
	} {
		t.Run(body, func(t *testing.T) {
			err := bob.Patch(types.MergePatchType).Resource("accessrequests").Namespace("default").Name(decidedByBob).SubResource("status").
				Param("dryRun", "All").Body([]byte(`{"status":` + body + `}`)).Do(t.Context()).Error()
			inWords(t, requestStatus, err, want)
		})
	}
	for value, want := range map[string]string{
		`"alice"`: "spec.requester: …must be of type object", `1`: "spec.requester: …must be of type object", `[]`: "spec.requester: …must be of type object",
		`["alice"]`: "spec.requester: …must be of type object", `true`: "spec.requester: …must be of type object",
		`{}`: "spec.requester.username: …Required value", `{"username":1}`: "spec.requester.username: …must be of type string",
		`{"username":"bob","groups":"dev"}`: "spec.requester.groups: …must be of type array", `{"username":"bob","extra":[]}`: "spec.requester.extra: …must be of type object",
	} {
		t.Run("requester "+value, func(t *testing.T) {
			o := runtime.DeepCopyJSON(parse(validRequest))
			var v any
			if err := json.Unmarshal([]byte(value), &v); err != nil {
				t.Fatal(err)
			}
			set("spec.requester", v)(o)
			inWords(t, requestSpec, requestSpec.send(t.Context(), o).Error(), want)
		})
	}
	for _, spec := range []any{"x", 1.0, true, []any{}, nil} {
		t.Run("spec "+show(spec), func(t *testing.T) {
			o := runtime.DeepCopyJSON(parse(validRequest))
			o["spec"] = spec
			want := "spec: …must be of type object"
			if spec == nil {
				want = "spec: …Required value"
			}
			inWords(t, requestSpec, requestSpec.send(t.Context(), o).Error(), want)
		})
	}
}
