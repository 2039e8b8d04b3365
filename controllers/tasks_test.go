package controllers

import (
	"context"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The broker looks at a task every minute, whatever its watch shows, while a request
// waits for it and while a grant lasts with it.
func TestTaskIsLookedAtEveryMinute(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](0) })
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
	})
	w.reconcileRequest(request)
	if again := w.reconcileRequest(request).RequeueAfter; again <= 0 || again > time.Minute {
		t.Errorf("a request that waits for its task is looked at again after %s", again)
	}
	job := kit.NewJob(w.namespace, "migrate")
	job.Spec.Suspend = ptr.To(true)
	w.create(job)
	if again := w.reconcileRequest(request).RequeueAfter; again <= 0 || again > time.Minute {
		t.Errorf("a request whose task is held back is looked at again after %s", again)
	}
	e.Patch(t, job.DeepCopy(), `{"spec":{"suspend":false}}`)
	w.reconcileRequest(request)
	g := w.grantOf(request)
	for range 2 { // gives, then is Active
		if again := w.reconcileGrant(g).RequeueAfter; again <= 0 || again > time.Minute {
			t.Errorf("a grant with a task is looked at again after %s", again)
		}
	}
	e.FinishJob(t, w.namespace, "migrate", "Succeeded")
	err := lab.Until(t.Context(), kit.Patience, func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(job), job)
		return job.Status.CompletionTime != nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.reconcileGrant(g)
	if got := w.grantOf(request).Status.EndReason; got != v1alpha1.EndTaskCompleted {
		t.Errorf("the grant ended with %q", got)
	}
}

// When the API server no longer serves a kind, that says nothing about an object of
// it, until the kind has been gone for so long that its objects must be.
func TestKindIsServedNoMore(t *testing.T) {
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "moves.example.com"},
		"spec": map[string]any{
			"group": "example.com", "scope": "Namespaced",
			"names": map[string]any{"plural": "moves", "singular": "move", "kind": "Move", "listKind": "MoveList"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
	}}
	w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](0) })
	w.create(crd)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: resolve.TaskKindsRole}}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(role), role); err != nil {
		t.Fatal(err)
	}
	role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{"example.com"}, Resources: []string{"moves"}, Verbs: []string{"*"}})
	if err := e.Admin.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	w.fresh(role)
	task := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Move", "metadata": map[string]any{"namespace": w.namespace, "name": "ledger"}, "done": false,
	}}
	eventually := func(what string, holds func(context.Context) bool) {
		t.Helper()
		err := lab.Until(t.Context(), kit.Patience, func(ctx context.Context) (bool, error) { return holds(ctx), nil })
		if err != nil {
			t.Fatalf("waiting until %s: %v", what, err)
		}
	}
	eventually("the kind is served", func(ctx context.Context) bool { return e.Admin.Create(ctx, task.DeepCopy()) == nil })
	eventually("the broker may read it", func(ctx context.Context) bool {
		return broker.GetAPIReader().Get(ctx, client.ObjectKeyFromObject(task), task) == nil
	})
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "example.com/v1", Kind: "Move", Name: "ledger", CompleteWhen: "object.done"}
	})
	w.reconcileRequest(request)
	g := w.grantOf(request)
	w.reconcileGrant(g)

	if err := unstructured.SetNestedField(crd.Object, false, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	e.Patch(t, crd, `{"spec":{"versions":[{"name":"v1","served":false,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`)
	eventually("the kind is served no more", func(ctx context.Context) bool {
		return resolve.NotServed(e.Admin.Get(ctx, client.ObjectKeyFromObject(task), task.DeepCopy()))
	})
	w.reconcileGrant(g)
	told := meta.FindStatusCondition(w.grantOf(request).Status.Conditions, v1alpha1.ConditionTaskWatched)
	if told == nil || told.Reason != v1alpha1.ReasonTaskNotServed || !w.can() {
		t.Fatalf("alice has access: %v, and is told %v", w.can(), told)
	}
	w.clock.SetTime(w.clock.Now().Add(5*time.Minute - time.Second))
	w.reconcileGrant(g)
	if !w.can() {
		t.Fatal("the access ended though the kind may come back")
	}
	w.clock.SetTime(w.clock.Now().Add(2 * time.Second))
	w.reconcileGrant(g)
	w.wantLost()
	if got := w.grantOf(request).Status.EndReason; got != v1alpha1.EndTaskGone {
		t.Errorf("the grant ended with %q", got)
	}
}
