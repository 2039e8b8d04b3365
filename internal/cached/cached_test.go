package cached

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// crd reads a definition as it is installed.
func crd(t *testing.T, plural string) apiextensionsv1.CustomResourceDefinitionVersion {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "jit.accessbroker.dev_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var out apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(content, &out); err != nil {
		t.Fatal(err)
	}
	return out.Spec.Versions[0]
}

// Each phase that the schema admits is selected as ended or as not ended, just as
// Ended says.
func TestSelectors(t *testing.T) {
	t.Parallel()
	request := func(phase string) (o *v1alpha1.AccessRequest) {
		o = &v1alpha1.AccessRequest{}
		o.Status.Phase = v1alpha1.RequestPhase(phase)
		return o
	}
	grant := func(phase string) (o *v1alpha1.AccessGrant) {
		o = &v1alpha1.AccessGrant{}
		o.Status.Phase = v1alpha1.GrantPhase(phase)
		return o
	}
	usage := func(phase string) (o *v1alpha1.AccessUsage) {
		o = &v1alpha1.AccessUsage{}
		o.Status.Phase = v1alpha1.UsagePhase(phase)
		return o
	}
	for plural, ended := range map[string]func(phase string) (bool, fields.Selector, fields.Selector){
		"accessrequests": func(p string) (bool, fields.Selector, fields.Selector) {
			return Ended(request(p)), selector(request(p), false), selector(&v1alpha1.AccessRequestList{}, true)
		},
		"accessgrants": func(p string) (bool, fields.Selector, fields.Selector) {
			return Ended(grant(p)), selector(grant(p), false), selector(&v1alpha1.AccessGrantList{}, true)
		},
		"accessusages": func(p string) (bool, fields.Selector, fields.Selector) {
			return Ended(usage(p)), selector(usage(p), false), selector(&v1alpha1.AccessUsageList{}, true)
		},
	} {
		version := crd(t, plural)
		selectable := []string{"." + phase}
		if plural != "accessusages" {
			selectable = append(selectable, ".status.review")
		}
		var got []string
		for _, field := range version.SelectableFields {
			got = append(got, field.JSONPath)
		}
		if !slices.Equal(got, selectable) {
			t.Errorf("%s: the API server may select by %v", plural, version.SelectableFields)
		}
		phases := []string{""}
		for _, v := range version.Schema.OpenAPIV3Schema.Properties["status"].Properties["phase"].Enum {
			var p string
			if err := yaml.Unmarshal(v.Raw, &p); err != nil {
				t.Fatal(err)
			}
			phases = append(phases, p)
		}
		if len(phases) < 3 {
			t.Fatalf("%s: the schema admits %q", plural, phases)
		}
		for _, p := range phases {
			over, kept, passed := ended(p)
			for text, want := range map[string]bool{kept.String(): !over, passed.String(): over} {
				parsed, err := fields.ParseSelector(text) // as the API server does
				if err != nil {
					t.Fatal(err)
				}
				if got := parsed.Matches(fields.Set{phase: p}); got != want {
					t.Errorf("%s: phase %q is selected by %s: %v", plural, p, text, got)
				}
			}
		}
	}
	if selector(&v1alpha1.AccessPolicy{}, false) != nil || Ended(&v1alpha1.AccessPolicy{}) {
		t.Error("a policy never ends")
	}
}

// Each state of a review that the schema admits is selected just as AwaitsReview says,
// of requests and of grants.
func TestReviewSelector(t *testing.T) {
	t.Parallel()
	if AwaitsReview(&v1alpha1.AccessPolicy{}) {
		t.Error("a policy is not reviewed so")
	}
	for _, plural := range []string{"accessrequests", "accessgrants"} {
		states := []string{""}
		for _, v := range crd(t, plural).Schema.OpenAPIV3Schema.Properties["status"].Properties["review"].Enum {
			var state string
			if err := yaml.Unmarshal(v.Raw, &state); err != nil {
				t.Fatal(err)
			}
			states = append(states, state)
		}
		if len(states) != 5 {
			t.Fatalf("%s: the schema admits %q", plural, states)
		}
		parsed, err := fields.ParseSelector(awaiting().String()) // as the API server does
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range states {
			r, g := &v1alpha1.AccessRequest{}, &v1alpha1.AccessGrant{}
			r.Status.Review, g.Status.Review = v1alpha1.ReviewState(state), v1alpha1.ReviewState(state)
			want := state == "Waiting" || state == "Overdue"
			if got := parsed.Matches(fields.Set{"status.review": state}); got != want || AwaitsReview(r) != want || AwaitsReview(g) != want {
				t.Errorf("%s: %q is selected: %v, kept: %v, %v", plural, state, got, AwaitsReview(r), AwaitsReview(g))
			}
		}
	}
}
