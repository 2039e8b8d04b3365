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
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e *kit.Cluster
	// The cast: alice and dave ask (group dev), bob and carol approve (group
	// sre), vera audits, eve holds nothing. nora asks (group narrow), and may read no roles.
	alice, dave, bob, carol, vera, eve, nora, admin person
)

// person has a client to assert with and a kubeconfig to type commands with.
type person struct {
	client.Client
	kubeconfig string
}

func TestMain(m *testing.M) {
	kit.MainOn(lab.Options{Audit: true}, func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if _, err := os.Stat(filepath.Join(e.Root, "bin", "kubectl-access")); err != nil {
		return 1, fmt.Errorf("the plugin is missing, run `make build`: %w", err)
	}
	for who, to := range map[*person]struct{ name, group string }{
		&alice: {"alice", "dev"},
		&dave:  {"dave", "dev"},
		&bob:   {"bob", "sre"},
		&carol: {"carol", "sre"},
		&vera:  {"vera", "audit"},
		&eve:   {"eve", "mischief"},
		&nora:  {"nora", "narrow"},
		&admin: {lab.AdminName, "system:masters"},
	} {
		config, err := e.User(to.name, to.group)
		if err != nil {
			return 1, err
		}
		if *who, err = login(to.name, config); err != nil {
			return 1, err
		}
	}
	if err := errors.Join(
		e.Bind(ctx, "access-requester", "dev"),
		e.Bind(ctx, "access-approver", "sre"),
		e.Bind(ctx, "access-auditor", "audit"),
		narrow(ctx),
	); err != nil {
		return 1, err
	}
	broker, err := e.Broker(ctx, "broker")
	if err != nil {
		return 1, err
	}
	return kit.Run(ctx, m, broker)
}

// narrow gives the group narrow what a requester needs, and nothing more: it stands for
// access-requester as others wrote it themselves.
func narrow(ctx context.Context) error {
	own := func(verbs []string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: resources}
	}
	return errors.Join(e.Admin.Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "narrow-requester"}, Rules: []rbacv1.PolicyRule{
		own([]string{"get", "list", "watch", "create"}, "accessrequests"),
		own([]string{"get", "patch"}, "accessrequests/status"),
		own([]string{"get", "list", "watch"}, "accesspolicies"),
	}}), e.Bind(ctx, "narrow-requester", "narrow"))
}

func login(name string, config *rest.Config) (p person, err error) {
	if p.Client, err = lab.NewClient(config); err != nil {
		return p, err
	}
	p.kubeconfig, err = e.Kubeconfig(name, config)
	return p, err
}

// access is `kubectl access ...`, not started yet.
func (p person) access(args ...string) *exec.Cmd {
	return e.Kubectl(p.kubeconfig, append([]string{"access"}, args...)...)
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
