package plugin

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// automatic grants without an approval.
func automatic(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](0) }

// given is a namespace where alice gets edit at once.
func given(t *testing.T) string {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	return ns
}

// running is `kubectl access run edit` in a namespace, not started yet.
func (p person) running(ns string, args ...string) *exec.Cmd {
	return p.access(append([]string{"run", "edit", "-n", ns, "--reason", "INC-42"}, args...)...)
}

// only is the one request of a namespace.
func only(t *testing.T, ns string) *v1alpha1.AccessRequest {
	t.Helper()
	list := &v1alpha1.AccessRequestList{}
	kit.Eventually(t, "a request", func(ctx context.Context) (bool, error) {
		err := e.Admin.List(ctx, list, client.InNamespace(ns))
		return len(list.Items) > 0, err
	})
	if len(list.Items) != 1 {
		t.Fatalf("%d requests", len(list.Items))
	}
	return &list.Items[0]
}

// none checks that nobody asked in a namespace.
func none(t *testing.T, ns string) {
	t.Helper()
	list := &v1alpha1.AccessRequestList{}
	if err := e.Admin.List(t.Context(), list, client.InNamespace(ns)); err != nil || len(list.Items) > 0 {
		t.Errorf("%v, and %d requests were made", err, len(list.Items))
	}
}

// released waits until the one request of a namespace is given back.
func released(t *testing.T, ns string) *v1alpha1.AccessGrant {
	t.Helper()
	r := e.WaitFor(t, only(t, ns), v1alpha1.RequestCompleted)
	return e.WaitEnded(t, r.Status.GrantName, v1alpha1.EndReleased)
}

