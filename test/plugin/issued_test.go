package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// machine is a person at a machine of their own: with a home folder, a kubeconfig and a
// folder for keys.
type machine struct {
	person
	home string
	env  []string
}

func (p person) machine(t *testing.T) *machine {
	t.Helper()
	m := &machine{person: p, home: t.TempDir()}
	content, err := os.ReadFile(p.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	m.kubeconfig = filepath.Join(m.home, "config")
	if err := os.WriteFile(m.kubeconfig, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// kubectl is a command on the machine, not started yet.
func (m *machine) kubectl(args ...string) *exec.Cmd {
	cmd := e.Kubectl(m.kubeconfig, args...)
	cmd.Env = append(cmd.Env, "HOME="+m.home, "XDG_CONFIG_HOME=", "XDG_RUNTIME_DIR=")
	cmd.Env = append(cmd.Env, m.env...)
	return cmd
}

func (m *machine) run(t *testing.T, args ...string) result {
	t.Helper()
	return startCmd(t, m.kubectl(args...))()
}

func (m *machine) access(t *testing.T, args ...string) result {
	t.Helper()
	return m.run(t, append([]string{"access"}, args...)...)
}

// keys are the files with keys that the machine has.
func (m *machine) keys(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(m.home, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.Contains(path, "kubectl-access") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (m *machine) config(t *testing.T) *clientcmdapi.Config {
	t.Helper()
	c, err := clientcmd.LoadFromFile(m.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// issues makes a policy that issues credentials.
func issues(t *testing.T, ns string) {
	t.Helper()
	e.NewPolicy(t, ns, kit.Issues)
}

// issued has bob approve a request, and waits until its credential is there.
func issued(t *testing.T, r *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
	t.Helper()
	bob.run(t, "approve", r.Name, "-n", r.Namespace).ok(t)
	return e.WaitFor(t, r, v1alpha1.RequestActive)
}

// asks makes a request for a credential, and waits until somebody can decide.
func (m *machine) asks(t *testing.T, ns, name string, args ...string) *v1alpha1.AccessRequest {
	t.Helper()
	m.access(t, append([]string{"request", "edit", "-n", ns, "--name", name, "--reason", "INC-42", "--for", "1h", "--credential"}, args...)...).ok(t, name+" created")
	return e.WaitMatched(t, request(ns, name))
}

// has asks for a credential and gets it.
func (m *machine) has(t *testing.T, ns, name string, args ...string) *v1alpha1.AccessRequest {
	t.Helper()
	return issued(t, m.asks(t, ns, name, args...))
}

// printed is what the exec plugin printed.
func printed(t *testing.T, r result) (token string, expiry time.Time) {
	t.Helper()
	var c clientauthenticationv1.ExecCredential
	if err := json.Unmarshal([]byte(r.out), &c); err != nil || c.Status == nil || c.Status.ExpirationTimestamp == nil || c.Kind != "ExecCredential" {
		t.Fatalf("%v: %s", err, r.out)
	}
	return c.Status.Token, c.Status.ExpirationTimestamp.Time
}

func contextOf(ns, name string) string { return ns + "/" + name + "@alice" }

// The story of an issued credential: asked for, given, used by plain kubectl in a
// context of its own, given back. Nothing but the key is on disk, and in the end nothing.
func TestIssuedCredential(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	alice.run(t, "policies", "-o", "wide").ok(t, "view,edit,--credential", "Issued")

	waiting := startCmd(t, m.kubectl("access", "request", "edit", "-n", ns, "--name", "fix", "--for", "1h", "--reason", "INC-42", "--credential", "--wait"))
	appears(t, ns, "fix")
	r := e.WaitMatched(t, request(ns, "fix"))
	m.access(t, "show", "fix", "-n", ns).ok(t, "Credential  of the access alone, for nobody but the requester; it is issued when the access begins")
	m.access(t, "login", "fix", "-n", ns).ends(t, 6, "fix has no credential yet: Pending: waiting for approval", "kubectl access show fix -n "+ns)
	r = issued(t, r)
	waiting().ok(t, "Active", "'kubectl access login fix -n "+ns+"' adds a context that uses it.")
	m.access(t, "show", "fix", "-n", ns).ok(t, "valid until", "To use it:", "kubectl access login fix -n "+ns)
	bob.run(t, "show", "fix", "-n", ns).ok(t, "valid until").not(t, "To use it:")

	token, expiry := printed(t, m.access(t, "credential", "fix", "-n", ns).ok(t))
	if strings.Count(token, ".") != 2 {
		t.Errorf("no token: %q", token)
	}
	if want := r.Status.Credential.ExpirationTime.Add(-10 * time.Second); !expiry.Equal(want) && !expiry.Equal(r.Status.ExpirationTime.Add(-10*time.Second)) {
		t.Errorf("to be asked for again at %v, want %v", expiry, want)
	}

	before := m.config(t)
	for range 2 {
		m.access(t, "login", "fix", "-n", ns).ok(t, "Context "+contextOf(ns, "fix")+" is in "+m.kubeconfig, "kubectl --context "+contextOf(ns, "fix"), "kubectl access release fix")
	}
	once, err := os.ReadFile(m.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(once), token[:20]) || len(m.keys(t)) != 1 {
		t.Errorf("the token is on disk, or not one key is: %v\n%s", m.keys(t), once)
	}
	for _, path := range m.keys(t) {
		if content, err := os.ReadFile(path); err != nil || strings.Contains(string(content), token[:20]) {
			t.Errorf("%s: %v\n%s", path, err, content)
		}
	}
	if got := m.config(t).CurrentContext; got != before.CurrentContext {
		t.Errorf("the current context is %s now", got)
	}
	use := []string{"--context", contextOf(ns, "fix")}
	m.run(t, append(use, "auth", "whoami")...).ok(t, "system:serviceaccount:"+v1alpha1.GrantsNamespace+":"+r.Status.GrantName)
	m.run(t, append(use, "auth", "can-i", "delete", "pods")...).ok(t, "yes")
	m.run(t, "auth", "can-i", "delete", "pods", "-n", ns).ends(t, 1, "no")

	m.access(t, "release", "fix", "-n", ns).ok(t, "fix released")
	if after := m.config(t); len(after.Contexts) != 1 || len(after.AuthInfos) != 1 || len(m.keys(t)) != 0 {
		t.Errorf("left: %v, %v", after.Contexts, m.keys(t))
	}
}

// What a login is made the current context for is the work; the plugin's own commands
// act as the person all the same.
func TestCurrentContextIsALogin(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	m.has(t, ns, "fix")
	m.access(t, "login", "fix", "-n", ns, "--use").ok(t, "Use it with 'kubectl …'")
	m.run(t, "auth", "can-i", "delete", "pods").ok(t, "yes")
	m.access(t, "list").ok(t, "fix")
	m.access(t, "show", "fix").ok(t, "valid until") // in the namespace of the context
	_, directives := splitLast(m.access(t, "__complete", "release", "").ok(t).out)
	if !strings.Contains(directives, ":") {
		t.Error(directives)
	}
	m.access(t, "login", "fix").ok(t) // of the same base, not of itself
	if got := len(m.config(t).Contexts); got != 2 {
		t.Errorf("%d contexts", got)
	}
	m.access(t, "release", "fix").ok(t)
	if got := m.config(t).CurrentContext; got != "alice" {
		t.Errorf("the current context is %q", got)
	}
}

func splitLast(s string) (head, last string) {
	s = strings.TrimSpace(s)
	i := strings.LastIndex(s, "\n")
	return s[:max(i, 0)], s[i+1:]
}

// A file of its own, several kubeconfigs, and one that cannot be written.
func TestLoginElsewhere(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	m.has(t, ns, "fix", "--namespaces", ns)
	out := filepath.Join(m.home, "fix.kubeconfig")
	for range 2 {
		m.access(t, "login", "fix", "-n", ns, "--kubeconfig-out", out).ok(t, "kubectl --kubeconfig "+out+" …")
	}
	if got := len(m.config(t).Contexts); got != 1 {
		t.Errorf("%d contexts in the own kubeconfig", got)
	}
	// The other file is enough, whatever KUBECONFIG says then.
	m.run(t, "--kubeconfig", out, "auth", "can-i", "delete", "pods").ok(t, "yes")
	m.env = []string{"KUBECONFIG=" + out}
	m.run(t, "auth", "can-i", "delete", "pods").ok(t, "yes")
	m.access(t, "show", "fix").ok(t, "valid until") // as alice, by the base of the login
	m.access(t, "logout", "fix").ok(t, "Removed the context "+contextOf(ns, "fix"), "Removed the key of "+ns+"/fix")
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	m.env = nil
	m.access(t, "login", "fix", "-n", ns).ends(t, 1, "the key of fix is not in "+m.home, "asked for on another machine", "'kubectl access logout' has deleted it")
	m.access(t, "logout", "fix", "-n", ns).ends(t, 1, "there is neither a context nor a key of fix in namespace "+ns)

	m.has(t, ns, "several")
	first := filepath.Join(m.home, "first")
	m.env = []string{"KUBECONFIG=" + first + "::" + m.kubeconfig + ":" + m.kubeconfig}
	m.access(t, "login", "several", "-n", ns).ok(t, "is in "+m.kubeconfig)
	m.run(t, "--context", contextOf(ns, "several"), "auth", "can-i", "delete", "pods").ok(t, "yes")
	// The kubeconfig that kubectl is told on its command line does not reach the plugin.
	m.env = []string{"KUBECONFIG=" + filepath.Join(m.home, "none")}
	m.run(t, "--kubeconfig", m.kubeconfig, "--context", contextOf(ns, "several"), "auth", "can-i", "delete", "pods").ok(t, "yes")
	m.env = nil
	if err := os.WriteFile(m.kubeconfig+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.access(t, "login", "several", "-n", ns).ends(t, 1, m.kubeconfig+".lock is there: another program writes this kubeconfig; if none does, delete it")
}

// Six requests at once, each with its context, while kubectl writes the kubeconfig too.
func TestLoginsAtOnce(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	const n = 6
	for i := range n {
		m.has(t, ns, fmt.Sprint("fix-", i))
	}
	var all sync.WaitGroup
	for i := range n {
		done := startCmd(t, m.kubectl("access", "login", fmt.Sprint("fix-", i), "-n", ns))
		all.Go(func() {
			if r := done(); r.status != 0 {
				t.Errorf("%s%s", r.out, r.err)
			}
		})
	}
	all.Wait()
	if got := len(m.config(t).Contexts); got != n+1 {
		t.Errorf("%d contexts, want %d", got, n+1)
	}
}

// Whatever keeps a credential from being opened is said in words, with a status, and
// nothing is printed that a program could take for one.
func TestCredentialRefused(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	own := e.NewNamespace(t, nil)
	e.NewPolicy(t, own, nil)
	m := alice.machine(t)
	r := m.has(t, ns, "fix")
	refused := func(m *machine, status int, name string, says ...string) {
		t.Helper()
		if got := m.access(t, "credential", name, "-n", ns).ends(t, status, says...); got.out != "" {
			t.Errorf("printed all the same: %s", got.out)
		}
	}
	refused(alice.machine(t), 1, "fix", "the key of fix is not in", "asked for on another machine", "ask again on this one")
	refused(dave.machine(t), 1, "fix", "fix is the request of alice, and only they can open its credential")
	refused(m, 7, "nosuch", "there is no request nosuch in namespace "+ns, "kubectl access logout nosuch -n "+ns)
	eve := eve.machine(t)
	refused(eve, 1, "fix", "forbidden", "access-requester")

	ask(t, own, "mine")
	bob.run(t, "approve", "mine", "-n", own).ok(t)
	e.WaitFor(t, request(own, "mine"), v1alpha1.RequestActive)
	m.access(t, "credential", "mine", "-n", own).ends(t, 1, "mine gives the access to the requester's own identity, and no credential", "ask again with --credential")

	// The files are looked at before they are believed.
	key := m.keys(t)[0]
	for _, mode := range []os.FileMode{0o640, 0o602} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		refused(m, 1, "fix", "others may read or write "+key, "chmod 600")
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	// The same cluster by another way is another one to us: it may not be the same.
	c := m.config(t)
	other := c.Clusters["local"].DeepCopy()
	other.CertificateAuthorityData, other.InsecureSkipTLSVerify = nil, true
	c.Clusters["other"] = other
	c.Contexts["other"] = &clientcmdapi.Context{Cluster: "other", AuthInfo: "alice"}
	if err := clientcmd.WriteToFile(*c, m.kubeconfig); err != nil {
		t.Fatal(err)
	}
	m.access(t, "credential", "fix", "-n", ns, "--context", "other").ends(t, 1, "the credential of fix is not opened: the key was made for the cluster at "+other.Server, "Use the context with which you asked")

	// Dave writes alice's public key into a request of his: it is no credential of hers.
	bait := lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) { s.CredentialKey = r.Spec.CredentialKey })
	kit.Create(t, dave, bait)
	issued(t, e.WaitMatched(t, bait))
	refused(m, 1, bait.Name, "the credential of "+bait.Name+" is not opened: its key was made for the request "+ns+"/fix")

	carol.run(t, "revoke", "fix", "-n", ns, "-m", "it is over").ok(t)
	e.WaitFor(t, r, v1alpha1.RequestRevoked)
	refused(m, 7, "fix", "fix is over: Revoked: revoked by carol: it is over", "Ask again with 'kubectl access request … --credential'")
	// A new request takes what is over away.
	m.asks(t, ns, "next")
	if left := m.keys(t); len(left) != 1 {
		t.Errorf("keys: %v", left)
	}
	carol.run(t, "deny", "next", "-n", ns).ok(t)
	refused(m, 3, "next", "next is over: Denied: denied by carol")
}

// Where a request is refused, there is no key; where a key cannot be kept, there is no
// request.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	args := []string{"request", "edit", "-n", ns, "--reason", "r", "--credential"}
	unknown := alice.machine(t)
	c := unknown.config(t)
	c.AuthInfos["alice"] = &clientcmdapi.AuthInfo{Token: "nobody"}
	if err := clientcmd.WriteToFile(*c, unknown.kubeconfig); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		who  *machine
		more []string
		says string
	}{
		"may not ask":       {eve.machine(t), nil, "forbidden"},
		"no such duration":  {m, []string{"--for", "99d"}, "spec.duration"},
		"for somebody else": {m, []string{"--subject", "user:bob"}, "--credential and --subject exclude each other: only you get the credential"},
		"server away":       {m, []string{"--server", "https://127.0.0.1:1"}, "cannot reach the API server"},
		"another CA":        {m, []string{"--certificate-authority", certificate(t)}, "certificate"},
		"not so called":     {m, []string{"--name", "Not_A_Name"}, "metadata.name"},
		"unknown":           {unknown, nil, "log in again"},
	} {
		tc.who.access(t, append(args, tc.more...)...).ends(t, 1, tc.says)
		if left := tc.who.keys(t); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	file := filepath.Join(m.home, "file")
	open := filepath.Join(m.home, "open")
	linked := filepath.Join(m.home, "linked")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(m.home, linked); err != nil {
		t.Fatal(err)
	}
	for home, says := range map[string]string{file + "/x": "not a directory", file: "not a directory", open: "chmod 700 " + open, linked: "is a symbolic link", "/proc/nowhere": "make a folder for keys"} {
		m.env = []string{"KUBECTL_ACCESS_HOME=" + home}
		m.access(t, args...).ends(t, 1, "nothing was asked for: ", says)
	}
	all := &v1alpha1.AccessRequestList{}
	if err := e.Admin.List(t.Context(), all, client.InNamespace(ns)); err != nil || len(all.Items) != 0 {
		t.Errorf("requests were made: %v, %v", all.Items, err)
	}
	// A folder of one's own choice is in the context, too.
	m.env = []string{"KUBECTL_ACCESS_HOME=" + filepath.Join(m.home, "chosen", "kubectl-access")}
	m.has(t, ns, "fix")
	m.access(t, "login", "fix", "-n", ns).ok(t)
	m.env = nil
	m.run(t, "--context", contextOf(ns, "fix"), "auth", "can-i", "delete", "pods").ok(t, "yes")
}

// certificate is one of an authority that nobody has.
func certificate(t *testing.T) string {
	t.Helper()
	c, err := clientcmd.LoadFromFile(alice.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, c.AuthInfos["alice"].ClientCertificateData, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A key whose process was killed before it knew its request is found by what the request
// carries.
func TestKilledWhileAsking(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	m.has(t, ns, "fix")
	path := m.keys(t)[0]
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var kept map[string]any
	if err := json.Unmarshal(content, &kept); err != nil {
		t.Fatal(err)
	}
	delete(kept, "name")
	delete(kept, "uid")
	if content, err = json.Marshal(kept); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	m.access(t, "credential", "fix", "-n", ns).ok(t)
	m.access(t, "logout", "fix", "-n", ns).ok(t, "Removed the key of "+ns+"/fix")
}

// A request that was deleted and made again under its name has a key of its own, which
// the end of the first one leaves alone.
func TestAskedAgainUnderTheName(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	first := m.has(t, ns, "fix")
	m.access(t, "login", "fix", "-n", ns).ok(t)
	kit.Delete(t, alice, first)
	e.WaitGone(t, first)
	m.access(t, "credential", "fix", "-n", ns).ends(t, 7, "there is no request fix in namespace "+ns)
	m.has(t, ns, "fix")
	if left := m.keys(t); len(left) != 1 {
		t.Errorf("keys: %v", left)
	}
	m.run(t, "--context", contextOf(ns, "fix"), "auth", "can-i", "delete", "pods").ok(t, "yes")
}

// The identity that fetches the credential may be made by an exec plugin itself; one
// that is made of the credential is told so, and does not call itself for ever.
func TestBaseIsAnExecPlugin(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	m.has(t, ns, "fix")
	m.access(t, "login", "fix", "-n", ns).ok(t)
	c := m.config(t)
	user := c.AuthInfos["alice"]
	answer, err := json.Marshal(clientauthenticationv1.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: "client.authentication.k8s.io/v1beta1", Kind: "ExecCredential"},
		Status:   &clientauthenticationv1.ExecCredentialStatus{ClientCertificateData: string(user.ClientCertificateData), ClientKeyData: string(user.ClientKeyData)},
	})
	if err != nil {
		t.Fatal(err)
	}
	reply := filepath.Join(m.home, "reply")
	if err := os.WriteFile(reply, answer, 0o600); err != nil {
		t.Fatal(err)
	}
	plugin := func(mode clientcmdapi.ExecInteractiveMode, script string) {
		t.Helper()
		c := m.config(t)
		c.AuthInfos["alice"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1beta1", Command: "sh", Args: []string{"-c", script}, InteractiveMode: mode,
		}}
		if err := clientcmd.WriteToFile(*c, m.kubeconfig); err != nil {
			t.Fatal(err)
		}
	}
	use := []string{"--context", contextOf(ns, "fix"), "auth", "can-i", "delete", "pods"}
	plugin(clientcmdapi.IfAvailableExecInteractiveMode, "cat "+reply)
	m.run(t, use...).ok(t, "yes")
	plugin(clientcmdapi.IfAvailableExecInteractiveMode, "echo log in at https://idp.example.com >&2; exit 1")
	m.run(t, use...).ends(t, 1, "log in at https://idp.example.com", "getting credentials: exec: executable")
	plugin(clientcmdapi.AlwaysExecInteractiveMode, "cat "+reply)
	m.run(t, use...).ends(t, 1, "standard input is not a terminal")
	plugin(clientcmdapi.NeverExecInteractiveMode, "exec "+e.Binary("kubectl")+" --context "+contextOf(ns, "fix")+" get --raw /version")
	m.run(t, use...).ends(t, 1, "the identity that fetches the credential of fix is made of that credential")
}

// A program that runs for long asks again before the credential is over, and has the
// renewed one then.
func TestRenewed(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	r := m.has(t, ns, "fix")
	nearlyOver(t, r)
	e.WaitUntil(t, r, "the record", func(r *v1alpha1.AccessRequest) bool {
		return time.Until(r.Status.Credential.ExpirationTime.Time) < time.Minute
	})
	m.access(t, "login", "fix", "-n", ns).ok(t)
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: m.kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: contextOf(ns, "fix")}).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	// The program is this test, and its environment that of the machine.
	config.ExecProvider.Env = append(config.ExecProvider.Env, clientcmdapi.ExecEnvVar{Name: "HOME", Value: m.home}, clientcmdapi.ExecEnvVar{Name: "XDG_CONFIG_HOME"})
	program, err := lab.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	which := func(ctx context.Context) (string, error) {
		review := &authenticationv1.SelfSubjectReview{}
		err := program.Create(ctx, review)
		return strings.Join(review.Status.UserInfo.Extra["authentication.kubernetes.io/credential-id"], ""), err
	}
	before, err := which(t.Context())
	if err != nil || before == "" {
		t.Fatal(before, err)
	}
	kit.Eventually(t, "the renewed credential", func(ctx context.Context) (bool, error) {
		now, err := which(ctx)
		return err == nil && now != before, err
	})
}

// A request may be called as a subcommand is.
func TestRequestNamedSPIFFE(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	m.has(t, ns, "spiffe")
	printed(t, m.access(t, "credential", "areq/spiffe", "-n", ns).ok(t))
	m.access(t, "login", "spiffe", "-n", ns).ok(t)
	m.run(t, "--context", contextOf(ns, "spiffe"), "auth", "can-i", "delete", "pods").ok(t, "yes")
	m.access(t, "logout", "areq/spiffe", "-n", ns).ok(t)
}

// Programs say which version they speak.
func TestExecInfo(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	issues(t, ns)
	m := alice.machine(t)
	m.has(t, ns, "fix")
	for version, status := range map[string]int{"v1": 0, "v1beta1": 0, "v1alpha1": 1} {
		m.env = []string{`KUBERNETES_EXEC_INFO={"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/` + version + `","spec":{"interactive":false}}`}
		r := m.access(t, "credential", "fix", "-n", ns).ends(t, status, "client.authentication.k8s.io/"+version)
		if status != 0 && r.out != "" {
			t.Errorf("printed all the same: %s", r.out)
		}
	}
	m.env = nil
	m.access(t, "login", "fix", "-n", ns, "--as", "alice").ends(t, 1, "a context cannot keep --as")
}
