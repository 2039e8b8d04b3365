package access

import (
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/config/admission"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// A kind that a grant can own is in the table, in the API and in every admission
// policy that guards what grants own. If one of them lacks it, its access stays, or
// anyone can make it.
func TestKindsAreEverywhere(t *testing.T) {
	var names, resources []string
	for _, kind := range Kinds {
		names = append(names, kind.Name)
		resources = append(resources, strings.ToLower(kind.Name)+"s")
	}
	slices.Sort(names)
	slices.Sort(resources)
	if got := kindsOfTheAPI(t); !slices.Equal(got, names) {
		t.Errorf("AccessGrant.status.bindings takes the kinds %v, the table has %v", got, names)
	}
	policies, _, err := admission.Validating()
	if err != nil {
		t.Fatal(err)
	}
	var guards []string
	for _, policy := range policies {
		var guarded []string
		for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
			guarded = append(guarded, rule.Resources...)
		}
		switch {
		case slices.Contains(guarded, "serviceaccounts"):
			guarded = []string{"serviceaccounts"} // it closes a namespace
		case !slices.Contains(guarded, "roles"):
			continue // it guards something else
		default:
			guarded = append(guarded, "serviceaccounts")
		}
		guards = append(guards, policy.Name)
		if len(guarded) == 1 {
			continue
		}
		if got := slices.Sorted(slices.Values(guarded)); !slices.Equal(got, resources) {
			t.Errorf("%s guards %v, the table has %v", policy.Name, got, resources)
		}
	}
	if len(guards) != 3 {
		t.Errorf("what grants own is guarded by %v", guards)
	}
}

// An identity is made without a token for Pods, and allows nothing.
func testIdentity(t *testing.T, kind Kind, want grant.Object) {
	want.Namespace = v1alpha1.GrantsNamespace
	account, ok := New(want).(*corev1.ServiceAccount)
	if !ok || account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
		t.Fatalf("it is made as %+v", account)
	}
	read := kind.New().(*metav1.PartialObjectMetadata)
	read.ObjectMeta = account.ObjectMeta
	if seen := kind.read(read); !want.Intact(seen) || !seen.AllowsNothing() {
		t.Errorf("it is read as %+v", seen)
	}
	read.OwnerReferences = nil
	if want.Intact(kind.read(read)) {
		t.Error("one without its owner is intact")
	}
}

func kindsOfTheAPI(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile("../../config/crd/bases/jit.accessbroker.dev_accessgrants.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(content, &crd); err != nil {
		t.Fatal(err)
	}
	status := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"]
	var kinds []string
	for _, value := range status.Properties["bindings"].Items.Schema.Properties["kind"].Enum {
		kinds = append(kinds, strings.Trim(string(value.Raw), `"`))
	}
	return slices.Sorted(slices.Values(kinds))
}

// Each row makes what a grant wants, sees that it is intact, and disarms it.
func TestKinds(t *testing.T) {
	for _, kind := range Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			want := grant.Object{Kind: kind.Name, Name: "fix", Grant: "fix", GrantUID: "uid"}
			if kind.Name == grant.ServiceAccountKind {
				testIdentity(t, kind, want)
				return
			}
			if kind.Binds {
				want.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"}
				want.Subjects = []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "alice"}}
			} else {
				want.Rules = []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}
			}
			object := New(want)
			if seen := kind.read(object); !want.Intact(seen) || seen.AllowsNothing() {
				t.Errorf("it is made as %+v", seen)
			}
			if role, ok := object.(*rbacv1.ClusterRole); ok {
				role.AggregationRule = &rbacv1.AggregationRule{}
				if seen := kind.read(object); want.Intact(seen) || seen.AllowsNothing() {
					t.Error("rules that a controller fills in are not seen")
				}
			}
			kind.empty(object)
			if seen := kind.read(object); want.Intact(seen) || !seen.AllowsNothing() || seen.RoleRef != want.RoleRef {
				t.Errorf("disarmed it is %+v", seen)
			}
		})
	}
}