// The command has the access, its streams and its exit status are its own, and the
// access ends with it.
func TestRun(t *testing.T) {
	t.Parallel()
	ns := given(t)
	cmd := alice.running(ns, "--for", "30m", "--", "sh", "-c", "kubectl auth can-i delete pods; cat; echo on stderr >&2; exit 42")
	cmd.Stdin = strings.NewReader("what is piped in\n")
	r := startCmd(t, cmd)().ends(t, 42, "on stderr", "created in "+ns, "Active: ClusterRole/edit in "+ns)
	if r.out != "yes\nwhat is piped in\n" {
		t.Errorf("standard output is not the command's alone: %q", r.out)
	}
	if strings.Contains(r.err, "error: ") {
		t.Errorf("the command's own failure is told as ours: %s", r.err)
	}
	grant := released(t, ns)
	if !kit.HasMessage(grant.Status.Conditions, "status 42") && !strings.Contains(fmt.Sprint(only(t, ns).Status.Decisions), "status 42") {
		t.Errorf("the record does not tell how the command ended: %+v", only(t, ns).Status.Decisions)
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

// In CI there is no terminal, and the input may be closed.
func TestRunInCI(t *testing.T) {
	t.Parallel()
	ns := given(t)
	cmd := alice.access()
	cmd.Args = []string{"sh", "-c", `exec kubectl access run edit -n "$0" --reason "build 7" -- sh -c 'test ! -t 0 && ! read line && kubectl auth can-i delete pods' <&-`, ns}
	cmd.Path = "/bin/sh"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if r := startCmd(t, cmd)().ok(t); r.out != "yes\n" {
		t.Errorf("%q", r.out)
	}
	released(t, ns)
}

// What ends the command, ends us; and what it handles, it handles once.
func TestRunPassesSignals(t *testing.T) {
	t.Parallel()
	const counts = `trap 'n=$((n+1))' INT TERM HUP QUIT USR1 USR2; echo ready; while [ "${n:-0}" -lt 2 ]; do sleep 0.05; done; exit $n`
	for name, tc := range map[string]struct {
		script  string
		signals []syscall.Signal
		status  int
	}{
		"SIGTERM that ends it":         {"echo ready; exec sleep 60", []syscall.Signal{syscall.SIGTERM}, 143},
		"SIGINT that ends it":          {"echo ready; exec sleep 60", []syscall.Signal{syscall.SIGINT}, 130},
		"SIGHUP that ends it":          {"echo ready; exec sleep 60", []syscall.Signal{syscall.SIGHUP}, 129},
		"SIGQUIT that ends it":         {"ulimit -c 0; echo ready; exec sleep 60", []syscall.Signal{syscall.SIGQUIT}, 131},
		"SIGTERM that it handles":      {"trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done", []syscall.Signal{syscall.SIGTERM}, 3},
		"two, each passed on once":     {counts, []syscall.Signal{syscall.SIGINT, syscall.SIGUSR1}, 2},
		"others, each passed on once":  {counts, []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR2}, 2},
		"it kills itself, by SIGKILL":  {"echo ready; kill -KILL $$", nil, 137},
		"it ignores SIGINT, then ends": {"trap '' INT; echo ready; sleep 1; exit 5", []syscall.Signal{syscall.SIGINT}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := given(t)
			cmd := alice.running(ns, "--", "sh", "-c", tc.script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
			p, lines := piped(t, cmd)
			waitsFor(t, lines, "ready")
			for _, s := range tc.signals {
				if err := p.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			_ = p.Wait()
			if got := p.ProcessState.ExitCode(); got != tc.status {
				t.Errorf("status %d, want %d", got, tc.status)
			}
			released(t, ns)
		})
	}
}

// A script that does not say what runs it is run as every shell runs it.
func TestRunAScript(t *testing.T) {
	t.Parallel()
	ns := given(t)
	script := filepath.Join(t.TempDir(), "deploy")
	if err := os.WriteFile(script, []byte("echo \"$0 $1\"; exit 4\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	startCmd(t, alice.running(ns, "--", script, "now"))().ends(t, 4, script+" now")
	released(t, ns)
}

// What is ignored, as under nohup, is ignored by the command too.
func TestRunUnderNohup(t *testing.T) {
	t.Parallel()
	ns := given(t)
	cmd := alice.access()
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `trap '' INT HUP; exec kubectl access run edit -n "$0" --reason r -- sh -c 'kill -INT $$; kill -HUP $$; kill -HUP $PPID; echo alive'`, ns}
	startCmd(t, cmd)().ok(t, "alive")
	released(t, ns)
}

// Nobody waits any more: the request is withdrawn.
func TestRunIsGivenUp(t *testing.T) {
	t.Parallel()
	for s, status := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			e.NewPolicy(t, ns, nil)
			cmd := alice.running(ns, "--", "echo", "it ran")
			answer := startCmd(t, cmd)
			r := only(t, ns)
			e.WaitMatched(t, r)
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			answer().ends(t, status, r.Name+" is withdrawn").not(t, "it ran")
			e.WaitFor(t, r, v1alpha1.RequestCompleted)
		})
	}
	t.Run("timeout", func(t *testing.T) {
		t.Parallel()
		ns := e.NewNamespace(t, nil)
		e.NewPolicy(t, ns, nil)
		startCmd(t, alice.running(ns, "--timeout", "1s", "--", "echo", "it ran"))().ends(t, 6, "no decision within 1s", "is withdrawn").not(t, "it ran")
		e.WaitFor(t, only(t, ns), v1alpha1.RequestCompleted)
	})
	t.Run("denied", func(t *testing.T) {
		t.Parallel()
		ns := e.NewNamespace(t, nil)
		e.NewPolicy(t, ns, nil)
		answer := startCmd(t, alice.running(ns, "--", "echo", "it ran"))
		r := only(t, ns)
		e.WaitMatched(t, r)
		bob.run(t, "deny", r.Name, "-n", ns, "-m", "use view").ok(t)
		answer().ends(t, 3, "error: Denied: denied by bob: use view").not(t, "it ran")
	})
}

