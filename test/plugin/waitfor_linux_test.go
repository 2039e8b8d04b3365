package plugin

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// workload is a namespace with a ServiceAccount that may ask, and a Job.
type workload struct {
	person
	ns, uid string
	config  *rest.Config
}

func newWorkload(t *testing.T, approvals int32) workload {
	t.Helper()
	w := workload{ns: e.NewNamespace(t, nil)}
	account := v1alpha1.PolicySubject{Kind: "ServiceAccount", Namespace: w.ns, Name: "migrator"}
	e.NewPolicy(t, w.ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].Count = &approvals
		s.Requesters = v1alpha1.RequestersFor(account, v1alpha1.PolicySubject{Kind: "Group", Name: "dev"})
		s.Subjects = v1alpha1.SubjectsServiceAccounts
	})
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "migrator"}})
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "migrator"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "access-requester"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.ns, Name: "migrator"}},
	})
	job := kit.NewJob(w.ns, "migrate")
	kit.Create(t, e.Admin, job)
	w.uid = string(job.UID)
	var err error
	if w.config, err = e.ServiceAccount(t.Context(), w.ns, "migrator"); err != nil {
		t.Fatal(err)
	}
	if w.person, err = login("waiter-"+w.ns, w.config); err != nil {
		t.Fatal(err)
	}
	return w
}

// waiting is what an init container of the Job runs.
func (w workload) waiting(args ...string) *exec.Cmd {
	return w.access(append([]string{"wait-for", "-n", w.ns, "--task", "job/migrate", "--task-uid", w.uid}, args...)...)
}

// A workload asks for itself, once however often it is tried, and has the access until
// its Job is over.
func TestWaitForAsksOnce(t *testing.T) {
	t.Parallel()
	w := newWorkload(t, 1)
	asks := []string{"edit", "--reason", "schema 42"}
	first := startCmd(t, w.waiting(asks...))
	r := only(t, w.ns)
	e.WaitMatched(t, r)
	second := startCmd(t, w.waiting(asks...))
	kit.MustDecide(t, bob.Client, r, v1alpha1.VerdictApprove)
	first().ok(t, "Active: ClusterRole/edit in "+w.ns)
	second().ok(t, "accessrequest.jit.accessbroker.dev/"+r.Name, "Active: ")
	if !kit.Can(t, w, w.ns) {
		t.Error("it goes on without access")
	}
	startCmd(t, w.waiting(asks...))().ok(t)
	only(t, w.ns)
	e.FinishJob(t, w.ns, "migrate", corev1.PodSucceeded)
	e.WaitFor(t, r, v1alpha1.RequestCompleted)
	startCmd(t, w.waiting(asks...))().ends(t, 7, "error: Completed: ")
	only(t, w.ns)

	// Another Job of the same name is another task.
	kit.Delete(t, e.Admin, kit.NewJob(w.ns, "migrate"))
	e.WaitGone(t, kit.NewJob(w.ns, "migrate"))
	job := kit.NewJob(w.ns, "migrate")
	kit.Create(t, e.Admin, job)
	w.uid = string(job.UID)
	again := startCmd(t, w.waiting(append(asks, "--timeout", "1s")...))
	again().ends(t, 6, "no access within 1s; request migrate-", "still waits: Pending")
	list := &v1alpha1.AccessRequestList{}
	if err := e.Admin.List(t.Context(), list, client.InNamespace(w.ns)); err != nil || len(list.Items) != 2 {
		t.Errorf("%v, %d requests", err, len(list.Items))
	}
}

// A refusal is told, and a step that is tried again does not ask again.
func TestWaitForIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorkload(t, 1)
	answer := startCmd(t, w.waiting("edit", "--reason", "r"))
	r := only(t, w.ns)
	e.WaitMatched(t, r)
	bob.run(t, "deny", r.Name, "-n", w.ns, "-m", "not today").ok(t)
	answer().ends(t, 3, "error: Denied: denied by bob: not today")
	startCmd(t, w.waiting("edit", "--reason", "r"))().ends(t, 3, "denied by bob: not today")
	only(t, w.ns)
	startCmd(t, w.waiting("cluster-admin", "--reason", "r"))().ends(t, 3, "error: Denied: ")
}

// Somebody who knows the name that a request will have cannot make it in its place.
func TestWaitForIsNotDeceived(t *testing.T) {
	t.Parallel()
	w := newWorkload(t, 0)
	startCmd(t, w.waiting("edit", "--reason", "r"))().ok(t)
	r := only(t, w.ns)
	e.FinishJob(t, w.ns, "migrate", corev1.PodSucceeded)
	e.WaitFor(t, r, v1alpha1.RequestCompleted)
	kit.Delete(t, w, r)
	e.WaitGone(t, r)
	stolen := lab.NewRequest(w.ns, nil)
	stolen.GenerateName, stolen.Name = "", r.Name
	kit.Create(t, dave, stolen)
	startCmd(t, w.waiting("edit", "--reason", "r"))().ends(t, 1, "there is another request of this name", "was made by dave")
}

