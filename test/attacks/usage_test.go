package attacks

import (
	"context"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// usageOf is the AccessUsage of a grant as the observer begins it.
func usageOf(g *v1alpha1.AccessGrant) *v1alpha1.AccessUsage {
	u := &v1alpha1.AccessUsage{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
	u.Spec.GrantRef = v1alpha1.ObjectRef{Name: g.Name, UID: g.UID}
	if g.UID == "" { // of a grant that is not there
		u.Spec.GrantRef.UID = "00000000-0000-0000-0000-000000000000"
	}
	u.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: g.Name, UID: u.Spec.GrantRef.UID}}
	u.Status.Phase = v1alpha1.UsageObserving
	return u
}

// observed is access of alice with a call that was seen.
func observed(t *testing.T) (*v1alpha1.AccessGrant, *v1alpha1.AccessUsage) {
	t.Helper()
	_, _, g := held(t)
	u := usageOf(g)
	u.Status.Calls = 1
	kit.Create(t, observer, u)
	return g, u
}

const byObserver = "usage is written by the observer alone"

// What was done with the access is told by the observer, and by nobody else.
func TestUsage(t *testing.T) {
	t.Parallel()
	as := func(name string) client.Client { // with every right that RBAC has to give
		return e.Somebody(t, rest.ImpersonationConfig{UserName: name, Groups: []string{"system:masters"}})
	}
	collector, migrator := as("system:serviceaccount:kube-system:generic-garbage-collector"), as("system:serviceaccount:kube-system:storage-version-migrator-controller")
	_, _, unseen := held(t)
	_, u := observed(t)
	t.Cleanup(func() {
		now := &v1alpha1.AccessUsage{}
		if err := e.Admin.Get(context.WithoutCancel(t.Context()), client.ObjectKey{Name: u.Name}, now); err != nil || now.Status.Calls != 1 || len(now.OwnerReferences) != 1 || len(now.Labels)+len(now.Finalizers) != 0 {
			t.Errorf("the usage was changed: %+v, %v", now, err)
		}
	})
	writes := func(c client.Client) func(*testing.T) error {
		return func(t *testing.T) error { return c.Create(t.Context(), usageOf(unseen)) }
	}
	patched := func(c client.Client, body string) func(*testing.T) error {
		return func(t *testing.T) error { return merge(t, c, u.DeepCopy(), body) }
	}
	deletes := func(c client.Client) func(*testing.T) error {
		return func(t *testing.T) error { return c.Delete(t.Context(), u.DeepCopy()) }
	}
	const (
		nothing = `{"status":{"calls":0}}`
		label   = `{"metadata":{"labels":{"seen":"no"}}}`
		owner   = `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"00000000-0000-0000-0000-000000000000"}]}}`
	)
	refused(t, "usage written by who holds the access", "is forbidden: User \"alice\" cannot", writes(alice))
	refused(t, "usage written by a cluster administrator", byObserver, writes(e.Admin))
	refused(t, "usage changed by a cluster administrator", byObserver, patched(e.Admin, nothing))
	refused(t, "label put on usage by a cluster administrator", byObserver, patched(e.Admin, label))
	refused(t, "usage deleted by a cluster administrator", byObserver, deletes(e.Admin))
	refused(t, "all usage deleted by a cluster administrator", byObserver, func(t *testing.T) error {
		return e.Admin.DeleteAllOf(t.Context(), &v1alpha1.AccessUsage{}, client.DryRunAll)
	})
	refused(t, "usage given an owner that does not exist", byObserver, patched(e.Admin, owner))
	refused(t, "usage written with the broker's token", "is forbidden: User \"system:serviceaccount:access-broker-system:access-broker\" cannot", writes(stolen))
	refused(t, "usage written as the broker with every right", byObserver, writes(as("system:serviceaccount:access-broker-system:access-broker")))
	refused(t, "usage changed as the broker with every right", byObserver, patched(as("system:serviceaccount:access-broker-system:access-broker"), nothing))
	refused(t, "usage written by an access-observer of another namespace", byObserver, writes(as("system:serviceaccount:default:access-observer")))
	refused(t, "usage written by a user named like the observer", byObserver, writes(as("access-observer")))
	refused(t, "garbage collector writes usage", byObserver, writes(collector))
	refused(t, "garbage collector changes usage", byObserver, patched(collector, nothing))
	refused(t, "garbage collector exchanges the owner of usage", byObserver, patched(collector, owner))
	refused(t, "migration that slips a call in", byObserver, patched(migrator, `{"status":{"calls":2}}`))
	refused(t, "migration that slips a label into usage", byObserver, patched(migrator, label))

	// No attack: what changes nothing.
	t.Run("usage replaced by itself is let through", func(t *testing.T) {
		t.Parallel()
		same := &v1alpha1.AccessUsage{}
		if err := migrator.Get(t.Context(), client.ObjectKey{Name: u.Name}, same); err != nil {
			t.Fatal(err)
		}
		if err := migrator.Update(t.Context(), same); err != nil {
			t.Error(err)
		}
	})
	// No attack: what the garbage collector and the broker are for.
	t.Run("usage goes with its grant", func(t *testing.T) {
		t.Parallel()
		_, mine := observed(t)
		kit.Delete(t, as("system:serviceaccount:access-broker-system:access-broker"), mine.DeepCopy())
		e.WaitGone(t, mine)
	})
}

