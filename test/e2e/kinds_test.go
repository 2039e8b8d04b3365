package e2e

import (
	"context"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// A kind that the broker has never heard of: the administrator lists it, and the
// request says when it is over.
func TestTaskOfAnotherKind(t *testing.T) {
	t.Parallel()
	newMigrationKind(t)
	listKind(t, "example.com", "migrations", "get", "list", "watch")

	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	migration := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Migration", "metadata": map[string]any{"namespace": ns, "name": "ledger"},
	}}
	kit.Create(t, e.Admin, migration.DeepCopy())
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "example.com/v1", Kind: "Migration", Name: "ledger", CompleteWhen: succeeded}
	})
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	e.PatchStatus(t, migration, `{"status":{"conditions":[{"type":"Succeeded","status":"Unknown"}]}}`)
	if !kit.Can(t, alice, ns) {
		t.Error("the access ended while the task ran")
	}
	e.PatchStatus(t, migration, `{"status":{"conditions":[{"type":"Succeeded","status":"True"}]}}`)
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndTaskCompleted)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

// succeeded is true when an object has the condition.
const succeeded = "object.status.?conditions.orValue([]).exists(c, c.type == 'Succeeded' && c.status == 'True')"

func newMigrationKind(t *testing.T) { newKind(t, "example.com", "Migration", "Namespaced", "v1") }

// newKind makes a kind of any shape that is served in these versions, stored in the
// last one.
func newKind(t *testing.T, group, kind, scope string, versions ...string) *unstructured.Unstructured {
	t.Helper()
	plural := strings.ToLower(kind) + "s"
	var served []any
	for i, version := range versions {
		served = append(served, map[string]any{
			"name": version, "served": true, "storage": i == len(versions)-1,
			"subresources": map[string]any{"status": map[string]any{}},
			"schema":       map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
		})
	}
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + group},
		"spec": map[string]any{
			"group": group, "scope": scope,
			"names":    map[string]any{"plural": plural, "singular": strings.ToLower(kind), "kind": kind, "listKind": kind + "List"},
			"versions": served,
		},
	}}
	if strings.HasSuffix(group, ".k8s.io") {
		crd.SetAnnotations(map[string]string{"api-approved.kubernetes.io": "unapproved, a test"})
	}
	kit.Create(t, e.Admin, crd)
	kit.Eventually(t, "the new kind to be served", func(ctx context.Context) (bool, error) {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(group + "/" + versions[0])
		list.SetKind(kind + "List")
		err := e.Admin.List(ctx, list)
		return err == nil, err
	})
	return crd
}

// listKind adds a kind to the list of kinds that a task may be of, and waits until
// the broker may do what is listed.
func listKind(t *testing.T, group, resource string, verbs ...string) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error { // tests add kinds at the same time
		role := &rbacv1.ClusterRole{}
		if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: "access-broker-task-kinds"}, role); err != nil {
			return err
		}
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs})
		return e.Admin.Update(t.Context(), role)
	})
	if err != nil {
		t.Fatal(err)
	}
	if resource == rbacv1.ResourceAll {
		resource = "probe"
	}
	kit.Eventually(t, "the broker to be allowed to read the kind", func(ctx context.Context) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + lab.BrokerNamespace + ":" + lab.BrokerServiceAccount,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Group: group, Resource: resource, Verb: verbs[0], Namespace: "default"},
		}}
		err := e.Admin.Create(ctx, review)
		return review.Status.Allowed, err
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
	kit.Delete(t, e.Admin, namespace)
	e.WaitGone(t, namespace)
	g := &v1alpha1.AccessGrant{}
	kit.Eventually(t, "the end of the grant", func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKey{Name: active.Status.GrantName}, g)
		return g.Status.Phase == v1alpha1.GrantEnded, err
	})
	// Which the broker sees first depends on the namespace controller.
	switch g.Status.EndReason {
	case v1alpha1.EndNamespaceGone, v1alpha1.EndRequestDeleted, v1alpha1.EndBindingTouched:
	default:
		t.Errorf("the grant ended with %s", g.Status.EndReason)
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}
