package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/test/kit"
)

// issuing is a world whose policy issues credentials for up to eight hours, and a
// request of alice's for them that is approved, with its key.
func issuing(t *testing.T) (*world, *v1alpha1.AccessRequest, *v1alpha1.AccessGrant, *credential.Key) {
	t.Helper()
	w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) {
		kit.Issues(s)
		s.MaxDuration = metav1.Duration{Duration: 8 * time.Hour}
	})
	key := kit.NewKey(t)
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) {
		s.CredentialKey, s.Duration = key.Public(), &metav1.Duration{Duration: 8 * time.Hour}
	})
	w.reconcileRequest(request)
	w.decide(bob, request, v1alpha1.VerdictApprove)
	w.reconcileRequest(request)
	g := w.grantOf(request)
	return w, request, g, key
}

type tokens func(context.Context, client.Client, string, client.Object, client.Object, ...client.SubResourceCreateOption) error

// asking lets the broker ask for tokens in another way.
func (w *world) asking(ask tokens) {
	w.use(failing(interceptor.Funcs{SubResourceCreate: ask}), broker.GetAPIReader())
}

// An API server that gives an hour at most: the credential is renewed at four fifths
// of its life, lives to the deadline in the end, and is never asked for after it.
func TestCredentialIsRenewed(t *testing.T) {
	w, request, g, key := issuing(t)
	begin, asked := w.clock.Now(), 0
	w.asking(func(ctx context.Context, c client.Client, sub string, o, subObject client.Object, opts ...client.SubResourceCreateOption) error {
		asked++
		ask := subObject.(*authenticationv1.TokenRequest)
		life := min(*ask.Spec.ExpirationSeconds, 3600)
		ask.Spec.ExpirationSeconds = &life
		err := c.SubResource(sub).Create(ctx, o, subObject, opts...)
		ask.Status.ExpirationTimestamp = metav1.NewTime(w.clock.Now().Add(time.Duration(life) * time.Second)) // by the clock of the test
		return err
	})
	look := w.reconcileGrant(g).RequeueAfter
	if look > 48*time.Minute || look < 47*time.Minute {
		t.Errorf("it looks again after %s, want four fifths of an hour", look)
	}
	w.reconcileRequest(request)
	first := w.request(request).Status.Credential
	w.clock.SetTime(begin.Add(47 * time.Minute))
	w.reconcileGrant(g)
	if asked != 1 {
		t.Fatalf("%d tokens after 47 minutes, want 1", asked)
	}
	for at := 48 * time.Minute; at < 8*time.Hour; at += 6 * time.Minute {
		w.clock.SetTime(begin.Add(at))
		w.reconcileGrant(g)
		w.reconcileGrant(g)
		if c := w.grantOf(request).Status.Credential; c.ExpirationTime.Time.Before(w.clock.Now()) || c.ExpirationTime.After(g.Spec.ExpirationTime.Add(time.Second)) {
			t.Fatalf("after %s the credential lives until %s, the grant until %s", at, c.ExpirationTime, g.Spec.ExpirationTime)
		}
	}
	if asked != 10 {
		t.Errorf("%d tokens for eight hours, want 10", asked)
	}
	w.reconcileRequest(request)
	last := w.request(request)
	if last.Status.Credential.Sealed == first.Sealed || *last.Status.Credential != *w.grantOf(request).Status.Credential {
		t.Errorf("the request has %+v", last.Status.Credential)
	}
	if !kit.Can(t, e.WithToken(t, kit.Open(t, key, last)), w.namespace) {
		t.Error("the last credential has no access")
	}
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	if end := w.wantEnded(g, v1alpha1.EndExpired); end.Status.Credential.Sealed != "" || w.request(request).Status.Credential.Sealed != "" {
		t.Error("a credential is left")
	}
	if asked != 10 {
		t.Error("a token was asked for after the end")
	}
}

