package plugin

import (
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// withPod is a namespace where alice gets roles at once, with a Pod x in it.
func withPod(t *testing.T, edit func(*v1alpha1.AccessPolicySpec)) string {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		automatic(s)
		if edit != nil {
			edit(s)
		}
	})
	kit.Create(t, e.Admin, kit.NewPod(ns, "x"))
	return ns
}

func podIs(t *testing.T, ns, name string, there bool) {
	t.Helper()
	err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, &corev1.Pod{})
	if client.IgnoreNotFound(err) != nil || apierrors.IsNotFound(err) == there {
		t.Errorf("Pod %s: %v, want it there: %t", name, err, there)
	}
}

// The command is refused, alice asks for what is missing, and it goes well.
func TestFor(t *testing.T) {
	t.Parallel()
	ns := withPod(t, nil)
	r := alice.run(t, "for", "--yes", "--reason", "INC-42", "--", "kubectl", "delete", "pod", "x", "-n", ns).ok(t,
		`Error from server (Forbidden): pods "x" is forbidden`, "kubectl access: you may not delete pods x in namespace "+ns,
		"created in "+ns).not(t, "you may not read")
	if strings.Count(r.out, "pod \"x\" deleted") != 1 {
		t.Errorf("%q", r.out)
	}
	podIs(t, ns, "x", false)
	released(t, ns)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	if role := only(t, ns).Spec.RoleRef; role == nil || role.Name != "edit" {
		t.Errorf("asked for %+v", role)
	}
}

// On a terminal alice is asked, and why.
func TestForOnATerminal(t *testing.T) {
	t.Parallel()
	ns := withPod(t, nil)
	no := onTerminal(t, alice.access("for", "--", "kubectl", "delete", "pod", "x", "-n", ns))
	no.sees("you may not delete pods x in namespace " + ns)
	no.sees("to ask for: ClusterRole/edit in " + ns)
	no.sees("Ask for it, and run the command again? [y/N] ")
	no.types("\n")
	no.sees("nothing was asked for")
	no.ends(8)
	none(t, ns)
	gone := onTerminal(t, alice.access("for", "--", "kubectl", "delete", "pod", "x", "-n", ns))
	gone.sees("[y/N] ")
	gone.types("\x03")
	gone.sees("interrupt")
	gone.ends(130)
	none(t, ns)

	yes := onTerminal(t, alice.access("for", "--", "sh", "-c", "kubectl delete pod x -n "+ns+" && test -t 0 && test -t 1 && echo a terminal"))
	yes.sees("[y/N] ")
	yes.types("y\n")
	yes.sees("Why? ")
	yes.types("INC-42\n")
	yes.sees("Active: ")
	yes.sees("deleted")
	yes.sees("a terminal")
	yes.ends(0)
	released(t, ns)
	if only(t, ns).Spec.Reason != "INC-42" {
		t.Errorf("%+v", only(t, ns).Spec)
	}
}

// Without a terminal nobody can be asked: the proposal is printed, and works.
func TestForInCI(t *testing.T) {
	t.Parallel()
	ns := withPod(t, nil)
	r := alice.run(t, "for", "--for", "20m", "--", "kubectl", "delete", "pod", "x", "-n", ns).ends(t, 8, "To ask for it:\n  kubectl access request edit -n "+ns+" --for '20m' --reason 'WHY'", "--yes asks without")
	none(t, ns)
	podIs(t, ns, "x", true)
	_, line, _ := strings.Cut(r.err, "To ask for it:\n")
	line, _, _ = strings.Cut(strings.TrimSpace(line), "\n")
	cmd := alice.access()
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", line + " --wait"}
	startCmd(t, cmd)().ok(t, "Active: ClusterRole/edit in "+ns)

	alice.run(t, "for", "--yes", "--", "true").ends(t, 1, "--yes asks without asking you: say why, with --reason")
	alice.run(t, "for", "true").ends(t, 1, `unexpected argument "true": the command goes after --`)
	alice.run(t, "for", "--", "no-such-command-anywhere").ends(t, 127, "nothing was asked for")
}

