package strict

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What another authorizer allows no binding shows. The end of a grant tells of it
// all the same.
func TestAllowedBesideRBAC(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	owner := e.Person(t, outsider, "dev")
	if !kit.Can(t, owner, ns) {
		t.Fatal("the other authorizer allows nothing: the test shows nothing")
	}
	request := e.Ask(t, owner, ns, nil)
	e.WaitFor(t, request, v1alpha1.RequestActive)
	kit.MustDecide(t, owner, request, v1alpha1.VerdictRelease)
	g := e.GrantOf(t, request)
	ended := e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
	standing := meta.FindStatusCondition(ended.Status.Conditions, v1alpha1.ConditionStandingAccess)
	if standing == nil || standing.Status != metav1.ConditionTrue || !strings.Contains(standing.Message, "allowed: ") {
		t.Errorf("the grant does not tell of it: %s", kit.Describe(ended.Status.Conditions))
	}
	removed := meta.FindStatusCondition(ended.Status.Conditions, v1alpha1.ConditionAccessRemoved)
	if removed == nil || removed.Status != metav1.ConditionTrue {
		t.Errorf("the binding is not said to be gone: %s", kit.Describe(ended.Status.Conditions))
	}
}

// They may install, too: Kubernetes asks every authorizer whether somebody may
// write roles that allow more than they hold by RBAC.
func TestOutsiderInstalls(t *testing.T) {
	config, err := e.User(outsider)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := e.Kubeconfig("outsider", config)
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "access-broker-grantable-roles"}}
	kit.Delete(t, e.Admin, role)
	cmd := e.Kubectl(kubeconfig, "apply", "-k", e.Installation())
	cmd.Dir = e.Root
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), role.Name+" created") {
		t.Errorf("%v\n%s", err, out)
	}
}
