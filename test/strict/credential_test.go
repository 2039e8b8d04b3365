package strict

import (
	"context"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// othersPolicy is somebody else's rule for new ServiceAccounts of the namespace of
// issued credentials, until the end of the test.
func othersPolicy(t *testing.T, name, expression, message string) {
	t.Helper()
	p := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionregistrationv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: v1alpha1.GrantsNamespace}},
			ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"serviceaccounts"}},
			}}},
		},
		Validations: []admissionregistrationv1.Validation{{Expression: expression, Message: message}},
	}}
	b := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
	}}
	kit.Create(t, e.Admin, p)
	kit.Create(t, e.Admin, b)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, _ = e.Admin.Delete(ctx, b), e.Admin.Delete(ctx, p)
	})
	probe := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: "default"}}
	kit.Eventually(t, "the policy to hold", func(ctx context.Context) (bool, error) {
		return says(e.Admin.Create(ctx, probe.DeepCopy(), client.DryRunAll), message)
	})
}

// Other people's rules for ServiceAccounts: what the broker makes keeps to the one
// that is common, and where one refuses it, the requester reads why, and nothing is
// left.
func TestOthersRulesForServiceAccounts(t *testing.T) {
	t.Run("no token for Pods", func(t *testing.T) {
		othersPolicy(t, "restrict-sa-automount", "object.?automountServiceAccountToken.orValue(true) == false", "ServiceAccounts must not mount their token")
		ns, key := e.NewNamespace(t, nil), kit.NewKey(t)
		e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { automatic(s); kit.Issues(s) })
		active := e.WaitFor(t, e.AskIssued(t, alice, ns, key, lasting(time.Hour)), v1alpha1.RequestActive)
		if !kit.Can(t, e.WithToken(t, kit.Open(t, key, active)), ns) {
			t.Error("the credential has no access")
		}
	})
	t.Run("a label that is missing", func(t *testing.T) {
		othersPolicy(t, "require-team", "'team' in object.metadata.?labels.orValue({})", "say which team it is of")
		ns := e.NewNamespace(t, nil)
		e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { automatic(s); kit.Issues(s) })
		request := e.AskIssued(t, alice, ns, kit.NewKey(t), lasting(time.Hour))
		failed := e.WaitFor(t, request, v1alpha1.RequestFailed)
		if !kit.HasMessage(failed.Status.Conditions, "say which team it is of") {
			t.Error(kit.Describe(failed.Status.Conditions))
		}
		if kit.Can(t, alice, ns) {
			t.Error("alice has access")
		}
		accounts := &corev1.ServiceAccountList{}
		if err := e.Admin.List(t.Context(), accounts, client.InNamespace(v1alpha1.GrantsNamespace), client.MatchingLabels{v1alpha1.LabelGrant: failed.Status.GrantName}); err != nil || len(accounts.Items) != 0 {
			t.Errorf("%d ServiceAccounts are left: %v", len(accounts.Items), err)
		}
	})
}