// A command that goes well, fails for another reason, or is refused by something else
// or as somebody else, is left alone.
func TestForLeavesAlone(t *testing.T) {
	t.Parallel()
	ns := withPod(t, nil)
	says := func(text string) []string {
		return []string{"for", "--yes", "--reason", "r", "--", "sh", "-c", `printf '%s\n' "$0" >&2; exit 4`, text}
	}
	message := func(user, verb, resource string) string {
		return `Error from server (Forbidden): User "` + user + `" cannot ` + verb + ` resource "` + resource + `" in API group "" in the namespace "` + ns + `"`
	}
	alice.run(t, "for", "--", "sh", "-c", `echo 'User "alice" cannot list resource "pods" in API group "" in the namespace "`+ns+`"' >&2`).ok(t).not(t, "kubectl access:")
	alice.run(t, says("no such file")...).ends(t, 4).not(t, "kubectl access:")
	alice.run(t, says(message("bob", "delete", "pods"))...).ends(t, 4, "was refused to bob, and you are alice: nothing is asked for")
	alice.run(t, says("admission webhook \"w\" denied the request: "+message("alice", "delete", "pods"))...).ends(t, 4).not(t, "kubectl access:")
	alice.run(t, says(strings.Replace(message("alice", "create", "accessrequests"), `group ""`, `group "jit.accessbroker.dev"`, 1))...).ends(t, 4,
		"you may create accessrequests.jit.accessbroker.dev in namespace "+ns+" as far as the API server's roles go")
	alice.run(t, says(message("alice", "delete", "*"))...).ends(t, 4).not(t, "kubectl access:")
	alice.run(t, says("pods \"\x1b[2J\" is forbidden: "+message("alice", "delete", "pods"))...).ends(t, 4, "you may not delete pods in namespace").not(t, "delete pods \x1b")
	alice.run(t, says(strings.Replace(message("alice", "delete", "pods"), ns, "default", 1))...).ends(t, 8, "no policy offers it to you", "kubectl access policies")
	list := &v1alpha1.AccessRequestList{}
	if err := e.Admin.List(t.Context(), list, client.InNamespace(ns)); err != nil || len(list.Items) > 1 {
		t.Errorf("%v, %d requests", err, len(list.Items))
	}
}

// withRoles is a namespace with a Pod x, and with Roles over its Pods that the broker
// may give and one policy offers to alice and nora.
func withRoles(t *testing.T, verbs map[string][]string) string {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	kit.Create(t, e.Admin, kit.NewPod(ns, "x"))
	names := slices.Sorted(maps.Keys(verbs))
	grantable(t, ns, names...)
	for _, name := range names {
		kit.Create(t, e.Admin, &rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
			Rules:      []rbacv1.PolicyRule{{Verbs: verbs[name], APIGroups: []string{""}, Resources: []string{"pods"}}},
		})
	}
	policy := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		automatic(s)
		s.Requesters = append(s.Requesters, v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "narrow"})...)
		s.Roles = nil
		for _, name := range names {
			s.Roles = append(s.Roles, v1alpha1.RoleRef{Kind: "Role", Name: name})
		}
	})
	kubectl(t, "wait", "--for=condition=Ready", "--timeout=30s", "accesspolicy/"+policy.Name)
	return ns
}

// A role that may not be read turns out to be too little: nobody is asked in vain.
func TestForARoleThatIsTooLittle(t *testing.T) {
	t.Parallel()
	ns := withRoles(t, map[string][]string{"little": {"get"}})
	nora.run(t, "for", "--yes", "--reason", "r", "--", "kubectl", "delete", "pod", "x", "-n", ns).ends(t, 1,
		"whether Role/little allows it you may not read", "Role/little does not allow delete pods x", "is withdrawn")
	e.WaitFor(t, only(t, ns), v1alpha1.RequestCompleted)
	podIs(t, ns, "x", true)
}

