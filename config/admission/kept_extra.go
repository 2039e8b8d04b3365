package admission

import (
	"encoding/json"
	"fmt"
	"regexp"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

// keptExtra is the variable that lists the keys of a requester's extra that are
// stored, the one part of the policies that an administrator may edit.
const keptExtra = "keptExtra"

// plainList is a list of texts and nothing else, which is JSON as well as CEL.
var plainList = regexp.MustCompile(`^\s*\[\s*("[^"\\]*"\s*(,\s*"[^"\\]*"\s*)*)?\]\s*$`)

// KeptExtra returns the keys as they are installed.
func KeptExtra() ([]string, error) {
	policies, _, err := Validating()
	if err != nil {
		return nil, err
	}
	for _, p := range policies {
		for _, v := range p.Spec.Variables {
			if v.Name != keptExtra {
				continue
			}
			var keys []string
			if err := json.Unmarshal([]byte(v.Expression), &keys); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", keptExtra, p.Name, err)
			}
			return keys, nil
		}
	}
	return nil, fmt.Errorf("no policy has the variable %s", keptExtra)
}

// IgnoreKeptExtra takes the list of kept keys out of a policy, so that a policy in
// which an administrator edited only that list counts as it was installed. Anything
// else than a list of texts stays in.
func IgnoreKeptExtra(spec *admissionregistrationv1.ValidatingAdmissionPolicySpec) {
	for i, v := range spec.Variables {
		if v.Name == keptExtra && plainList.MatchString(v.Expression) {
			spec.Variables[i].Expression = "[]"
		}
	}
}
