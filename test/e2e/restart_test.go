package e2e

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// These tests stop the broker that all tests share, so they are not parallel:
// Go runs them while the parallel ones wait.

func TestBrokerRestartsWhileActive(t *testing.T) {
	ns := newNamespace(t, nil)
	newPolicy(t, ns, nil)
	request := ask(t, alice, ns, nil)
	waitMatched(t, request)
	mustDecide(t, bob, request, v1alpha1.VerdictApprove)
	active := waitFor(t, request, v1alpha1.RequestActive)
	before := grantOf(t, request)

	broker.Kill()
	if !can(t, alice, ns) {
		t.Error("access is gone with the broker")
	}
	// What is decided while the broker is away holds when it is back.
	mustDecide(t, alice, request, v1alpha1.VerdictRelease)
	startBroker(t)
	after := waitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
	if !after.Spec.ExpirationTime.Equal(&before.Spec.ExpirationTime) || after.UID != before.UID {
		t.Errorf("the restart moved the deadline from %s to %s", before.Spec.ExpirationTime, after.Spec.ExpirationTime)
	}
	if can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

func TestBrokerRestartsAfterTheDeadline(t *testing.T) {
	ns := newNamespace(t, nil)
	newPolicy(t, ns, automatic(nil))
	request := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 3 * time.Second} })
	waitFor(t, request, v1alpha1.RequestActive)
	g := grantOf(t, request)
	broker.Kill()
	waitPast(t, g.Spec.ExpirationTime.Time)
	if !can(t, alice, ns) {
		t.Error("something revoked while no broker ran: the documents say that nothing does")
	}
	startBroker(t)
	waitEnded(t, g.Name, v1alpha1.EndExpired)
	if can(t, alice, ns) {
		t.Error("alice still has access")
	}
	waitFor(t, request, v1alpha1.RequestExpired)
}

// An approval that comes too late, while the broker is away, does not grant.
func TestApprovalAfterTheTimeoutWithTheBrokerDown(t *testing.T) {
	ns := newNamespace(t, nil)
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.PendingTimeout = &metav1.Duration{Duration: 3 * time.Second} })
	request := ask(t, alice, ns, nil)
	waitMatched(t, request)
	broker.Kill()
	waitPast(t, request.CreationTimestamp.Add(4*time.Second))
	mustDecide(t, bob, request, v1alpha1.VerdictApprove)
	startBroker(t)
	waitFor(t, request, v1alpha1.RequestLapsed)
	if can(t, alice, ns) {
		t.Error("alice has access")
	}
}

func startBroker(t *testing.T) {
	t.Helper()
	if err := broker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// waitPast waits until the clock, which is the API server's too, is past a moment.
func waitPast(t *testing.T, moment time.Time) {
	t.Helper()
	err := wait.PollUntilContextCancel(t.Context(), 20*time.Millisecond, true, func(context.Context) (bool, error) {
		return time.Now().After(moment), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
