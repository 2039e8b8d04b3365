package spiffe

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// TestStory: a workload is refused, asks, is approved by another workload, works,
// and has nothing when the time is up. All of it with kubectl, and a token of five
// minutes.
func TestStory(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	policy(t, ns, nil)
	deployer, gate := registered(t, "/ns/"+ns+"/sa/deployer"), registered(t, "/gate/"+ns)
	other := registered(t, "/ns/other-"+ns+"/sa/deployer")

	deployer.cannot(t, `User "`+deployer.id+`" cannot list resource "pods"`, "get", "pods", "-n", ns)
	request := deployer.ask(t, ns, "--for", "20s")
	matched := e.WaitMatched(t, request)
	if got := matched.Spec.Requester; got.Username != deployer.id || got.UID != deployer.id || len(got.Extra)+len(got.OmittedExtra) > 0 {
		t.Errorf("the requester is stored as %+v", got)
	}
	deployer.cannot(t, "nobody decides on their own request", "access", "approve", request.Name, "-n", ns, "--yes")
	other.cannot(t, other.id+" is not among the approvers", "access", "approve", request.Name, "-n", ns, "--yes")
	if list := gate.must(t, "access", "list", "--to-approve", "-n", ns); !strings.Contains(list, request.Name) {
		t.Errorf("the gate does not see what it may approve:\n%s", list)
	}
	if list := other.must(t, "access", "list", "--to-approve", "-n", ns); strings.Contains(list, request.Name) {
		t.Errorf("another workload sees it among what it may approve:\n%s", list)
	}
	gate.must(t, "access", "approve", request.Name, "-n", ns, "--yes", "-m", "checks are green")

	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	deployer.must(t, "get", "pods", "-n", ns)
	deployer.must(t, "create", "configmap", "done", "-n", ns)
	if other.can(t, ns) || gate.can(t, ns) {
		t.Error("others have the access, too")
	}
	g := e.GrantOf(t, request)
	if len(g.Spec.Subjects) != 1 || g.Spec.Subjects[0].Subject != (v1alpha1.Subject{Kind: "User", Name: deployer.id}) {
		t.Errorf("the grant is for %+v", g.Spec.Subjects)
	}

	kit.WaitPast(t, active.Status.ExpirationTime.Time)
	e.WaitEnded(t, g.Name, v1alpha1.EndExpired)
	deployer.cannot(t, `User "`+deployer.id+`" cannot list resource "pods"`, "get", "pods", "-n", ns)
}

// TestByPolicy: a policy lets a workload in without anybody's approval; it waits,
// works, and gives the access back.
func TestByPolicy(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	policy(t, ns, automatic)
	deployer := registered(t, "/ns/"+ns+"/sa/deployer")
	request := deployer.ask(t, ns, "--for", "10m", "--wait")
	deployer.must(t, "get", "pods", "-n", ns)
	name := e.GrantOf(t, request).Name
	deployer.must(t, "access", "release", request.Name, "-n", ns)
	e.WaitEnded(t, name, v1alpha1.EndReleased)
	if deployer.can(t, ns) {
		t.Error("the access is still there")
	}

	// Another of the same trust domain is told whom the policy is for.
	other := registered(t, "/ns/"+ns+"/sa/reader")
	other.cannot(t, spire.id("/ns/*/sa/deployer"), "access", "request", "edit", "-n", ns, "--reason", "x", "--wait")
}

// TestForOthers: a person asks for a workload, by its exact SPIFFE ID.
func TestForOthers(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	policy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		automatic(s)
		s.Subjects = v1alpha1.SubjectsAny
	})
	deployer, migrator := registered(t, "/ns/"+ns+"/sa/deployer"), registered(t, "/ns/"+ns+"/sa/migrator")
	deployer.ask(t, ns, "--subject", migrator.id, "--wait")
	if !migrator.can(t, ns) || deployer.can(t, ns) {
		t.Errorf("the migrator can: %v, who asked can: %v", migrator.can(t, ns), deployer.can(t, ns))
	}
	deployer.cannot(t, "access is given to one workload", "access", "request", "edit", "-n", ns, "--reason", "x", "--subject", spire.id("/ns/*/sa/migrator"))
	deployer.cannot(t, "trust domain characters", "access", "request", "edit", "-n", ns, "--reason", "x", "--subject", "spiffe://Example.org/x")
}

// TestIdentity: the API server takes a workload for the same user whatever token it
// shows, and keeps nothing that differs from token to token.
func TestIdentity(t *testing.T) {
	t.Parallel()
	w := registered(t, "/ns/a/sa/identity")
	first, second := w.token(t), must(t)(spire.mint(t.Context(), w.id, audience, time.Minute))
	if first == second {
		t.Fatal("the two tokens are one")
	}
	for _, token := range []string{first, second} {
		user, err := whoami(t, token)
		if err != nil {
			t.Fatal(err)
		}
		if user.Username != w.id || user.UID != w.id || len(user.Extra) > 0 || !slices.Equal(user.Groups, []string{workloads, "system:authenticated"}) {
			t.Errorf("it is %+v", user)
		}
	}
}
