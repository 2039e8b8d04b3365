package kit

import (
	"context"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Frozen is what Freeze refuses with.
const Frozen = "bindings are frozen by the platform team"

// Freeze makes an admission policy, as a platform team might have, that refuses
// some operations on the bindings in the namespace of a grant, and waits until it
// does. It is gone after thaw, at the end of the test at the latest.
func (c *Cluster) Freeze(t testing.TB, g *v1alpha1.AccessGrant, operations ...admissionregistrationv1.OperationType) (thaw func()) {
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
	Create(t, c.Admin, policy)
	Create(t, c.Admin, binding)
	thaw = func() {
		_ = c.Admin.Delete(context.WithoutCancel(t.Context()), binding)
		_ = c.Admin.Delete(context.WithoutCancel(t.Context()), policy)
	}
	t.Cleanup(thaw)
	object := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: g.Name}}
	Eventually(t, "the freeze", func(ctx context.Context) (bool, error) {
		err := c.Admin.Delete(ctx, object.DeepCopy(), client.DryRunAll)
		return apierrors.IsInvalid(err) || apierrors.IsForbidden(err), nil
	})
	return thaw
}
