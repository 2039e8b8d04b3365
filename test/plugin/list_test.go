package plugin

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// list shows what is mine wherever it is; -n names one namespace.
func TestListEverywhere(t *testing.T) {
	t.Parallel()
	here, there := e.NewNamespace(t, nil), e.NewNamespace(t, nil)
	e.NewPolicy(t, here, nil)
	e.NewPolicy(t, there, nil)
	ask(t, here, "list-here")
	ask(t, there, "list-there")
	alice.run(t, "list").ok(t, "NAMESPACE\t", here+"\tlist-here\t", there+"\tlist-there\t")
	alice.run(t, "list", "-n", here).ok(t, "list-here").not(t, "list-there").not(t, "NAMESPACE")
	bob.run(t, "list", "--to-approve").ok(t, here+"\tlist-here\t", there+"\tlist-there\t")
}

// Who may list in one namespace alone is told so; -A means all or nothing.
func TestListWhereOneMay(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "User", Name: "nadia"})
	})
	config, err := e.User("nadia", "guests")
	if err != nil {
		t.Fatal(err)
	}
	nadia, err := login("nadia", config)
	if err != nil {
		t.Fatal(err)
	}
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "nadia"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "access-requester"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "nadia"}},
	})
	const told = "You may not list requests in all namespaces: only namespace "
	nadia.run(t, "request", "edit", "-n", ns, "--name", "mine", "--reason", "r").ok(t)
	nadia.run(t, "list", "-n", ns).ok(t, "mine").not(t, told)
	// The namespace in use is that of the kubeconfig.
	use := e.Kubectl(nadia.kubeconfig, "config", "set-context", "--current", "--namespace", ns)
	if out, err := use.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := nadia.run(t, "list").ok(t, "mine", told+ns)
	if strings.Contains(r.out, told) {
		t.Error("a program that reads the list gets what is for people")
	}
	nadia.run(t, "list", "-A").ends(t, 1, "forbidden", "access-requester")
	// A user who may list nowhere is told what is missing, and nothing else.
	eve.run(t, "list").ends(t, 1, "forbidden", "access-requester").not(t, told)
}

// What the API server would refuse is told before anything is sent, in the
// same words.
func TestTextsAreCheckedBeforeTheyAreSent(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	const override = "contains U+202E RIGHT-TO-LEFT OVERRIDE, which hides what is written"
	for flag, args := range map[string][]string{
		"--reason":  {"request", "edit", "--reason", "a\u202eb"},
		"--ticket":  {"request", "edit", "--reason", "r", "--ticket", "INC\u202e"},
		"--comment": {"approve", "nosuch", "-m", "ok\u202e"},
	} {
		// No API server is there to be asked.
		alice.run(t, append(args, "--server", "https://127.0.0.1:1", "-n", ns)...).ends(t, 1, flag+" "+override)
	}
	alice.run(t, "request", "edit", "-n", ns, "--reason", strings.Repeat("x", 1025)).ends(t, 1, "--reason is 1025 characters long, at most 1024 are allowed")
	alice.run(t, "request", "edit", "-n", ns, "--name", "emoji", "--reason", "on call 👩\u200d🚒\n").ok(t)
	alice.run(t, "show", "emoji", "-n", ns).ok(t, "Why         on call 👩\u200d🚒\n")
}

// Who has to decide sees in the first lines what matters.
func TestShowBeginsWithWhatMatters(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	ask(t, ns, "matters", "--for", "30m", "--ticket", "INC-42")
	lines := strings.SplitN(bob.run(t, "show", "matters", "-n", ns).ok(t).out, "\n", 16)
	head := strings.Join(lines[:15], "\n")
	for _, want := range []string{"Who asks    alice", "What        ClusterRole/edit", "Where       namespace " + ns, "How long    30m", "Why         INC-42", "Risks       ! ", "Can change  writes ", "Rights      "} {
		if !strings.Contains(head, want) {
			t.Errorf("no %q in the first 15 lines:\n%s", want, head)
		}
	}
}