// Somebody else asks for the workload.
func TestWaitForSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newWorkload(t, 0)
	waits := w.waiting()
	p, said := waits, &syncBuffer{}
	p.Stderr = said
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	sees := func(what string) {
		t.Helper()
		kit.Eventually(t, what, func(context.Context) (bool, error) { return strings.Contains(said.String(), what), nil })
	}
	sees("waiting for somebody to ask")
	// For somebody else, and for another Job: neither is meant.
	alice.run(t, "request", "view", "-n", w.ns, "--name", "others", "--subject", "sa:"+w.ns+"/default", "--task", "job/migrate", "--reason", "r", "--wait").ok(t)
	subject := "sa:" + w.ns + "/migrator"
	alice.run(t, "request", "view", "-n", w.ns, "--name", "another", "--subject", subject, "--task", "job/later", "--reason", "r").ok(t)
	if p.ProcessState != nil {
		t.Fatal("it goes on without its access")
	}
	alice.run(t, "request", "edit", "-n", w.ns, "--name", "meant", "--subject", subject, "--task", "job/migrate", "--reason", "r", "--wait").ok(t)
	if err := p.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	sees("Active: ClusterRole/edit")

	w.run(t, "wait-for", "--request", "meant", "-n", w.ns).ok(t, "Active")
	w.run(t, "wait-for", "--request", "others", "-n", w.ns).ends(t, 1, "request others gives the access to sa:"+w.ns+"/default, and this is system:serviceaccount:"+w.ns+":migrator")
	w.run(t, "wait-for", "--request", "nosuch", "-n", w.ns, "--timeout", "1s").ends(t, 6, "no access within 1s; nobody has asked yet")
}

func TestWaitForBadInput(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"nothing":            {nil, "name a role to ask for, or what to wait for with --request or --task"},
		"no UID":             {[]string{"edit", "--task", "job/x", "--reason", "r"}, "say which --task it is, with --task-uid"},
		"no task":            {[]string{"edit", "--reason", "r"}, "say what the access is for, with --task and --task-uid"},
		"both":               {[]string{"edit", "--request", "x", "--reason", "r"}, "--request waits for what somebody else asks for"},
		"no reason":          {[]string{"edit", "--task", "job/x", "--task-uid", "u"}, "say why you need it, with --reason"},
		"a kind without end": {[]string{"--task", "job/"}, "is not a task"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice.run(t, append([]string{"wait-for", "-n", ns}, tc.args...)...).ends(t, 1, tc.says)
		})
	}
	none(t, ns)
}

// In a Pod there is no kubeconfig: the plugin signs in with the token of the
// ServiceAccount, in the namespace of the Pod. The files are put where a kubelet puts
// them, in a mount namespace of the test's own.
func TestWaitForInAPod(t *testing.T) {
	t.Parallel()
	w := newWorkload(t, 0)
	files := t.TempDir()
	for name, content := range map[string]string{"token": w.config.BearerToken, "ca.crt": string(w.config.CAData), "namespace": w.ns} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	host, port, ok := strings.Cut(strings.TrimPrefix(w.config.Host, "https://"), ":")
	if !ok {
		t.Fatalf("the API server is at %q", w.config.Host)
	}
	const folder = "/run/secrets/kubernetes.io/serviceaccount"
	cmd := exec.Command("/bin/sh", "-c", `mount -t tmpfs tmpfs /run && mkdir -p `+folder+` && cp "$0"/* `+folder+` && exec "$@"`, files,
		filepath.Join(e.Root, "bin", "kubectl-access"), "wait-for", "edit", "--task", "job/migrate", "--task-uid", w.uid, "--reason", "schema 42")
	// As in the image: no home, no path, and a file system that is not for writing.
	cmd.Env = []string{"KUBERNETES_SERVICE_HOST=" + host, "KUBERNETES_SERVICE_PORT=" + port, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := exec.Command("readlink", "/var/run").Output(); err != nil || strings.TrimSpace(string(out)) != "/run" {
		t.Skipf("/var/run is no link to /run here: %s %v", out, err)
	}
	if err := unshares(); err != nil {
		t.Skipf("no mount namespace can be made here: %v", err)
	}
	startCmd(t, cmd)().ok(t, "Active: ClusterRole/edit in "+w.ns+" for sa:"+w.ns+"/migrator")
	if r := only(t, w.ns); r.Spec.Requester.Username != "system:serviceaccount:"+w.ns+":migrator" {
		t.Errorf("%+v", r.Spec)
	}
}

// unshares tells whether a namespace of one's own can be made.
func unshares() error {
	cmd := exec.Command("/bin/sh", "-c", "mount -t tmpfs tmpfs /run")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}
