// Package plugin runs kubectl access as people do: the real binary, found by
// kubectl, against a real API server and the real broker.
package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/env"
)

var (
	e *env.Env
	// The cast: alice and dave ask (group dev), bob and carol approve (group
	// sre), vera audits, eve holds nothing.
	alice, dave, bob, carol, vera, eve, admin person
)

// person has a client to assert with and a kubeconfig to type commands with.
type person struct {
	client.Client
	kubeconfig string
}

func TestMain(m *testing.M) {
	env.Main(func(ctx context.Context, started *env.Env) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if _, err := os.Stat(filepath.Join(e.Root, "bin", "kubectl-access")); err != nil {
		return 1, fmt.Errorf("the plugin is missing, run `make build`: %w", err)
	}
	for _, cast := range []struct {
		who   *person
		name  string
		group string
	}{
		{&alice, "alice", "dev"},
		{&dave, "dave", "dev"},
		{&bob, "bob", "sre"},
		{&carol, "carol", "sre"},
		{&vera, "vera", "audit"},
		{&eve, "eve", "mischief"},
	} {
		config, err := e.User(cast.name, cast.group)
		if err != nil {
			return 1, err
		}
		if *cast.who, err = login(cast.name, config); err != nil {
			return 1, err
		}
	}
	if admin, err = login("admin", e.ControlPlane.Admin()); err != nil {
		return 1, err
	}
	for role, group := range map[string]string{"access-requester": "dev", "access-approver": "sre", "access-auditor": "audit"} {
		if err := e.Admin.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "test-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: group}},
		}); err != nil {
			return 1, err
		}
	}
	broker, err := e.Broker(ctx, "broker")
	if err != nil {
		return 1, err
	}
	if err := broker.Start(ctx); err != nil {
		return 1, err
	}
	defer broker.Stop()
	if code = m.Run(); code != 0 {
		fmt.Fprintln(os.Stderr, "the broker's last words:\n"+broker.LogTail())
	}
	return code, nil
}

func login(name string, config *rest.Config) (p person, err error) {
	if p.Client, err = env.NewClient(config); err != nil {
		return p, err
	}
	p.kubeconfig, err = e.Kubeconfig(name, config)
	return p, err
}

// access is `kubectl access ...`, not started yet.
func (p person) access(args ...string) *exec.Cmd {
	cmd := e.Kubectl(p.kubeconfig, append([]string{"access"}, args...)...)
	for i, v := range cmd.Env { // kubectl may be elsewhere
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			cmd.Env[i] = "PATH=" + filepath.Join(e.Root, "bin") + string(os.PathListSeparator) + path
		}
	}
	return cmd
}

// result of a command line.
type result struct {
	line, out, err string
	status         int
}

func (p person) run(t *testing.T, args ...string) result {
	t.Helper()
	return p.start(t, args...)()
}

// start runs a command and returns what waits for its end.
func (p person) start(t *testing.T, args ...string) func() result {
	t.Helper()
	return startCmd(t, p.access(args...))
}

func startCmd(t *testing.T, cmd *exec.Cmd) func() result {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return func() result {
		t.Helper()
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return result{strings.Join(cmd.Args[1:], " "), out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
	}
}

// ok checks that it went well and that its output says all of this.
func (r result) ok(t *testing.T, says ...string) result {
	t.Helper()
	return r.ends(t, 0, says...)
}

// ends checks the exit status and what was said.
func (r result) ends(t *testing.T, status int, says ...string) result {
	t.Helper()
	if r.status != status {
		t.Fatalf("kubectl %s: status %d, want %d\n%s%s", r.line, r.status, status, r.out, r.err)
	}
	for _, text := range says {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("kubectl %s does not say %q:\n%s%s", r.line, text, r.out, r.err)
		}
	}
	return r
}

// not checks that something was not said.
func (r result) not(t *testing.T, text string) result {
	t.Helper()
	if strings.Contains(r.out+r.err, text) {
		t.Errorf("kubectl %s says %q:\n%s%s", r.line, text, r.out, r.err)
	}
	return r
}

// request is one by its name.
func request(ns, name string) *v1alpha1.AccessRequest {
	return &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
}

// ask makes a request of alice's for edit and waits until a policy is matched.
func ask(t *testing.T, ns, name string, args ...string) *v1alpha1.AccessRequest {
	t.Helper()
	alice.run(t, append([]string{"request", "edit", "-n", ns, "--name", name, "--reason", "INC-42: stuck consumers"}, args...)...).
		ok(t, "accessrequest.jit.accessbroker.dev/"+name+" created")
	return e.WaitMatched(t, request(ns, name))
}
