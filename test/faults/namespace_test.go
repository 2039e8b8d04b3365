package faults

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// One namespace of ten is stuck Terminating: what was given in all ten ends in
// all ten, nothing new is given in nine of ten, and others are served.
func TestNamespaceStuckTerminating(t *testing.T) {
	c := take(t)
	c.StartBroker(t, "broker")
	var ten []string
	for range 10 {
		ten = append(ten, c.NewNamespace(t, nil))
	}
	home, stuck := ten[0], ten[5]
	c.NewPolicy(t, home, func(s *v1alpha1.AccessPolicySpec) { automatic(s); s.Namespaces.Names = ten })
	everywhere := func(s *v1alpha1.AccessRequestSpec) { s.Scope = &v1alpha1.Scope{Namespaces: ten} }
	held := func() (n int) {
		for _, ns := range ten {
			if kit.Can(t, c.alice, ns) {
				n++
			}
		}
		return n
	}

	request := c.Ask(t, c.alice, home, everywhere)
	c.WaitFor(t, request, v1alpha1.RequestActive)
	if n := held(); n != 10 {
		t.Fatalf("alice has access to %d of 10 namespaces", n)
	}
	keeper := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: stuck, Name: "keeper", Finalizers: []string{"example.com/keep"}}}
	kit.Create(t, c.Admin, keeper)
	t.Cleanup(func() {
		_ = c.Admin.Patch(context.WithoutCancel(t.Context()), keeper, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
	})
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: stuck}}
	kit.Delete(t, c.Admin, namespace)
	g := c.WaitEnded(t, c.GrantOf(t, request).Name, v1alpha1.EndNamespaceGone)
	if n := held(); n != 0 {
		t.Errorf("alice still has access to %d namespaces", n)
	}
	c.WaitFor(t, request, v1alpha1.RequestRevoked)
	if left := c.bindings(t, g.Name); len(left) != 0 {
		t.Errorf("left: %v", left)
	}

	again := c.Ask(t, c.alice, home, everywhere)
	kit.Eventually(t, "the end of a request that names the namespace", func(ctx context.Context) (bool, error) {
		err := c.Admin.Get(ctx, client.ObjectKeyFromObject(again), again)
		return again.Status.Phase.Ended(), err
	})
	t.Logf("asked for again, it is %s: %s", again.Status.Phase, kit.Describe(again.Status.Conditions))
	if n := held(); n != 0 {
		t.Errorf("alice has access to %d namespaces", n)
	}
	nine := append(append([]string(nil), ten[:5]...), ten[6:]...)
	c.WaitFor(t, c.Ask(t, c.dave, home, func(s *v1alpha1.AccessRequestSpec) { s.Scope = &v1alpha1.Scope{Namespaces: nine} }), v1alpha1.RequestActive)
	if err := c.Admin.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace); err != nil || namespace.DeletionTimestamp == nil {
		t.Errorf("the namespace is not stuck (%v): the test shows nothing", err)
	}
}
