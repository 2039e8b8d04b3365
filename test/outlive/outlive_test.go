// Package outlive shows that an issued credential dies when nothing of Access Broker
// is left to take it: it waits for that, which takes about twelve minutes. `make
// test-outlive` runs it; it holds no more than a control plane that does nothing.
package outlive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// granted is the shortest life that an API server gives a token.
const granted = 10 * time.Minute

// leeway is how long an API server takes a token after its end: a minute, and up to
// ten seconds more one that it has just taken. The rest is for a busy machine.
const leeway = time.Minute + 10*time.Second + 5*time.Second

func TestMain(m *testing.M) {
	if os.Getenv("TEST_OUTLIVE") == "" {
		fmt.Println("test/outlive takes twelve minutes: make test-outlive runs it")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestCredentialDiesWithoutABroker(t *testing.T) {
	e := kit.Start(t)
	var alice, bob client.Client
	if err := errors.Join(
		e.Hire("dev", lab.People{"alice": &alice}), e.Hire("sre", lab.People{"bob": &bob}),
		e.Bind(t.Context(), "access-requester", "dev"), e.Bind(t.Context(), "access-approver", "sre"),
	); err != nil {
		t.Fatal(err)
	}
	replicas := []*lab.Process{e.StartBroker(t, "one", "--leader-elect"), e.StartBroker(t, "two", "--leader-elect")}
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, kit.Issues)
	key := kit.NewKey(t)
	request := e.AskIssued(t, alice, ns, key, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: granted} })
	active := e.Approved(t, bob, request)
	credential := active.Status.Credential
	issued := e.WithToken(t, kit.Open(t, key, active))
	for _, replica := range replicas {
		replica.Kill()
	}
	e.ControllerManager.Kill()

	ends := credential.ExpirationTime.Time
	if late := ends.Sub(active.Status.ExpirationTime.Time); late < 0 || late > 2*time.Second {
		t.Errorf("the token ends %s after the grant", late)
	}
	var last time.Time                   // that it was taken
	every := time.NewTicker(time.Second) // often enough to tell, and next to no work
	defer every.Stop()
	err := lab.Until(t.Context(), time.Until(ends)+leeway+time.Minute, func(ctx context.Context) (bool, error) {
		select {
		case <-every.C:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		asked := time.Now()
		err := issued.List(ctx, &corev1.PodList{}, client.InNamespace(ns))
		switch {
		case err == nil:
			last = asked
			return false, nil
		case apierrors.IsUnauthorized(err):
			return true, nil
		}
		return false, err
	})
	if err != nil {
		t.Fatalf("the token was still taken at %s; it ended at %s: %v", last, ends, err)
	}
	t.Logf("the token ended at %s and was taken for the last time %s later", ends.Format(time.TimeOnly), last.Sub(ends).Round(time.Millisecond))
	switch {
	case last.Before(ends):
		t.Errorf("the access ended %s before its token: something else took it", ends.Sub(last))
	case last.After(ends.Add(leeway)):
		t.Errorf("the token outlived its end by %s", last.Sub(ends))
	}
	// The token died, and nothing else took the access: what it would need is there.
	g := &v1alpha1.AccessGrant{}
	if err := errors.Join(
		e.Admin.Get(t.Context(), client.ObjectKey{Name: active.Status.GrantName}, g),
		e.Admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: active.Status.GrantName}, &rbacv1.RoleBinding{}),
		e.Admin.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.GrantsNamespace, Name: active.Status.GrantName}, &corev1.ServiceAccount{}),
	); err != nil {
		t.Error(err)
	}
	if g.Status.Phase != v1alpha1.GrantActive {
		t.Errorf("the grant is %s, though no broker runs", g.Status.Phase)
	}
	// A broker that comes back takes the rest, and tells how late it was.
	kit.Restart(t, replicas[0])
	e.WaitEnded(t, g.Name, v1alpha1.EndExpired)
	e.WaitGone(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: g.Name}})
}
