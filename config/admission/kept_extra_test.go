package admission

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

// The policy that stamps an identity and the one that checks the stamp cut it by the
// same rule, letter by letter.
func TestStampAndCheckAreTheSame(t *testing.T) {
	variables := regexp.MustCompile(`(?m)^    - name: (\w+)\n((?:      .*\n)+)`)
	read := func(name string) map[string]string {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, m := range variables.FindAllStringSubmatch(string(content), -1) {
			out[m[1]] = m[2]
		}
		return out
	}
	for stamp, check := range map[string]string{"stamp_requester.yaml": "requests.yaml", "stamp_decisions.yaml": "decisions.yaml"} {
		stamps, checks, same := read(stamp), read(check), 0
		for name, expression := range stamps {
			switch other, both := checks[name]; {
			case both && expression == other:
				same++
			case both:
				t.Errorf("%s is\n%sin %s, and\n%sin %s", name, expression, stamp, other, check)
			case slices.Contains([]string{"mine", "others", "stamped", "repeated"}, name): // the stamp's own work
			default:
				t.Errorf("%s of %s is not in %s", name, stamp, check)
			}
		}
		if same < 5 {
			t.Errorf("only %d variables of %s are compared", same, stamp)
		}
	}
}

func TestKeptExtra(t *testing.T) {
	kept, err := KeptExtra()
	if err != nil || len(kept) == 0 || !slices.IsSorted(kept) {
		t.Fatalf("%q, %v", kept, err)
	}
	for _, key := range kept {
		if key != strings.ToLower(key) || strings.Contains(key, "assertion") || strings.Contains(key, "accesskey") || strings.Contains(key, "token") {
			t.Errorf("%q is kept", key)
		}
	}
}

// An administrator may edit the list, but not turn it into anything but a list.
func TestIgnoreKeptExtra(t *testing.T) {
	for expression, ignored := range map[string]bool{
		`[]`:                             true,
		`["a"]`:                          true,
		"[\"a\",\n \"example.com/b\"]\n": true,
		`["a", ]`:                        false,
		`["a"] + ["b"]`:                  false,
		`variables.me == "mallory" ? [""] : ["a"]`: false,
		`["a\"", "b"]`: false,
		``:             false,
	} {
		spec := admissionregistrationv1.ValidatingAdmissionPolicySpec{Variables: []admissionregistrationv1.Variable{
			{Name: "keptExtra", Expression: expression}, {Name: "other", Expression: `["a"]`},
		}}
		IgnoreKeptExtra(&spec)
		if got := spec.Variables[0].Expression != expression || expression == "[]"; got != ignored || spec.Variables[1].Expression != `["a"]` {
			t.Errorf("%q: ignored is %t, want %t; %v", expression, got, ignored, spec.Variables)
		}
	}
}
