package plugin

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// Where Access Broker is not installed, every command says so.
func TestNotInstalled(t *testing.T) {
	t.Parallel()
	bare, err := lab.StartControlPlane(t.Context(), lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bare.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubeconfig, err := bare.Kubeconfig("admin", bare.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	somebody := person{kubeconfig: kubeconfig}
	for _, args := range [][]string{
		{"list"},
		{"policies"},
		{"audit"},
		{"usage"},
		{"usage", "x-93a9a96315c30a04"},
		{"advise", "--role", "edit"},
		{"show", "fix"},
		{"approve", "fix"},
		{"request", "edit", "--reason", "r"},
	} {
		somebody.run(t, args...).ends(t, 1, "Access Broker is not installed on this cluster", "kubectl apply -k config/default")
	}

	// A version that keeps no usage: what has nothing to do with it works as before.
	install := func(kind string) {
		crd := filepath.Join(e.Root, "config", "crd", "bases", "jit.accessbroker.dev_"+kind+".yaml")
		for _, args := range [][]string{{"create", "-f", crd}, {"wait", "--for=condition=Established", "-f", crd}} {
			if out, err := bare.Kubectl(kubeconfig, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	for _, kind := range []string{"accessrequests", "accesspolicies", "accessgrants"} {
		install(kind)
	}
	c, err := lab.NewClient(bare.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	const name = "fix-93a9a96315c30a04"
	now := metav1.Now()
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.AccessGrantSpec{
		RequestRef: v1alpha1.RequestRef{Namespace: "default", ObjectRef: v1alpha1.ObjectRef{Name: "fix", UID: "u"}},
		Requester:  v1alpha1.UserInfo{Username: "alice"}, Subjects: []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: "alice"}}},
		RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}, Cluster: true, Reason: "r", NotBefore: now, ExpirationTime: now,
		PolicyRef: v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "p", UID: "p"}, Generation: 1},
	}}
	kit.CreateSoon(t, c, g)
	g.Status.GrantedTime = &now
	if err := c.Status().Update(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	somebody.run(t, "audit").ok(t, "alice").not(t, "AccessUsages")
	somebody.run(t, "show", name).ok(t, "Grant "+name).not(t, "Used ")
	somebody.run(t, "usage").ends(t, 1, "the cluster stores no usage", "too old", "--audit-log")
	somebody.run(t, "usage", name).ends(t, 1, "the cluster stores no usage")
	somebody.run(t, "advise", "--role", "edit").ends(t, 1, "the cluster stores no usage")

	// What is stored of another grant, that had the same name, is not this one's. Where
	// the admission policies are, the garbage collector takes it away.
	install("accessusages")
	somebody.run(t, "usage").ok(t, "No usage is stored")
	of := func(name string) *v1alpha1.AccessUsage {
		u := &v1alpha1.AccessUsage{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: usedBy("default")}
		u.Spec.GrantRef = v1alpha1.ObjectRef{Name: name, UID: "another"}
		return u
	}
	kit.CreateSoon(t, c, of(name))
	somebody.run(t, "show", name).ok(t, "Grant "+name).not(t, "Used ")
	somebody.run(t, "usage", name).ends(t, 1, "is of another grant of that name")
	somebody.run(t, "audit").ok(t, "alice").not(t, "CALLS")
	somebody.run(t, "advise", "--role", "edit").ends(t, 1, "nobody observed the use of what was given by the role edit (grants: 1)")

	// However many there are, all are read.
	const many = 120
	for i := range many {
		kit.Create(t, c, of(fmt.Sprintf("many-%016x", i)))
	}
	if got := strings.Count(somebody.run(t, "usage", "--user", "alice").ok(t).out, "\nmany-"); got != many {
		t.Errorf("%d of %d are listed", got, many)
	}
}
