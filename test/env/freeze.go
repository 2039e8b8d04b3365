package env

import (
	"context"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Frozen is what Freeze refuses with.
const Frozen = "bindings are frozen by the platform team"

// Freeze makes an admission policy, as a platform team might have, that refuses
// some operations on the bindings in the namespace of a grant, and waits until it
// does. It is gone after thaw, at the end of the test at the latest.
func (e *Env) Freeze(t testing.TB, g *v1alpha1.AccessGrant, operations ...admissionregistrationv1.OperationType) (thaw func()) {
	t.Helper()
	ns := g.Spec.Namespaces[0].Name
	name := "freeze-" + ns
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: operations,
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{rbacv1.GroupName}, APIVersions: []string{"*"}, Resources: []string{"rolebindings"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{Expression: "false", Message: Frozen}},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": ns}}},
		},
	}
	Create(t, e.Admin, policy)
	Create(t, e.Admin, binding)
	thaw = func() {
		_ = e.Admin.Delete(context.WithoutCancel(t.Context()), binding)
		_ = e.Admin.Delete(context.WithoutCancel(t.Context()), policy)
	}
	t.Cleanup(thaw)
	object := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: g.Name}}
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, Patience, true, func(ctx context.Context) (bool, error) {
		err := e.Admin.Delete(ctx, object.DeepCopy(), client.DryRunAll)
		return apierrors.IsInvalid(err) || apierrors.IsForbidden(err), nil
	})
	if err != nil {
		t.Fatalf("waiting for the freeze: %v", err)
	}
	return thaw
}

// CreateOlder makes an object of RBAC that the admission policies let nobody
// write: one that is older than they are. They are in force again when it returns.
func (e *Env) CreateOlder(t testing.TB, o client.Object) {
	t.Helper()
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "access-broker-bindings"}}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(binding), binding); err != nil {
		t.Fatal(err)
	}
	if err := e.Admin.Delete(t.Context(), binding.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	refused := func(err error) bool { return apierrors.IsForbidden(err) }
	eventually := func(what string, condition func(ctx context.Context) (bool, error)) {
		t.Helper()
		if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, Patience, true, condition); err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
	eventually("the older object", func(ctx context.Context) (bool, error) {
		err := e.Admin.Create(ctx, o)
		if refused(err) {
			return false, nil
		}
		return err == nil, err
	})
	binding.ResourceVersion, binding.UID = "", ""
	if err := e.Admin.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	another := o.DeepCopyObject().(client.Object)
	another.SetName(o.GetName() + "-another")
	another.SetResourceVersion("")
	another.SetUID("")
	eventually("the admission policies", func(ctx context.Context) (bool, error) {
		return refused(e.Admin.Create(ctx, another.DeepCopyObject().(client.Object), client.DryRunAll)), nil
	})
}
