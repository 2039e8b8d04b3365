package spiffe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// lastUser is the newest user id that a workload runs under.
var lastUser atomic.Uint32

func init() { lastUser.Store(52000) }

// workload is processes of a user of their own, by which the agent knows them.
type workload struct {
	id         string
	uid        uint32
	home       string
	kubeconfig string
}

// newWorkload is a workload that is not registered.
func newWorkload(t *testing.T) *workload {
	t.Helper()
	w := &workload{uid: lastUser.Add(1)}
	w.home = filepath.Join(open, fmt.Sprintf("user-%d", w.uid))
	if err := errors.Join(os.Mkdir(w.home, 0o700), os.Chown(w.home, int(w.uid), int(w.uid))); err != nil {
		t.Fatal(err)
	}
	w.configure(t, "--audience="+audience)
	return w
}

// registered is a workload with a SPIFFE ID.
func registered(t *testing.T, path string) *workload {
	t.Helper()
	w := newWorkload(t)
	w.id = spire.id(path)
	w.register(t, w.id)
	kit.Eventually(t, "the registration of "+w.id+" to reach the agent", func(context.Context) (bool, error) {
		_, _, err := w.run(t, "kubectl-access", "credential", "spiffe", "--audience", audience)
		return err == nil, err
	})
	return w
}

// register gives the workload an identity.
func (w *workload) register(t *testing.T, id string) {
	t.Helper()
	if _, err := spire.run(t.Context(), "entry", "create", "-parentID", spire.id("/node"), "-spiffeID", id, "-selector", fmt.Sprintf("unix:uid:%d", w.uid)); err != nil {
		t.Fatal(err)
	}
}

// configure writes the kubeconfig of the workload: six lines say who its user is.
func (w *workload) configure(t *testing.T, flags ...string) {
	t.Helper()
	admin := e.AdminConfig()
	args, err := json.Marshal(append([]string{"credential", "spiffe"}, flags...))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := json.Marshal(admin.CAData)
	if err != nil {
		t.Fatal(err)
	}
	w.kubeconfig = filepath.Join(w.home, "config")
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
contexts: [{name: c, context: {cluster: c, user: workload}}]
current-context: c
users:
- name: workload
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: kubectl-access
      args: %s
      interactiveMode: Never
`, admin.Host, ca, args)
	if err := errors.Join(os.WriteFile(w.kubeconfig, []byte(kubeconfig), 0o600), os.Chown(w.kubeconfig, int(w.uid), int(w.uid))); err != nil {
		t.Fatal(err)
	}
}

// run runs a program as the workload.
func (w *workload) run(t *testing.T, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	plain := e.Kubectl(w.kubeconfig)
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = w.home
	for _, variable := range plain.Env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			if cmd.Path, err = lookPath(name, path); err != nil {
				t.Fatal(err)
			}
			cmd.Err = nil
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+w.home, "KUBECONFIG="+w.kubeconfig, "SPIFFE_ENDPOINT_SOCKET="+socket)
	asUser(cmd, w.uid)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), err
}

func lookPath(name, path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s", name, path)
}

// must runs a command line of kubectl that must succeed.
func (w *workload) must(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, err := w.run(t, "kubectl", args...)
	if err != nil {
		t.Fatalf("%s: kubectl %s: %v\n%s\n%s", w.id, strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// cannot runs a command line of kubectl that must fail, and say this.
func (w *workload) cannot(t *testing.T, says string, args ...string) {
	t.Helper()
	stdout, stderr, err := w.run(t, "kubectl", args...)
	if err == nil || !strings.Contains(stderr, says) {
		t.Errorf("%s: kubectl %s: %v; it must say %q\n%s\n%s", w.id, strings.Join(args, " "), err, says, stdout, stderr)
	}
}

// can tells whether the workload may list pods, by listing them.
func (w *workload) can(t *testing.T, namespace string) bool {
	t.Helper()
	_, stderr, err := w.run(t, "kubectl", "get", "pods", "-n", namespace)
	if err != nil && !strings.Contains(stderr, "Forbidden") {
		t.Fatalf("%s: %v: %s", w.id, err, stderr)
	}
	return err == nil
}

// ask asks for edit and returns the request.
func (w *workload) ask(t *testing.T, namespace string, flags ...string) *v1alpha1.AccessRequest {
	t.Helper()
	line := append([]string{"access", "request", "edit", "-n", namespace, "--reason", "INC-42: stuck consumers", "-o", "name"}, flags...)
	name := w.must(t, line...)
	r := &v1alpha1.AccessRequest{}
	r.Namespace, r.Name = namespace, name[strings.LastIndex(name, "/")+1:]
	return r
}

// policy lets deployers of the trust domain ask, and gates approve.
func policy(t *testing.T, namespace string, edit func(*v1alpha1.AccessPolicySpec)) {
	t.Helper()
	e.NewPolicy(t, namespace, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: v1alpha1.SPIFFEKind, Name: spire.id("/ns/*/sa/deployer")})
		s.Approvals[0].From = []v1alpha1.PolicySubject{{Kind: v1alpha1.SPIFFEKind, Name: spire.id("/gate/**")}}
		if edit != nil {
			edit(s)
		}
	})
}

func automatic(s *v1alpha1.AccessPolicySpec) {
	s.Approvals = []v1alpha1.ApprovalStage{}
}

// bearer is a client with a token.
func bearer(t *testing.T, token string) client.Client {
	t.Helper()
	c, err := e.NewClient(&rest.Config{Host: e.AdminConfig().Host, TLSClientConfig: rest.TLSClientConfig{CAData: e.AdminConfig().CAData}, BearerToken: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// whoami asks the API server whom it takes the bearer of a token for.
func whoami(t *testing.T, token string) (authenticationv1.UserInfo, error) {
	t.Helper()
	review := &authenticationv1.SelfSubjectReview{}
	err := bearer(t, token).Create(t.Context(), review)
	return review.Status.UserInfo, err
}

// token is a JWT-SVID of the workload, from the Workload API.
func (w *workload) token(t *testing.T, flags ...string) string {
	t.Helper()
	stdout, stderr, err := w.run(t, "kubectl-access", append([]string{"credential", "spiffe", "--audience", audience}, flags...)...)
	if err != nil {
		t.Fatalf("%s: %v: %s", w.id, err, stderr)
	}
	var credential struct{ Status struct{ Token string } }
	if err := json.Unmarshal([]byte(stdout), &credential); err != nil {
		t.Fatal(err)
	}
	return credential.Status.Token
}
