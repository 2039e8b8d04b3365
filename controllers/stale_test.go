package controllers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	grantcontroller "github.com/accessbroker/accessbroker/controllers/grant"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
)

// With a cache that does not show the latest change, nothing is granted: what was
// weighed must be what the API server has.
func TestStaleCacheGrantsNothing(t *testing.T) {
	for name, change := range map[string]func(*world, *v1alpha1.AccessRequest){
		"the policy was narrowed": func(w *world, _ *v1alpha1.AccessRequest) {
			narrowed := w.policy.DeepCopy()
			narrowed.Spec.Approvals[0].From = []v1alpha1.PolicySubject{{Kind: "User", Name: "carol"}}
			if err := e.Admin.Update(t.Context(), narrowed); err != nil {
				t.Fatal(err)
			}
		},
		"the policy was deleted": func(w *world, _ *v1alpha1.AccessRequest) {
			if err := e.Admin.Delete(t.Context(), w.policy.DeepCopy()); err != nil {
				t.Fatal(err)
			}
		},
		"somebody denied": func(w *world, request *v1alpha1.AccessRequest) { w.decide(bob, request, v1alpha1.VerdictDeny) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			request := w.ask()
			w.reconcileRequest(request)
			w.decide(bob, request, v1alpha1.VerdictApprove)
			w.fresh(request)
			oldRequest, oldPolicy := w.request(request), w.policy.DeepCopy()
			if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(w.policy), oldPolicy); err != nil {
				t.Fatal(err)
			}
			w.policy = oldPolicy.DeepCopy()
			change(w, request)
			w.use(failing(interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					switch o := o.(type) {
					case *v1alpha1.AccessRequest:
						oldRequest.DeepCopyInto(o)
						return nil
					case *v1alpha1.AccessPolicy:
						oldPolicy.DeepCopyInto(o)
						return nil
					}
					return c.Get(ctx, key, o, opts...)
				},
				List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
					if list, ok := list.(*v1alpha1.AccessPolicyList); ok {
						list.Items = []v1alpha1.AccessPolicy{*oldPolicy}
						return nil
					}
					return c.List(ctx, list, opts...)
				},
			}), broker.GetAPIReader())
			w.reconcileRequest(request)
			var grants v1alpha1.AccessGrantList
			if err := e.Admin.List(t.Context(), &grants); err != nil {
				t.Fatal(err)
			}
			for i := range grants.Items {
				if grants.Items[i].Spec.RequestRef.UID == request.UID {
					t.Errorf("granted: %s", grants.Items[i].Spec.Summary)
				}
			}
			if phase := w.request(request).Status.Phase; phase != v1alpha1.RequestPending {
				t.Errorf("the request is %s, want Pending", phase)
			}
		})
	}
}

// The broker leaves a binding alone that somebody else put in the place of the
// grant's, while the cache still shows the grant's.
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

// When a binding comes back between its removal and the question whether the access
// is gone, the API server names it, and the broker does not claim the end.
func TestEndIsNotClaimedWhileABindingAllows(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	var once sync.Once
	w.use(failing(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if _, ok := o.(*authorizationv1.SubjectAccessReview); ok {
				once.Do(func() {
					if err := c.Create(ctx, access.New(grant.Bindings(g)[0])); err != nil {
						t.Errorf("make the binding anew: %v", err)
					}
					err := lab.Until(ctx, 10*time.Second, func(context.Context) (bool, error) { return w.can(), nil })
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
	if err != nil || next.RequeueAfter != grantcontroller.VerifyAgain {
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

// A grant that its own writer could not give at once is checked like any other: the
// approvals that it rests on may count no more.
func TestWrittenIsCheckedAtTheSecondTry(t *testing.T) {
	w := newWorld(t, nil)
	fails := true
	w.use(failing(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if _, ok := o.(*rbacv1.RoleBinding); ok && fails {
				return errBroken
			}
			return c.Create(ctx, o, opts...)
		},
	}), broker.GetAPIReader())
	w.requests.Wrote = w.grants.Wrote
	_, g := w.approved()
	if _, err := w.tryGrant(g); !errors.Is(err, errBroken) {
		t.Fatalf("got %v, want the failed creation", err)
	}
	narrowed := w.policy.DeepCopy()
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(narrowed), narrowed); err != nil {
		t.Fatal(err)
	}
	narrowed.Spec.Approvals[0].From = []v1alpha1.PolicySubject{{Kind: "User", Name: "carol"}}
	if err := e.Admin.Update(t.Context(), narrowed); err != nil {
		t.Fatal(err)
	}
	w.fresh(narrowed)
	fails = false
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndNotApproved)
}
