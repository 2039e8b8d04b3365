package plugin

import (
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// alice needs more time, asks and waits; bob sees of what, and approves; alice goes on
// and gives back what holds the access now.
func TestExtend(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = 1 })
	alice.run(t, "policies", "-o", "wide").ok(t, "EXTENSIONS", p.Name)
	alice.run(t, "request", "edit", "-n", ns, "--name", "fix", "--for", "20m", "--reason", "INC-42").ok(t, "created")
	e.WaitMatched(t, request(ns, "fix"))
	alice.run(t, "__complete", "extend", "-n", ns, "").ok(t, ":").not(t, "fix")
	bob.run(t, "approve", "fix", "-n", ns).ok(t, "fix approved")
	e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestActive)
	alice.run(t, "__complete", "extend", "-n", ns, "").ok(t, "fix\talice, ClusterRole/edit in "+ns+", Active")

	alice.run(t, "extend", "fix", "-n", ns, "--for", "30m").ends(t, 1, "say why you need it for longer, with --reason")
	alice.run(t, "extend", "nothing", "-n", ns, "--reason", "x", "--wait").ends(t, 5, "AccessRequest nothing, which it extends, does not exist in this namespace")
	answer := alice.start(t, "extend", "fix", "-n", ns, "--name", "more", "--for", "30m", "--reason", "the restore is at 80 %", "--wait")
	appears(t, ns, "more")
	e.WaitMatched(t, request(ns, "more"))
	bob.run(t, "list", "--to-approve", "-n", ns).ok(t, "more\talice\tClusterRole/edit\t"+ns+"\t30m more\tPending", "the restore is at 80 %")
	bob.run(t, "show", "more", "-n", ns).ok(t, "Extends", "fix, until ", "30m more, until ", "deployments.apps", "kubectl access approve more -n "+ns)
	bob.run(t, "approve", "more", "-n", ns).ok(t, "Extends", "more approved")
	answer().ok(t, "created", "Active: ClusterRole/edit in "+ns+" for alice until")
	e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestCompleted)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	alice.run(t, "list", "-n", ns, "--all", "-o", "wide").ok(t, "EXTENDS", "extended by AccessRequest "+ns+"/more until ")
	bob.run(t, "revoke", "fix", "-n", ns).ends(t, 1, "fix is over: Completed: extended by AccessRequest "+ns+"/more")
	alice.run(t, "extend", "more", "-n", ns, "--reason", "x", "--wait").ends(t, 3, "it has maxExtensions 1, and this would be extension number 2")
	alice.run(t, "release", "more", "-n", ns).ok(t, "more released")
	e.WaitFor(t, request(ns, "more"), v1alpha1.RequestCompleted)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}
