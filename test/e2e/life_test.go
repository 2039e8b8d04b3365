package e2e

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

func TestApprovedAccessExpires(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	if kit.Can(t, alice, ns) {
		t.Fatal("alice has standing access")
	}
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 3 * time.Second} })
	e.WaitMatched(t, request)
	if kit.Can(t, alice, ns) {
		t.Fatal("alice has access before anybody approved")
	}
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Fatal("alice has no access though it is Active")
	}
	if kit.Can(t, dave, ns) {
		t.Fatal("dave has alice's access")
	}
	e.WaitFor(t, request, v1alpha1.RequestExpired)
	if kit.Can(t, alice, ns) {
		t.Fatal("alice still has access")
	}
	g := e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndExpired)
	if late := g.Status.EndedTime.Sub(g.Spec.ExpirationTime.Time); late < 0 || late > 5*time.Second {
		t.Errorf("ended %s after the deadline", late)
	}
}