// A renewal that fails is tried again, and takes nothing away.
func TestRenewalFails(t *testing.T) {
	w, request, g, _ := issuing(t)
	begin, broken := w.clock.Now(), false
	w.asking(func(ctx context.Context, c client.Client, sub string, o, subObject client.Object, opts ...client.SubResourceCreateOption) error {
		if broken {
			return errBroken
		}
		hour := int64(3600)
		subObject.(*authenticationv1.TokenRequest).Spec.ExpirationSeconds = &hour
		return c.SubResource(sub).Create(ctx, o, subObject, opts...)
	})
	w.reconcileGrant(g)
	first := w.grantOf(request).Status
	broken = true
	w.clock.SetTime(begin.Add(50 * time.Minute))
	if _, err := w.tryGrant(g); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the error of the renewal", err)
	}
	if now := w.grantOf(request).Status; now.Phase != v1alpha1.GrantActive || *now.Credential != *first.Credential {
		t.Errorf("the grant is %s with %+v", now.Phase, now.Credential)
	}
	broken = false
	w.reconcileGrant(g)
	if now := w.grantOf(request).Status.Credential; now.Sealed == first.Credential.Sealed {
		t.Error("it was not renewed")
	}
}

// The record of a credential that was made is lost, and the broker with it: the next
// one makes another, for the same ServiceAccount.
func TestLostCredential(t *testing.T) {
	w, request, g, key := issuing(t)
	w.use(failing(interceptor.Funcs{
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return errBroken
		},
	}), broker.GetAPIReader())
	if _, err := w.tryGrant(g); !errors.Is(err, errBroken) {
		t.Fatalf("got %v, want the failed write", err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: g.Name}}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
		t.Fatal(err)
	}
	if c := w.request(request).Status.Credential; c != nil {
		t.Errorf("the request has a credential: %+v", c)
	}
	w.use(broker.GetClient(), broker.GetAPIReader())
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	active := w.request(request)
	if !kit.Can(t, e.WithToken(t, kit.Open(t, key, active)), w.namespace) {
		t.Error("the credential has no access")
	}
	if got := w.grantOf(request).Status.Bindings[0]; got.UID != account.UID {
		t.Errorf("the grant records %+v, the ServiceAccount is %s", got, account.UID)
	}
}

// Without a token there is no access, and nothing stays that was made for it.
func TestNoToken(t *testing.T) {
	w, request, g, _ := issuing(t)
	w.asking(func(context.Context, client.Client, string, client.Object, client.Object, ...client.SubResourceCreateOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts/token"}, g.Name, errBroken)
	})
	if _, err := w.tryGrant(g); !apierrors.IsForbidden(err) {
		t.Fatalf("got %v, want what the API server said", err)
	}
	w.reconcileRequest(request)
	if phase := w.request(request).Status.Phase; phase == v1alpha1.RequestActive {
		t.Errorf("the request is %s without a credential", phase)
	}
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	w.wantEnded(g, v1alpha1.EndNotGrantable)
	if n := len(w.bindings()); n != 0 {
		t.Errorf("%d bindings are left", n)
	}
	e.WaitGone(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: g.Name}})
	if got := w.request(request); got.Status.Phase != v1alpha1.RequestFailed || !kit.HasMessage(got.Status.Conditions, "ask for a token") {
		t.Errorf("the request is %s: %s", got.Status.Phase, kit.Describe(got.Status.Conditions))
	}
}

// Another replica than the leader takes the ServiceAccount as well.
func TestExpirerTakesTheIdentity(t *testing.T) {
	w, _, g, _ := issuing(t)
	w.reconcileGrant(g)
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileExpirer(g)
	if n := len(w.bindings()); n != 0 {
		t.Errorf("%d bindings are left", n)
	}
	e.WaitGone(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: g.Name}})
}

// So does the sweep, which has no cache.
func TestSweepTakesTheIdentity(t *testing.T) {
	w, _, g, _ := issuing(t)
	w.reconcileGrant(g)
	config, err := e.BrokerConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	direct, err := client.New(config, client.Options{Scheme: e.Admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: g.Name}}
	if _, err := access.Sweep(t.Context(), direct, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
		t.Fatalf("before the deadline: %v", err)
	}
	if _, err := access.Sweep(t.Context(), direct, g.Spec.ExpirationTime.Time); err != nil {
		t.Fatal(err)
	}
	if n := len(w.bindings()); n != 0 {
		t.Errorf("%d bindings are left", n)
	}
	e.WaitGone(t, account)
}
