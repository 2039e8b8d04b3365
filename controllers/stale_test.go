package controllers

import (
	"context"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/rbac"
)

// grantsNothing reconciles a request and finds no grant of it.
func (w *world) grantsNothing(request *v1alpha1.AccessRequest) {
	w.t.Helper()
	// A conflict with what the cache has not seen is no matter.
	if _, err := w.requests.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(request)}); err != nil {
		w.t.Fatalf("reconcile request: %v", err)
	}
	err := e.Admin.Get(w.t.Context(), client.ObjectKey{Name: grant.Name(request.Name, request.UID)}, &v1alpha1.AccessGrant{})
	if !apierrors.IsNotFound(err) {
		w.t.Errorf("there is a grant: %v", err)
	}
}

// A Deny that the cache has not seen yet wins over the approval that it has.
func TestDenyThatTheCacheHasNotSeen(t *testing.T) {
	w := newWorld(t, nil)
	request := w.ask()
	w.reconcileRequest(request)
	w.decide(bob, request, v1alpha1.VerdictApprove)
	approved := w.request(request)
	w.decide(bob, request, v1alpha1.VerdictDeny)
	w.use(failing(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if r, ok := o.(*v1alpha1.AccessRequest); ok && key == client.ObjectKeyFromObject(request) {
				approved.DeepCopyInto(r)
				return nil
			}
			return c.Get(ctx, key, o, opts...)
		},
	}), broker.GetAPIReader())
	w.grantsNothing(request)
}

// Neither does a policy that was narrowed after the cache saw it.
func TestPolicyThatTheCacheHasNotSeen(t *testing.T) {
	w := newWorld(t, nil)
	request := w.ask()
	w.reconcileRequest(request)
	w.decide(bob, request, v1alpha1.VerdictApprove)
	w.fresh(request)
	before := w.policy.DeepCopy()
	w.policy.Spec.Roles[0].Name = "view"
	if err := e.Admin.Update(t.Context(), w.policy); err != nil {
		t.Fatal(err)
	}
	w.use(failing(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if policies, ok := list.(*v1alpha1.AccessPolicyList); ok {
				for i := range policies.Items {
					if policies.Items[i].UID == before.UID {
						policies.Items[i] = *before
					}
				}
			}
			return err
		},
	}), broker.GetAPIReader())
	w.grantsNothing(request)
}

// A binding that somebody else put in the place of the grant's, while the cache
// still shows the grant's: it is left alone.
func TestRemovalIsByUID(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	seen := w.bindings()[0]
	if err := e.Admin.Delete(t.Context(), seen.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	other := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: g.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "dave"}},
	}
	w.create(other)
	w.use(failing(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if b, ok := o.(*rbacv1.RoleBinding); ok && key == client.ObjectKeyFromObject(&seen) {
				seen.DeepCopyInto(b)
				return nil
			}
			return c.Get(ctx, key, o, opts...)
		},
	}), broker.GetAPIReader())
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndExpired)
	if left := w.bindings(); len(left) != 1 || left[0].UID != other.UID {
		t.Errorf("the other's binding was touched: %v", left)
	}
}

// A binding that comes back between its removal and the question whether the
// access is gone: the API server names it, and the end is not claimed.
func TestEndIsNotClaimedWhileABindingAllows(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	var once sync.Once
	w.use(failing(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if _, ok := o.(*authorizationv1.SubjectAccessReview); ok {
				once.Do(func() {
					if err := c.Create(ctx, rbac.New(grant.Bindings(g)[0])); err != nil {
						t.Errorf("make the binding anew: %v", err)
					}
					err := wait.PollUntilContextTimeout(ctx, time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) { return w.can(), nil })
					if err != nil {
						t.Errorf("alice has no access: %v", err)
					}
				})
			}
			return c.Create(ctx, o, opts...)
		},
	}), broker.GetAPIReader())
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	next, err := w.tryGrant(g)
	if err != nil || next.RequeueAfter != verifyAgain {
		t.Errorf("the end is looked at again in %s, %v", next.RequeueAfter, err)
	}
	current := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
		t.Fatal(err)
	}
	if current.Status.Phase == v1alpha1.GrantEnded {
		t.Errorf("the end is claimed: %v", current.Status.Conditions)
	}
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndExpired)
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: g.Name}, &rbacv1.RoleBinding{}); !apierrors.IsNotFound(err) {
		t.Errorf("the binding is left: %v", err)
	}
}
