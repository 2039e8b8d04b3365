// Package oneidentity runs the product where all controllers of Kubernetes have
// one identity: kube-controller-manager without --use-service-account-credentials.
package oneidentity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e *kit.Cluster
	// alice asks, of group dev.
	alice client.Client
)

func TestMain(m *testing.M) {
	kit.MainOn(lab.Options{OneIdentity: true}, func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if err := errors.Join(e.Hire("dev", lab.People{"alice": &alice}), e.Bind(ctx, "access-requester", "dev")); err != nil {
		return 1, err
	}
	if err := collected(ctx); err != nil {
		return 1, err
	}
	broker, err := e.Broker(ctx, "broker")
	if err != nil {
		return 1, err
	}
	return kit.Run(ctx, m, broker)
}

// collected waits until the garbage collector knows of requests: what it does
// with the dependents of an object it does with those that it knows of.
func collected(ctx context.Context) error {
	orphan := lab.NewRequest(metav1.NamespaceDefault, nil)
	orphan.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "never-was", UID: "00000000-0000-0000-0000-000000000000"}}
	if err := alice.Create(ctx, orphan); err != nil {
		return err
	}
	return lab.Until(ctx, patience, func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(orphan), orphan)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}

// patience of the garbage collector: it looks for new kinds every thirty seconds.
const patience = 3 * kit.Patience

// gone waits until an object is gone.
func gone(t *testing.T, o client.Object) {
	t.Helper()
	e.WaitGoneWithin(t, patience, o)
}

// held is access of alice, of a request that is made by edit.
func held(t *testing.T, edit func(ns string, r *v1alpha1.AccessRequest)) (ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](0) })
	request = lab.NewRequest(ns, nil)
	if edit != nil {
		edit(ns, request)
	}
	kit.Create(t, alice, request)
	request = e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Fatal("alice has no access")
	}
	return ns, request
}

func TestNamespaceIsDeleted(t *testing.T) {
	t.Parallel()
	ns, request := held(t, nil)
	g := e.GrantOf(t, request)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}
	kit.Delete(t, e.Admin, namespace)
	gone(t, namespace)
	kit.Within(t, patience, "the end of the grant", func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(g), g)
		return g.Status.Phase == v1alpha1.GrantEnded, err
	})
	// Whichever of them the broker saw first.
	if !slices.Contains([]v1alpha1.EndReason{v1alpha1.EndNamespaceGone, v1alpha1.EndRequestDeleted, v1alpha1.EndBindingTouched}, g.Status.EndReason) {
		t.Errorf("the grant is %s, %s", g.Status.Phase, g.Status.EndReason)
	}
}

func TestRequestGoesWithItsOwner(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]metav1.DeletionPropagation{"in the background": metav1.DeletePropagationBackground, "in the foreground": metav1.DeletePropagationForeground} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job := &batchv1.Job{}
			ns, request := held(t, func(ns string, r *v1alpha1.AccessRequest) {
				job = kit.NewJob(ns, "migrate")
				kit.Create(t, e.Admin, job)
				if err := controllerutil.SetOwnerReference(job, r, e.Admin.Scheme()); err != nil {
					t.Fatal(err)
				}
			})
			g := e.GrantOf(t, request)
			if err := e.Admin.Delete(t.Context(), job, client.PropagationPolicy(how)); err != nil {
				t.Fatal(err)
			}
			gone(t, request)
			e.WaitEnded(t, g.Name, v1alpha1.EndRequestDeleted)
			if kit.Can(t, alice, ns) {
				t.Error("alice has access still")
			}
		})
	}
}

// What the garbage collector does to a request before and after its deletion
// are updates: it takes a finalizer away, and an owner that left its dependents.
func TestGarbageCollectorUpdates(t *testing.T) {
	t.Parallel()
	t.Run("a request deleted in the foreground", func(t *testing.T) {
		t.Parallel()
		_, request := held(t, nil)
		g := e.GrantOf(t, request)
		if err := alice.Delete(t.Context(), request.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
			t.Fatal(err)
		}
		gone(t, request)
		e.WaitEnded(t, g.Name, v1alpha1.EndRequestDeleted)
	})
	t.Run("an owner that leaves its dependents", func(t *testing.T) {
		t.Parallel()
		owner := &corev1.ConfigMap{}
		_, request := held(t, func(ns string, r *v1alpha1.AccessRequest) {
			owner = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "owner"}}
			kit.Create(t, e.Admin, owner)
			if err := controllerutil.SetOwnerReference(owner, r, e.Admin.Scheme()); err != nil {
				t.Fatal(err)
			}
		})
		if err := e.Admin.Delete(t.Context(), owner, client.PropagationPolicy(metav1.DeletePropagationOrphan)); err != nil {
			t.Fatal(err)
		}
		gone(t, owner)
		e.WaitUntil(t, request, "no owner", func(r *v1alpha1.AccessRequest) bool { return len(r.OwnerReferences) == 0 })
	})
	t.Run("a binding deleted in the foreground", func(t *testing.T) {
		t.Parallel()
		ns, request := held(t, nil)
		g := e.GrantOf(t, request)
		binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: g.Name}}
		if err := e.Admin.Delete(t.Context(), binding, client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
			t.Fatal(err)
		}
		gone(t, binding)
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
	})
}

// One identity for all controllers is nobody's key to grants and bindings.
func TestControllersDoNoMore(t *testing.T) {
	t.Parallel()
	ns, request := held(t, nil)
	g := e.GrantOf(t, request)
	manager := e.Person(t, "system:kube-controller-manager", "system:masters")
	const brokerOnly = "written by the broker alone"
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: g.Name}}
	forged := binding.DeepCopy()
	forged.Name, forged.Labels = "forged", map[string]string{v1alpha1.LabelGrant: g.Name}
	forged.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}
	patch := func(o client.Object, body string) func() error {
		return func() error {
			return manager.Patch(t.Context(), o.DeepCopyObject().(client.Object), client.RawPatch("application/merge-patch+json", []byte(body)))
		}
	}
	for what, do := range map[string]func() error{
		"a binding's subjects":   patch(binding, `{"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"mallory"}]}`),
		"a binding's label":      patch(binding, `{"metadata":{"labels":{"jit.accessbroker.dev/grant":"other"}}}`),
		"a binding's finalizers": patch(binding, `{"metadata":{"finalizers":["example.com/keep"]}}`),
		"another owner":          patch(binding, fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":%q,"uid":"1"}]}}`, ns)),
		"a labelled binding":     func() error { return manager.Create(t.Context(), forged.DeepCopy()) },
		"the broker's finalizer": patch(g, `{"metadata":{"finalizers":null}}`),
		"a grant's label":        patch(g, `{"metadata":{"labels":{"a":"b"}}}`),
		"a grant's status": func() error {
			return manager.Status().Patch(t.Context(), g.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Ended"}}`)))
		},
		"a grant of its own": func() error {
			return manager.Create(t.Context(), &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: "forged"}, Spec: g.Spec})
		},
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), brokerOnly) {
			t.Errorf("%s: %v, want a refusal that says %q", what, err, brokerOnly)
		}
	}
	if !kit.Can(t, alice, ns) {
		t.Error("what was refused ended the access")
	}
}
