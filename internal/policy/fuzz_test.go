package policy

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// durationPattern is what the schema of AccessRequest admits.
func durationPattern(f *testing.F) *regexp.Regexp {
	f.Helper()
	file, err := os.ReadFile("../../config/crd/bases/jit.accessbroker.dev_accessrequests.yaml")
	if err != nil {
		f.Fatal(err)
	}
	crd := map[string]any{}
	if err := yaml.Unmarshal(file, &crd); err != nil {
		f.Fatal(err)
	}
	versions, _, err := unstructured.NestedSlice(crd, "spec", "versions")
	if err != nil {
		f.Fatal(err)
	}
	rules, _, err := unstructured.NestedSlice(versions[0].(map[string]any),
		"schema", "openAPIV3Schema", "properties", "spec", "properties", "duration", "x-kubernetes-validations")
	if err != nil || len(rules) == 0 {
		f.Fatalf("the CRD has no rules: %v", err)
	}
	rule, _, _ := unstructured.NestedString(rules[0].(map[string]any), "rule")
	found := regexp.MustCompile(`matches\(r'(.*?)'\)`).FindStringSubmatch(rule)
	if found == nil {
		f.Fatalf("the first rule matches no pattern: %s", rule)
	}
	return regexp.MustCompile(found[1])
}

// FuzzDuration: whatever the pattern admits decodes, comes back the same when
// it is written, and is held to the policy's maximum.
func FuzzDuration(f *testing.F) {
	pattern := durationPattern(f)
	for _, s := range []string{"1s", "90s", "30m", "1h30m", "720h", "9999h9999m9999s", "0h0m1s", "1h1h", "1.5h", "-1s", "+1s", "1ms", "1H", " 1s", "1s\n", "١s", "", "h"} {
		f.Add(s)
	}
	p := Compile(&v1alpha1.AccessPolicy{Spec: v1alpha1.AccessPolicySpec{
		Requesters:   v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: v1alpha1.UserKind, Name: "alice"}),
		Roles:        []v1alpha1.RoleRef{{Kind: v1alpha1.ClusterRoleKind, Name: "view"}},
		Approvals:    []v1alpha1.ApprovalStage{},
		ClusterScope: v1alpha1.ClusterScopeAllowed,
		Subjects:     v1alpha1.SubjectsAny,
		MaxDuration:  metav1.Duration{Duration: time.Hour},
	}})
	f.Fuzz(func(t *testing.T, s string) {
		if !pattern.MatchString(s) || len(s) < 2 || len(s) > 16 {
			return
		}
		var d, again metav1.Duration
		quoted, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(quoted, &d); err != nil {
			t.Fatalf("%q is admitted and does not decode: %v", s, err)
		}
		if d.Duration < 0 {
			t.Errorf("%q is negative: %s", s, d.Duration)
		}
		written, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &again); err != nil || again != d {
			t.Errorf("%q is %s, written %s and read %s: %v", s, d.Duration, written, again.Duration, err)
		}
		allows, why, err := p.Allows(context.Background(), Request{
			Requester: v1alpha1.UserInfo{Username: "alice"},
			RoleRef:   &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "view"},
			Cluster:   true, Duration: &d.Duration,
		}, time.Time{})
		if err != nil || allows != (d.Duration <= time.Hour) {
			t.Errorf("%q of at most 1h: allowed is %t: %s %v", s, allows, why, err)
		}
	})
}
