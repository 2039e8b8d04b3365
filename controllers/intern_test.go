package controllers

import (
	"reflect"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
)

// The cache keeps what the API server sent, without managedFields.
func TestInternChangesNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.active()
	in := CacheOptions().DefaultTransform
	var requests v1alpha1.AccessRequestList
	var grants v1alpha1.AccessGrantList
	var bindings rbacv1.RoleBindingList
	for _, list := range []client.ObjectList{&requests, &grants, &bindings} {
		if err := e.Admin.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	check := func(o runtime.Object) {
		t.Helper()
		for range 2 { // the second time, known values are shared
			before := o.DeepCopyObject()
			reflect.ValueOf(before).Elem().FieldByName("ManagedFields").SetZero()
			if binding, ok := before.(*rbacv1.RoleBinding); ok {
				binding.Annotations = nil
			}
			after, err := in(o.DeepCopyObject())
			if err != nil {
				t.Fatal(err)
			}
			// A mark stands for what is sealed.
			if kept := credentialOf(after); !cached.Sealed(kept) {
				credentialOf(before).Sealed = kept.Sealed
			}
			if !equality.Semantic.DeepEqual(before, after) {
				t.Errorf("the cache keeps %+v, not %+v", after, before)
			}
		}
	}
	for i := range requests.Items {
		check(&requests.Items[i])
	}
	for i := range grants.Items {
		check(&grants.Items[i])
	}
	for i := range bindings.Items {
		check(&bindings.Items[i])
	}
	if len(requests.Items) == 0 || len(grants.Items) == 0 || len(bindings.Items) == 0 {
		t.Fatalf("%d requests, %d grants, %d bindings: nothing was tried", len(requests.Items), len(grants.Items), len(bindings.Items))
	}
}

func credentialOf(o any) *v1alpha1.SealedCredential {
	switch o := o.(type) {
	case *v1alpha1.AccessRequest:
		return o.Status.Credential
	case *v1alpha1.AccessGrant:
		return o.Status.Credential
	}
	return nil
}