// Whoever has the observer's token can say anything of the use of a grant that is
// there, and do nothing else.
func TestStolenObserver(t *testing.T) {
	t.Parallel()
	const (
		itsGrant   = "usage is named like its grant, which alone owns it"
		finalizers = "the observer writes no finalizers"
		noSuchVerb = "is forbidden: User \"system:serviceaccount:access-broker-system:access-observer\" cannot"
	)
	_, request, g := held(t)
	other, u := observed(t)
	creates := func(forge func(*v1alpha1.AccessUsage)) func(*testing.T) error {
		return func(t *testing.T) error {
			forged := usageOf(g)
			forge(forged)
			return observer.Create(t.Context(), forged)
		}
	}
	changed := func(forge func(*v1alpha1.AccessUsage)) func(*testing.T) error {
		return func(t *testing.T) error {
			forged := u.DeepCopy()
			forge(forged)
			return observer.Update(t.Context(), forged)
		}
	}
	refused(t, "usage owned by another's grant", itsGrant, creates(func(u *v1alpha1.AccessUsage) { u.OwnerReferences = usageOf(other).OwnerReferences }))
	refused(t, "usage of one grant under another's name", itsGrant, creates(func(u *v1alpha1.AccessUsage) { u.Name = "another" }))
	refused(t, "usage of a grant that had the name before", itsGrant, creates(func(u *v1alpha1.AccessUsage) { u.Spec.GrantRef.UID = other.UID }))
	refused(t, "usage owned by nothing", itsGrant, creates(func(u *v1alpha1.AccessUsage) { u.OwnerReferences = nil }))
	refused(t, "usage owned by something else as well", itsGrant, creates(func(u *v1alpha1.AccessUsage) {
		u.OwnerReferences = append(u.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "any", UID: "any"})
	}))
	refused(t, "usage owned by something else of the grant's name", itsGrant, creates(func(u *v1alpha1.AccessUsage) {
		u.OwnerReferences[0].APIVersion, u.OwnerReferences[0].Kind = "v1", "Pod"
	}))
	refused(t, "usage that holds up the end of its grant", itsGrant, creates(func(u *v1alpha1.AccessUsage) {
		u.OwnerReferences[0].Controller, u.OwnerReferences[0].BlockOwnerDeletion = new(true), new(true)
	}))
	refused(t, "usage that is to stay for ever", finalizers, creates(func(u *v1alpha1.AccessUsage) { u.Finalizers = []string{"example.com/stay"} }))
	refused(t, "finalizer put on usage", finalizers, changed(func(u *v1alpha1.AccessUsage) { u.Finalizers = []string{"example.com/stay"} }))
	refused(t, "owner taken off usage", itsGrant, changed(func(u *v1alpha1.AccessUsage) { u.OwnerReferences = nil }))
	refused(t, "usage moved to another grant", "spec is immutable", changed(func(u *v1alpha1.AccessUsage) { u.Spec.GrantRef.UID = g.UID }))
	refused(t, "usage deleted", noSuchVerb, func(t *testing.T) error { return observer.Delete(t.Context(), u.DeepCopy()) })
	attack(t, "usage of a grant that does not exist", func(t *testing.T) {
		forged := usageOf(&v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: "nothing-" + g.Name}})
		kit.Create(t, observer, forged)
		e.WaitGone(t, forged)
	})
	refused(t, "grant changed by the observer", noSuchVerb, func(t *testing.T) error {
		return observer.Status().Patch(t.Context(), g.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Ended"}}`)))
	})
	refused(t, "grant deleted by the observer", noSuchVerb, func(t *testing.T) error { return observer.Delete(t.Context(), g.DeepCopy()) })
	refused(t, "decision written by the observer", noSuchVerb, func(t *testing.T) error { return kit.Decide(t, observer, request, v1alpha1.VerdictApprove) })
	refused(t, "binding made by the observer", noSuchVerb, func(t *testing.T) error {
		return observer.Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: "mine"}, RoleRef: clusterRole("view")})
	})
	refused(t, "Pods read by the observer", noSuchVerb, func(t *testing.T) error { return observer.List(t.Context(), &corev1.PodList{}) })
	refused(t, "request read by the observer", noSuchVerb, func(t *testing.T) error {
		return observer.Get(t.Context(), client.ObjectKeyFromObject(request), &v1alpha1.AccessRequest{})
	})
	attack(t, "anything else by the observer", func(t *testing.T) {
		for _, what := range []authorizationv1.ResourceAttributes{
			{Verb: "*", Group: "*", Resource: "*"},
			{Verb: "create", Group: v1alpha1.GroupVersion.Group, Resource: "accessrequests", Namespace: request.Namespace},
			{Verb: "update", Group: v1alpha1.GroupVersion.Group, Resource: "accesspolicies"},
			{Verb: "patch", Group: v1alpha1.GroupVersion.Group, Resource: "accessgrants"},
			{Verb: "deletecollection", Group: v1alpha1.GroupVersion.Group, Resource: "accessusages"},
			{Verb: "get", Resource: "secrets", Namespace: lab.BrokerNamespace},
			{Verb: "create", Resource: "pods", Namespace: lab.BrokerNamespace},
			{Verb: "create", Resource: "pods", Subresource: "eviction", Namespace: request.Namespace},
			{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: lab.BrokerNamespace},
			{Verb: "impersonate", Resource: "users"},
			{Verb: "bind", Group: rbacv1.GroupName, Resource: "clusterroles"},
			{Verb: "escalate", Group: rbacv1.GroupName, Resource: "clusterroles"},
			{Verb: "delete", Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies"},
			{Verb: "get", Group: "coordination.k8s.io", Resource: "leases", Namespace: lab.BrokerNamespace},
		} {
			if kit.CanDo(t, observer, what) {
				t.Errorf("the observer may %s %s/%s", what.Verb, what.Resource, what.Subresource)
			}
		}
	})
}
