package cached

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Of the ServiceAccount of a grant the cache keeps whose it is, and all of others.
func TestServiceAccountsInTheCache(t *testing.T) {
	owners := []metav1.OwnerReference{{APIVersion: "jit.accessbroker.dev/v1alpha1", Kind: "AccessGrant", Name: "fix", UID: "1"}}
	account := func(namespace string, labels map[string]string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: "fix", UID: "2", Labels: labels, Annotations: map[string]string{"a": "b"},
				OwnerReferences: owners, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}},
			},
		}
	}
	of := map[string]string{v1alpha1.LabelGrant: "fix", "team": "pay"}
	kept := account(v1alpha1.GrantsNamespace, map[string]string{v1alpha1.LabelGrant: "fix"})
	kept.Annotations, kept.ManagedFields = nil, nil
	other, elsewhere := account(v1alpha1.GrantsNamespace, map[string]string{"team": "pay"}), account("payments", of)
	other.ManagedFields, elsewhere.ManagedFields = nil, nil
	for name, c := range map[string]struct{ from, want *metav1.PartialObjectMetadata }{
		"of a grant":                       {account(v1alpha1.GrantsNamespace, of), kept},
		"of nobody":                        {account(v1alpha1.GrantsNamespace, map[string]string{"team": "pay"}), other},
		"with the label, but of elsewhere": {account("payments", of), elsewhere},
	} {
		got, err := (&interner{}).transform()(c.from)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}