// What cannot work is told before anybody is asked.
func TestRunAsksForNothingInVain(t *testing.T) {
	t.Parallel()
	ns := given(t)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args   []string
		status int
		says   []string
	}{
		"no such command":     {[]string{"edit", "--reason", "r", "--", "no-such-command-anywhere"}, 127, []string{"cannot run no-such-command-anywhere: executable file not found in $PATH; nothing was asked for"}},
		"no such file":        {[]string{"edit", "--reason", "r", "--", dir + "/none"}, 127, []string{"no such file"}},
		"no program":          {[]string{"edit", "--reason", "r", "--", plain}, 126, []string{"permission denied"}},
		"a folder":            {[]string{"edit", "--reason", "r", "--", dir}, 126, []string{"cannot run " + dir}},
		"no command":          {[]string{"edit", "--reason", "r"}, 1, []string{"name the command after --"}},
		"nothing after --":    {[]string{"edit", "--reason", "r", "--"}, 1, []string{"name the command after --"}},
		"the -- is forgotten": {[]string{"edit", "--reason", "r", "kubectl", "get"}, 1, []string{"name the command after --"}},
		"two roles":           {[]string{"edit", "view", "--reason", "r", "--", "true"}, 1, []string{"name one role; you named 2"}},
		"no role":             {[]string{"--reason", "r", "--", "true"}, 1, []string{"name a role, or give --rules"}},
		"no reason":           {[]string{"edit", "--", "true"}, 1, []string{"say why you need it, with --reason"}},
		"as somebody else":    {[]string{"edit", "--reason", "r", "--as", "dave", "--", "true"}, 1, []string{"--as would not reach the command"}},
		"with a token":        {[]string{"edit", "--reason", "r", "--token", "x", "--", "true"}, 1, []string{"--token would not reach the command"}},
		"no such context":     {[]string{"edit", "--reason", "r", "--context", "nosuch", "--", "true"}, 1, []string{"nosuch"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice.run(t, append([]string{"run", "-n", ns}, tc.args...)...).ends(t, tc.status, tc.says...)
		})
	}
	t.Cleanup(func() {
		list := &v1alpha1.AccessRequestList{}
		if err := e.Admin.List(context.WithoutCancel(t.Context()), list, client.InNamespace(ns)); err != nil || len(list.Items) > 0 {
			t.Errorf("%v, and %d requests were made", err, len(list.Items))
		}
	})
	t.Run("a role nobody offers", func(t *testing.T) {
		t.Parallel()
		ns := given(t)
		alice.run(t, "run", "cluster-admin", "-n", ns, "--reason", "r", "--", "echo", "it ran").ends(t, 3, "error: Denied: ").not(t, "it ran")
	})
}

// knowsOfAccess waits until we have seen the access ourselves, and not only the cluster.
func knowsOfAccess(t *testing.T, said *syncBuffer) {
	t.Helper()
	kit.Eventually(t, "access that it knows of", func(context.Context) (bool, error) {
		return strings.Contains(said.String(), "Active: "), nil
	})
}

// The access ends while the command runs.
func TestRunOutlivesItsAccess(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		flags  []string
		status int
		says   string
	}{
		"it goes on":     {nil, 0, "the command goes on without it"},
		"it is to stop":  {[]string{"--stop-on-end"}, 143, "the command is told to stop"},
		"it ends itself": {[]string{"--for", "3s"}, 0, "the command goes on without it: Expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := given(t)
			over := filepath.Join(t.TempDir(), "over")
			cmd := alice.running(ns, append(tc.flags, "--", "sh", "-c", `while [ ! -e "$0" ]; do sleep 0.1; done`, over)...)
			var said syncBuffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			r := only(t, ns)
			knowsOfAccess(t, &said)
			if tc.flags == nil || tc.status != 0 {
				bob.run(t, "revoke", r.Name, "-n", ns, "-m", "enough").ok(t)
			}
			says := "kubectl access: the access is over, " + tc.says
			kit.Eventually(t, says, func(context.Context) (bool, error) { return strings.Contains(said.String(), says), nil })
			if err := os.WriteFile(over, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != tc.status {
				t.Errorf("status %d, want %d: %s", got, tc.status, said.String())
			}
		})
	}
}

