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

// The cache keeps which credential a grant has, and not the credential.
func TestCredentialsInTheCache(t *testing.T) {
	sealed := func(text string) (*v1alpha1.AccessGrant, *v1alpha1.AccessRequest) {
		g, r := &v1alpha1.AccessGrant{}, &v1alpha1.AccessRequest{}
		g.Status.Credential = &v1alpha1.SealedCredential{GrantUID: "1", Sealed: text}
		r.Status.Credential = g.Status.Credential.DeepCopy()
		for _, o := range []any{g, r} {
			if _, err := (&interner{}).transform()(o); err != nil {
				t.Fatal(err)
			}
		}
		return g, r
	}
	one, mirrored := sealed("b25l")
	again, _ := sealed("b25l")
	other, _ := sealed("b3RoZXI=")
	none, _ := sealed("")
	if c := one.Status.Credential; c.Sealed == "b25l" || Sealed(c) || *c != *mirrored.Status.Credential || *c != *again.Status.Credential || *c == *other.Status.Credential {
		t.Errorf("%+v, %+v, %+v, %+v", c, mirrored.Status.Credential, again.Status.Credential, other.Status.Credential)
	}
	if c := none.Status.Credential; c.Sealed != "" || !Sealed(c) || !Sealed(nil) {
		t.Errorf("none: %+v", c)
	}
	before := *one.Status.Credential
	markSealed(one.Status.Credential) // what went through once
	if *one.Status.Credential != before {
		t.Errorf("a mark of a mark: %+v", one.Status.Credential)
	}
}