// A role that is known to be enough is taken before a larger one.
func TestForTheSmallestRole(t *testing.T) {
	t.Parallel()
	ns := withRoles(t, map[string][]string{"all": {"*"}, "large": {"get", "list", "delete", "create"}, "small": {"delete", "get"}, "reader": {"get"}})
	alice.run(t, "for", "--yes", "--reason", "r", "--", "kubectl", "delete", "pod", "x", "-n", ns).ok(t).not(t, "you may not read")
	if r := only(t, ns).Spec.RoleRef; r == nil || r.Name != "small" {
		t.Errorf("asked for %+v", r)
	}
	podIs(t, ns, "x", false)
}

// What is piped in is piped in again.
func TestForWithInput(t *testing.T) {
	t.Parallel()
	ns := withPod(t, nil)
	cmd := alice.access("for", "--yes", "--reason", "r", "--", "kubectl", "create", "-n", ns, "-f", "-")
	cmd.Stdin = strings.NewReader("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: piped\ndata:\n  big: " + strings.Repeat("x", 200_000) + "\n")
	startCmd(t, cmd)().ok(t, "configmap/piped created")
	made := &corev1.ConfigMap{}
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "piped"}, made); err != nil || len(made.Data["big"]) != 200_000 {
		t.Errorf("%v, %d bytes", err, len(made.Data["big"]))
	}
	released(t, ns)
}

// A process that the command leaves behind holds its standard error open: nobody waits
// for that.
func TestForLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	cmd := alice.access("for", "--", "sh", "-c", "sleep 30 >/dev/null & echo $!; exit 0")
	begun := time.Now()
	r := startCmd(t, cmd)().ok(t)
	t.Cleanup(func() { _ = exec.Command("kill", strings.TrimSpace(r.out)).Run() })
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it waited %s for what was left behind", took)
	}
}

// With config/components/adhoc-rules exactly what was missing is asked for, one right
// after another, each for its own namespace. Not parallel: elsewhere rules are off.
func TestForExactly(t *testing.T) {
	adhoc := filepath.Join(e.Root, "config", "components", "adhoc-rules")
	files := []string{"-f", filepath.Join(adhoc, "ceiling.yaml"), "-f", filepath.Join(adhoc, "role.yaml")}
	kubectl(t, append([]string{"apply"}, files...)...)
	t.Cleanup(func() { kubectl(t, append([]string{"delete"}, files...)...) })
	ns := withPod(t, func(s *v1alpha1.AccessPolicySpec) {
		s.Rules = []v1alpha1.PolicyRule{{Verbs: []string{"get", "list", "watch", "delete"}, APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}}}
	})
	r := alice.run(t, "for", "--yes", "--reason", "r", "--", "sh", "-c", "kubectl get pod x -n "+ns+" -o name && kubectl delete pod x --wait=false -n "+ns)
	r.ok(t, "you may not get pods x in namespace "+ns, "you may not delete pods x in namespace "+ns)
	podIs(t, ns, "x", false)
	list := &v1alpha1.AccessRequestList{}
	if err := e.Admin.List(t.Context(), list, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	var asked []string
	for _, request := range list.Items {
		for _, rule := range request.Spec.Rules {
			asked = append(asked, strings.Join(rule.Verbs, ",")+" "+strings.Join(rule.Resources, ",")+" "+strings.Join(rule.ResourceNames, ","))
		}
		e.WaitFor(t, &request, v1alpha1.RequestCompleted)
	}
	if slices.Sort(asked); !slices.Equal(asked, []string{"delete pods x", "get pods x"}) {
		t.Errorf("asked for %q", asked)
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	// The request is made where -n says, for where the right is missing.
	kit.Create(t, e.Admin, kit.NewPod(ns, "y"))
	home := e.NewNamespace(t, nil)
	alice.run(t, "for", "-n", home, "--", "kubectl", "delete", "pod", "y", "-n", ns).ends(t, 8, "kubectl access request --rules 'delete pods y' -n "+home+" --namespaces "+ns+" --reason 'WHY'")
}