// When the wrapper is killed, nobody gives the access back: the deadline ends it.
func TestRunIsKilled(t *testing.T) {
	t.Parallel()
	ns := given(t)
	cmd := alice.running(ns, "--for", "5s", "--", "sh", "-c", "echo ready; exec sleep 60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p, lines := piped(t, cmd)
	waitsFor(t, lines, "ready")
	t.Cleanup(func() { _ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL) }) // the command goes on
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r := only(t, ns)
	if !kit.Can(t, alice, ns) {
		t.Error("the access is over before its deadline")
	}
	e.WaitFor(t, r, v1alpha1.RequestExpired)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

// switched is alice behind a proxy that can be turned off.
func switched(t *testing.T, name string) (person, func()) {
	t.Helper()
	config, err := e.User("alice", "dev")
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	t.Cleanup(server.Close)
	p, err := login("switched-"+name, &rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return p, func() {
		_ = server.Listener.Close()
		server.CloseClientConnections()
	}
}

// The API server is down when the command ends: what is left, until when, and what to
// do is said, and the status is the command's. A second signal ends the trying.
func TestRunCannotRelease(t *testing.T) {
	t.Parallel()
	for name, signals := range map[string]int{"tries": 0, "told to leave it": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := given(t)
			away, off := switched(t, fmt.Sprint(signals))
			over := filepath.Join(t.TempDir(), "over")
			cmd := away.running(ns, "--for", "20s", "--", "sh", "-c", `while [ ! -e "$0" ]; do sleep 0.1; done; exit 9`, over)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			var said syncBuffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			r := only(t, ns)
			knowsOfAccess(t, &said)
			off()
			if err := os.WriteFile(over, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			for n := range signals {
				if n == 0 {
					kit.Eventually(t, "the first try", func(context.Context) (bool, error) {
						return strings.Contains(said.String(), "not released yet"), nil
					})
				}
				if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					kit.Eventually(t, "what goes on", func(context.Context) (bool, error) {
						return strings.Contains(said.String(), "releasing "+r.Name+"; once more leaves it"), nil
					})
				}
			}
			_ = cmd.Wait()
			if status := cmd.ProcessState.ExitCode(); status != 9 {
				t.Errorf("status %d", status)
			}
			if took := time.Since(begun); signals > 0 && took > 10*time.Second {
				t.Errorf("it took %s in spite of two signals", took)
			}
			for _, want := range []string{r.Name + " could not be released", "it ends at 20", "kubectl access release " + r.Name + " -n " + ns} {
				if !strings.Contains(said.String(), want) {
					t.Errorf("it does not say %q: %s", want, said.String())
				}
			}
			e.WaitFor(t, r, v1alpha1.RequestExpired)
		})
	}
}

// --namespace, --context and --kubeconfig hold for the command, nothing secret is
// written for it, and nothing stays.
func TestRunInAContext(t *testing.T) {
	t.Parallel()
	ns := given(t)
	temp := t.TempDir()
	in := func(kubeconfig string, args ...string) result {
		cmd := e.Kubectl(kubeconfig, append([]string{"access", "run", "edit", "--reason", "r"}, args...)...)
		cmd.Env = append(cmd.Env, "TMPDIR="+temp)
		return startCmd(t, cmd)()
	}
	const tell = `kubectl config view --minify -o 'jsonpath={.current-context} {..namespace}'; echo " $(kubectl auth whoami -o 'jsonpath={.status.userInfo.username}') $KUBECONFIG"; cat "$TMPDIR"/*/* 2>/dev/null`
	// Nothing given but the namespace.
	r := in(alice.kubeconfig, "-n", ns, "--", "sh", "-c", tell).ok(t, ns+" alice "+temp+"/", ":"+alice.kubeconfig)
	for _, secret := range []string{"client-key", "token", "certificate"} {
		if strings.Contains(r.out, secret) {
			t.Errorf("%s is on disk:\n%s", secret, r.out)
		}
	}
	// Another context, of another file, whose current one is somebody else's.
	both := filepath.Join(t.TempDir(), "both")
	merge := e.Kubectl(eve.kubeconfig+":"+alice.kubeconfig, "config", "view", "--flatten")
	merged, err := merge.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(both, merged, 0o600); err != nil {
		t.Fatal(err)
	}
	in("/nonexistent", "--kubeconfig", both, "--context", "alice", "-n", ns, "--", "sh", "-c", tell).ok(t, "alice "+ns+" alice "+temp)
	in("/nonexistent", "--kubeconfig", alice.kubeconfig, "-n", ns, "--", "sh", "-c", `kubectl auth can-i delete pods`).ok(t, "yes")
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("%v, and left on disk is %v", err, left)
	}
	// Without a flag nothing is changed.
	use := filepath.Join(t.TempDir(), "use")
	content, err := os.ReadFile(alice.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(use, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := e.Kubectl(use, "config", "set-context", "--current", "--namespace", ns).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r := in(use, "--", "sh", "-c", `echo "$KUBECONFIG"`).ok(t); r.out != use+"\n" {
		t.Errorf("%q", r.out)
	}
}
