package e2e

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// These tests stop the broker that all tests share, so they are not parallel:
// Go runs them while the parallel ones wait.

func TestBrokerRestartsWhileActive(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, nil)
	active := e.Approved(t, bob, request)
	before := e.GrantOf(t, request)

	broker.Kill()
	if !kit.Can(t, alice, ns) {
		t.Error("access is gone with the broker")
	}
	// What is decided while the broker is away holds when it is back.
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	startBroker(t)
	after := e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
	if !after.Spec.ExpirationTime.Equal(&before.Spec.ExpirationTime) || after.UID != before.UID {
		t.Errorf("the restart moved the deadline from %s to %s", before.Spec.ExpirationTime, after.Spec.ExpirationTime)
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

func TestBrokerRestartsAfterTheDeadline(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 3 * time.Second} })
	e.WaitFor(t, request, v1alpha1.RequestActive)
	g := e.GrantOf(t, request)
	broker.Kill()
	kit.WaitPast(t, g.Spec.ExpirationTime.Time)
	if !kit.Can(t, alice, ns) {
		t.Error("something revoked while no broker ran: the documents say that nothing does")
	}
	startBroker(t)
	e.WaitEnded(t, g.Name, v1alpha1.EndExpired)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	e.WaitFor(t, request, v1alpha1.RequestExpired)
}

// An approval that comes too late, while the broker is away, does not grant.
func TestApprovalAfterTheTimeoutWithTheBrokerDown(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.PendingTimeout = &metav1.Duration{Duration: 3 * time.Second} })
	request := e.Ask(t, alice, ns, nil)
	e.WaitMatched(t, request)
	broker.Kill()
	kit.WaitPast(t, request.CreationTimestamp.Add(4*time.Second))
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	startBroker(t)
	e.WaitFor(t, request, v1alpha1.RequestLapsed)
	if kit.Can(t, alice, ns) {
		t.Error("alice has access")
	}
}

func startBroker(t *testing.T) {
	t.Helper()
	if err := broker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}
