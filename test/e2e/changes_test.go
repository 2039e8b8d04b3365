package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

func namespaceObject(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// A namespace that no longer is what the policy allows access in loses what the
// policy gave there.
func TestNamespaceRelabelled(t *testing.T) {
	for name, edit := range map[string]func(*v1alpha1.AccessPolicySpec){
		"by the selector": func(s *v1alpha1.AccessPolicySpec) {
			s.Namespaces = &v1alpha1.PolicyNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"tier": "dev"}}}
		},
		"by a condition": func(s *v1alpha1.AccessPolicySpec) {
			s.Conditions = []v1alpha1.PolicyCondition{{Name: "dev-only", Expression: "namespaceObject.metadata.labels.tier == 'dev'"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, map[string]string{"tier": "dev", "other": "yes"})
			p := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
				s.Approvals[0].Count = new(int32)
				edit(s)
			})
			request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = p.Name })
			e.WaitFor(t, request, v1alpha1.RequestActive)
			g := e.GrantOf(t, request)
			e.Patch(t, namespaceObject(ns), `{"metadata":{"labels":{"other":"no"}}}`) // no reason to end
			e.Patch(t, namespaceObject(ns), `{"metadata":{"labels":{"tier":"prod"}}}`)
			ended := e.WaitEnded(t, g.Name, v1alpha1.EndPolicyChanged)
			if !kit.HasMessage(ended.Status.Conditions, "as a namespace has changed") {
				t.Errorf("it does not say why: %s", kit.Describe(ended.Status.Conditions))
			}
			if kit.Can(t, alice, ns) {
				t.Error("alice still has access")
			}
		})
	}
}

// A request that a finalizer keeps after its deletion says what became of it.
func TestDeletedRequestWithAFinalizer(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := lab.NewRequest(ns, nil)
	request.Finalizers = []string{"example.com/keep"}
	kit.Create(t, alice, request)
	t.Cleanup(func() { release(t, request) })
	e.Approved(t, bob, request)
	g := e.GrantOf(t, request)
	kit.Delete(t, alice, request.DeepCopy())
	e.WaitEnded(t, g.Name, v1alpha1.EndRequestDeleted)
	e.WaitFor(t, request, v1alpha1.RequestRevoked)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}

	waiting := lab.NewRequest(ns, nil)
	waiting.Finalizers = []string{"example.com/keep"}
	kit.Create(t, alice, waiting)
	t.Cleanup(func() { release(t, waiting) })
	e.WaitMatched(t, waiting)
	kit.Delete(t, alice, waiting.DeepCopy())
	e.WaitFor(t, waiting, v1alpha1.RequestRevoked)
	if err := kit.Decide(t, bob, waiting, v1alpha1.VerdictApprove); err == nil {
		t.Error("a request that was deleted is approved")
	}
}

// Two grants for one person overlap: neither is standing access of the other, and
// each tells of the other with its end.
func TestOverlappingGrants(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
	first := e.Ask(t, alice, ns, nil)
	e.WaitFor(t, first, v1alpha1.RequestActive)
	second := e.Ask(t, alice, ns, nil)
	second = e.WaitFor(t, second, v1alpha1.RequestActive)
	other := e.GrantOf(t, first)
	told := func(conditions []metav1.Condition) {
		t.Helper()
		c := meta.FindStatusCondition(conditions, v1alpha1.ConditionStandingAccess)
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonOtherGrants || !strings.Contains(c.Message, other.Name) || strings.Count(c.Message, other.Name) != 1 {
			t.Errorf("the other grant is not told once, as a grant: %s", kit.Describe(conditions))
		}
	}
	told(second.Status.Conditions)
	kit.MustDecide(t, alice, second, v1alpha1.VerdictRelease)
	told(e.WaitEnded(t, e.GrantOf(t, second).Name, v1alpha1.EndReleased).Status.Conditions)
	if !kit.Can(t, alice, ns) {
		t.Error("the other grant was taken too")
	}
}

// A policy that is deleted and kept by a finalizer says that it gives nothing.
func TestDeletedPolicyWithAFinalizer(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	e.Patch(t, p, `{"metadata":{"finalizers":["example.com/keep"]}}`)
	t.Cleanup(func() { release(t, p) })
	kit.Delete(t, e.Admin, p.DeepCopy())
	kit.Eventually(t, "the policy to say so", func(ctx context.Context) (bool, error) {
		if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(p.Status.Conditions, func(c metav1.Condition) bool {
			return c.Status == metav1.ConditionFalse && c.Reason == v1alpha1.ReasonDeleted
		}), nil
	})
}

// release takes the finalizers off an object, after the test.
func release(t *testing.T, o client.Object) {
	t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	if err := e.Admin.Patch(context.WithoutCancel(t.Context()), o, patch); err != nil {
		t.Error(err)
	}
}
