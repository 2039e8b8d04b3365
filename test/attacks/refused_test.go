package attacks

import (
	"context"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// Somebody keeps the broker from taking access away, or changes what it was
// allowed by. test/faults plays the same for every end, and without a broker.
func TestKept(t *testing.T) {
	t.Parallel()
	attack(t, "deletion of the binding refused by an admission policy", func(t *testing.T) {
		ns, request, g := held(t)
		e.Freeze(t, g, admissionregistrationv1.Delete)
		kit.MustDecide(t, carol, request, v1alpha1.VerdictRevoke)
		ended := e.WaitEnded(t, g.Name, v1alpha1.EndRevoked)
		if !kit.HasMessage(ended.Status.Conditions, kit.Frozen) {
			t.Errorf("it does not say what is left: %s", kit.Describe(ended.Status.Conditions))
		}
		mustNot(t, alice, ns)
	})
	attack(t, "deletion and change of the binding refused by an admission policy", func(t *testing.T) {
		ns, request, g := held(t)
		thaw := e.Freeze(t, g, admissionregistrationv1.Delete, admissionregistrationv1.Update)
		kit.MustDecide(t, carol, request, v1alpha1.VerdictRevoke)
		e.WaitUntil(t, request, "what stands in the way", func(r *v1alpha1.AccessRequest) bool {
			return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonRemovalRefused)
		})
		current := &v1alpha1.AccessGrant{}
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
			t.Fatal(err)
		}
		removed := meta.FindStatusCondition(current.Status.Conditions, v1alpha1.ConditionAccessRemoved)
		if current.Status.Phase == v1alpha1.GrantEnded || removed == nil || removed.Status != metav1.ConditionFalse {
			t.Errorf("the end is claimed: %s", kit.Describe(current.Status.Conditions))
		}
		must(t, alice, ns)
		thaw()
		e.WaitEnded(t, g.Name, v1alpha1.EndRevoked)
		mustNot(t, alice, ns)
	})
	attack(t, "namespace relabelled out of what the policy allows", func(t *testing.T) {
		ns := e.NewNamespace(t, map[string]string{"tier": "dev"})
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count = new(int32)
			s.Namespaces = &v1alpha1.PolicyNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"tier": "dev", "kubernetes.io/metadata.name": v1alpha1.LabelValue(ns)}}}
		})
		request := e.Ask(t, alice, ns, nil)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		g := e.GrantOf(t, request)
		e.Patch(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, `{"metadata":{"labels":{"tier":"prod"}}}`)
		e.WaitEnded(t, g.Name, v1alpha1.EndPolicyChanged)
		mustNot(t, alice, ns)
	})
	attack(t, "binding copied into another namespace", func(t *testing.T) {
		_, request, g := held(t)
		other := e.NewNamespace(t, nil)
		administers(t, other)
		source := bindingOf(g, request.Namespace)
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(source), source); err != nil {
			t.Fatal(err)
		}
		copied := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: g.Name, Labels: source.Labels}, RoleRef: source.RoleRef, Subjects: source.Subjects}
		mustRefuse(t, writtenByBroker, nora.Create(t.Context(), copied.DeepCopy()))
		copied.Labels = nil
		kit.Create(t, nora, copied)
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
		kit.Eventually(t, "the copy to be in force", func(context.Context) (bool, error) { return kit.Can(t, alice, other), nil })
		kit.Delete(t, nora, copied)
	})
}
