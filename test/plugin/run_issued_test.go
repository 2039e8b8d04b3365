package plugin

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// runIssued is `kubectl access run edit --credential` in a namespace that issues
// credentials at once, and the folder for what it writes.
func runIssued(t *testing.T, command ...string) (cmd *exec.Cmd, ns, folder string) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { automatic(s); kit.Issues(s) })
	folder = t.TempDir()
	cmd = alice.running(ns, append([]string{"--credential", "--for", "1h", "--"}, command...)...)
	cmd.Env = append(cmd.Env, "TMPDIR="+folder, "XDG_RUNTIME_DIR=", "XDG_CONFIG_HOME="+folder)
	return cmd, ns, folder
}

func entries(t *testing.T, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The command alone has the access, by files that nobody else may read and that go with
// it; the credential is neither in its environment nor on its command line.
func TestRunIssued(t *testing.T) {
	t.Parallel()
	cmd, ns, folder := runIssued(t, "sh", "-c", `
		kubectl auth whoami -o 'jsonpath={.status.userInfo.username}{"\n"}' && kubectl auth can-i delete pods
		token=$(cat "$(dirname "$KUBECONFIG")/token"); env | grep -cF "$token"; grep -cF "$token" "$KUBECONFIG"
		ls -ld "$(dirname "$KUBECONFIG")" | cut -c1-10; ls -l "$(dirname "$KUBECONFIG")" | grep -v total | cut -c1-10
		KUBECONFIG=`+alice.kubeconfig+` kubectl auth can-i delete pods -n `+"$0"+`; exit 42`)
	cmd.Args = append(cmd.Args, "NS")
	cmd.Args[len(cmd.Args)-1] = ns
	r := startCmd(t, cmd)().ends(t, 42, "created in "+ns)
	g := released(t, ns)
	want := "system:serviceaccount:" + v1alpha1.GrantsNamespace + ":" + g.Name + "\nyes\n0\n0\ndrwx------\n-rw-------\n-rw-------\n-rw-------\nno\n"
	if r.out != want {
		t.Errorf("the command printed\n%s\nand not\n%s", r.out, want)
	}
	if left := entries(t, folder); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A signal that ends the command leaves nothing; what a killed process left goes with
// the next run.
func TestRunIssuedIsStopped(t *testing.T) {
	t.Parallel()
	cmd, ns, folder := runIssued(t, "sleep", "600")
	done := startCmd(t, cmd)
	running(t, folder)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	done().ends(t, 128+int(syscall.SIGTERM))
	released(t, ns)
	if left := entries(t, folder); len(left) > 0 {
		t.Errorf("left: %v", left)
	}

	cmd, _, folder = runIssued(t, "sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	done = startCmd(t, cmd)
	dir := running(t, folder)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	done()
	alive, _, _ := runIssued(t, "sleep", "600")
	alive.Env = append(alive.Env, "TMPDIR="+folder)
	stop := startCmd(t, alive)
	kit.Eventually(t, "the other command", func(context.Context) (bool, error) { return len(entries(t, folder)) == 2, nil })
	old := time.Now().Add(-2 * time.Minute)
	for _, dir := range entries(t, folder) {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	next, _, _ := runIssued(t, "true")
	next.Env = append(next.Env, "TMPDIR="+folder)
	startCmd(t, next)().ok(t)
	if left := entries(t, folder); len(left) != 1 || left[0] == dir {
		t.Errorf("left: %v, of which %s is of a process that was killed", left, dir)
	}
	if err := alive.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stop()
}

// running waits until a command runs, and returns the folder of its credential.
func running(t *testing.T, folder string) string {
	t.Helper()
	kit.Eventually(t, "the command", func(context.Context) (bool, error) {
		found, err := filepath.Glob(filepath.Join(folder, "*", "config"))
		return len(found) == 1, err
	})
	return entries(t, folder)[0]
}

// A command that runs for long has the renewed credential.
func TestRunIssuedIsRenewed(t *testing.T) {
	t.Parallel()
	cmd, ns, _ := runIssued(t, "sh", "-c", `f=$(dirname "$KUBECONFIG")/token; old=$(cat "$f"); while test "$(cat "$f")" = "$old"; do sleep 0.1; done
		test -n "$(cat "$f")" && kubectl auth can-i delete pods`)
	done := startCmd(t, cmd)
	r := e.WaitFor(t, only(t, ns), v1alpha1.RequestActive)
	nearlyOver(t, r)
	if got := done().ok(t); got.out != "yes\n" {
		t.Error(got.out)
	}
	released(t, ns)
}

// nearlyOver makes the credential of a request nearly over, as the record has it: the
// broker renews it in about five seconds.
func nearlyOver(t *testing.T, r *v1alpha1.AccessRequest) {
	t.Helper()
	broker, err := e.AsBroker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	moment := func(from time.Duration) string { return time.Now().Add(from).UTC().Format(time.RFC3339) }
	patch := fmt.Sprintf(`{"status":{"credential":{"issuedTime":%q,"expirationTime":%q}}}`, moment(-55*time.Second), moment(15*time.Second))
	if err := broker.Status().Patch(t.Context(), e.GrantOf(t, r), client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// A policy that gives access to the own identity issues nothing, and says so.
func TestRunIssuedByNoPolicy(t *testing.T) {
	t.Parallel()
	ns := given(t)
	r := startCmd(t, alice.running(ns, "--credential", "--", "echo", "ran"))().ends(t, 3, "ask without --credential")
	if strings.Contains(r.out, "ran") {
		t.Error("the command ran")
	}
}
