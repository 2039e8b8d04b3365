package e2e

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestApprovedAccessExpires(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	newPolicy(t, ns, nil)
	if can(t, alice, ns) {
		t.Fatal("alice has standing access")
	}
	request := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 3 * time.Second} })
	waitMatched(t, request)
	if can(t, alice, ns) {
		t.Fatal("alice has access before anybody approved")
	}
	mustDecide(t, bob, request, v1alpha1.VerdictApprove)
	active := waitFor(t, request, v1alpha1.RequestActive)
	if !can(t, alice, ns) {
		t.Fatal("alice has no access though it is Active")
	}
	if can(t, dave, ns) {
		t.Fatal("dave has alice's access")
	}
	waitFor(t, request, v1alpha1.RequestExpired)
	if can(t, alice, ns) {
		t.Fatal("alice still has access")
	}
	g := waitEnded(t, active.Status.GrantName, v1alpha1.EndExpired)
	if late := g.Status.EndedTime.Sub(g.Spec.ExpirationTime.Time); late < 0 || late > 5*time.Second {
		t.Errorf("ended %s after the deadline", late)
	}
}
