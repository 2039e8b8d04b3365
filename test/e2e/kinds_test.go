package e2e

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/env"
)

// A kind that the broker has never heard of: the administrator lets it read the
// kind, and the kind's own conditions end the access.
func TestTaskOfAnotherKind(t *testing.T) {
	t.Parallel()
	newMigrationKind(t)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "access-broker-task-kinds"}}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(role), role); err != nil {
		t.Fatal(err)
	}
	role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{"example.com"}, Resources: []string{"migrations"}, Verbs: []string{"get", "list", "watch"}})
	if err := e.Admin.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}

	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	migration := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Migration", "metadata": map[string]any{"namespace": ns, "name": "ledger"},
	}}
	env.Create(t, e.Admin, migration.DeepCopy())
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "example.com/v1", Kind: "Migration", Name: "ledger"}
	})
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if !env.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	e.PatchStatus(t, migration, `{"status":{"conditions":[{"type":"Succeeded","status":"Unknown"}]}}`)
	if !env.Can(t, alice, ns) {
		t.Error("the access ended while the task ran")
	}
	e.PatchStatus(t, migration, `{"status":{"conditions":[{"type":"Succeeded","status":"True"}]}}`)
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndTaskCompleted)
	if env.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

func newMigrationKind(t *testing.T) {
	t.Helper()
	env.Create(t, e.Admin, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "migrations.example.com"},
		"spec": map[string]any{
			"group": "example.com", "scope": "Namespaced",
			"names": map[string]any{"plural": "migrations", "singular": "migration", "kind": "Migration", "listKind": "MigrationList"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"subresources": map[string]any{"status": map[string]any{}},
				"schema":       map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}})
	eventually(t, "the new kind is served", func(ctx context.Context) bool {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("example.com/v1")
		list.SetKind("MigrationList")
		return e.Admin.List(ctx, list) == nil
	})
}

// A namespace that is deleted takes its access with it, and does not hang on
// what the admission policies protect.
func TestNamespaceDeleted(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	request := e.Ask(t, alice, ns, nil)
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}
	env.Delete(t, e.Admin, namespace)
	eventually(t, "the namespace is gone", func(ctx context.Context) bool {
		return apierrors.IsNotFound(e.Admin.Get(ctx, client.ObjectKeyFromObject(namespace), namespace))
	})
	g := &v1alpha1.AccessGrant{}
	eventually(t, "the grant has ended", func(ctx context.Context) bool {
		return e.Admin.Get(ctx, client.ObjectKey{Name: active.Status.GrantName}, g) == nil && g.Status.Phase == v1alpha1.GrantEnded
	})
	// Which the broker sees first depends on the namespace controller.
	switch g.Status.EndReason {
	case v1alpha1.EndNamespaceGone, v1alpha1.EndRequestDeleted, v1alpha1.EndBindingTouched:
	default:
		t.Errorf("the grant ended with %s", g.Status.EndReason)
	}
	if env.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

func eventually(t *testing.T, what string, holds func(context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, env.Patience, true, func(ctx context.Context) (bool, error) {
		return holds(ctx), nil
	})
	if err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}
