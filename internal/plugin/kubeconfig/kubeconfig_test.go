package kubeconfig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// base has somebody's own context, with what others keep in a kubeconfig: a relative
// path, an exec plugin of an identity provider, an extension.
const base = `apiVersion: v1
kind: Config
current-context: prod
clusters:
- name: c
  cluster:
    server: https://prod:6443
    certificate-authority: ca.crt
    extensions:
    - name: cluster_info
      extension: {provider: minikube.sigs.k8s.io, version: v1.37.0}
users:
- name: alice
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: kubectl, args: [oidc-login, get-token], interactiveMode: IfAvailable, provideClusterInfo: true}
contexts:
- name: prod
  context: {cluster: c, user: alice, namespace: payments}
`

var (
	fix = Login{Namespace: "payments", Request: "fix", Base: "prod"}
	how = Exec{Command: "/usr/bin/kubectl-access", Kubeconfig: []string{"/home/alice/.kube/config"}, Env: map[string]string{"KUBECTL_ACCESS_HOME": "/keys"}}
)

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func merged(t *testing.T, files ...string) *clientcmdapi.Config {
	t.Helper()
	c, err := (&clientcmd.ClientConfigLoadingRules{Precedence: files}).Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func login(t *testing.T, files []string, l Login, use bool) string {
	t.Helper()
	path, err := Add(t.Context(), files, merged(t, files...), l, how, l.Namespace, use)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func logout(t *testing.T, files []string, l Login) []string {
	t.Helper()
	gone, err := Remove(t.Context(), files, func(other Login) bool { return other == l })
	if err != nil {
		t.Fatal(err)
	}
	return gone
}

// A login comes and goes, and leaves everything else as it was; a second one changes
// nothing.
func TestAddAndRemove(t *testing.T) {
	path := file(t, "config", base)
	before := merged(t, path)
	if got := login(t, []string{path}, fix, false); got != path {
		t.Errorf("written to %s", got)
	}
	once := content(t, path)
	for _, secret := range []string{"token:", "tokenFile"} {
		if strings.Contains(once, secret) {
			t.Errorf("there is a %s in\n%s", secret, once)
		}
	}
	login(t, []string{path}, fix, false)
	if twice := content(t, path); twice != once {
		t.Errorf("the second time it is\n%s\nand was\n%s", twice, once)
	}
	c := merged(t, path)
	got, ok := LoginOf(c, "payments/fix@prod")
	if !ok || got != fix || c.CurrentContext != "prod" || c.Contexts["payments/fix@prod"].Cluster != "c" || !slices.Equal(FilesOf(c, "payments/fix@prod"), how.Kubeconfig) {
		t.Errorf("%+v, %v, current context %s", got, ok, c.CurrentContext)
	}
	exec := c.AuthInfos["payments/fix@prod"].Exec
	if exec.InteractiveMode != clientcmdapi.NeverExecInteractiveMode || exec.InstallHint == "" || exec.APIVersion != "client.authentication.k8s.io/v1" ||
		strings.Join(exec.Args, " ") != "credential fix --namespace payments --context prod" {
		t.Errorf("%+v", exec)
	}
	if _, ok := LoginOf(c, "prod"); ok {
		t.Error("an own context counts as a login")
	}
	if gone := logout(t, []string{path}, fix); !slices.Equal(gone, []string{"payments/fix@prod"}) {
		t.Errorf("gone: %v", gone)
	}
	if after := merged(t, path); fmt.Sprint(after) == "" || !sameConfig(before, after) {
		t.Errorf("left:\n%s", content(t, path))
	}
	if gone := logout(t, []string{path}, fix); gone != nil {
		t.Errorf("gone twice: %v", gone)
	}
	if _, err := os.Stat(path + ".lock"); !os.IsNotExist(err) {
		t.Errorf("the lock is left: %v", err)
	}
}

func sameConfig(a, b *clientcmdapi.Config) bool {
	x, errX := clientcmd.Write(*a)
	y, errY := clientcmd.Write(*b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// A request that is called as a subcommand is named with its kind.
func TestNamedAsASubcommand(t *testing.T) {
	path := file(t, "config", base)
	spiffe := Login{Namespace: "payments", Request: "spiffe", Base: "prod"}
	login(t, []string{path}, spiffe, false)
	c := merged(t, path)
	if args := c.AuthInfos["payments/spiffe@prod"].Exec.Args; args[1] != "areq/spiffe" {
		t.Errorf("%v", args)
	}
	if got, ok := LoginOf(c, "payments/spiffe@prod"); !ok || got != spiffe {
		t.Errorf("%+v, %v", got, ok)
	}
}

func TestUse(t *testing.T) {
	path := file(t, "config", base)
	login(t, []string{path}, fix, true)
	if got := merged(t, path).CurrentContext; got != "payments/fix@prod" {
		t.Errorf("current context %s", got)
	}
	logout(t, []string{path}, fix)
	if got := merged(t, path).CurrentContext; got != "prod" {
		t.Errorf("after the logout %s", got)
	}
}

// With several files in KUBECONFIG, the context goes into the first that is there, and
// comes out of whichever has it; the current context is that of the first.
func TestSeveralFiles(t *testing.T) {
	first := file(t, "first", "apiVersion: v1\nkind: Config\ncurrent-context: prod\n")
	second := file(t, "second", base)
	missing := filepath.Join(t.TempDir(), "missing")
	files := []string{missing, first, second}
	if got := login(t, files, fix, false); got != first {
		t.Errorf("written to %s", got)
	}
	if got := content(t, second); got != base {
		t.Errorf("the second file is\n%s", got)
	}
	logout(t, files, fix)
	// One that is in the second stays there.
	login(t, []string{second}, fix, false)
	if got := login(t, files, fix, true); got != second || strings.Contains(content(t, first), "users:\n- name") {
		t.Errorf("written to %s; the first is\n%s", got, content(t, first))
	}
	if got := merged(t, files...).CurrentContext; got != fix.Context() {
		t.Errorf("current context %s", got)
	}
	logout(t, files, fix)
	if c := merged(t, files...); c.CurrentContext != "prod" || len(c.Contexts) != 1 || len(c.AuthInfos) != 1 {
		t.Errorf("left %s, %v", c.CurrentContext, c.Contexts)
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("the file that was not there: %v", err)
	}
}

// kubernetes/kubernetes#118564 and #58957: a colon too many, and a file twice.
func TestFiles(t *testing.T) {
	t.Setenv("KUBECONFIG", strings.Join([]string{"", "/a", "", "/b", "/a", ""}, string(os.PathListSeparator)))
	if got := Files(""); !slices.Equal(got, []string{"/a", "/b"}) {
		t.Errorf("%v", got)
	}
	if got := Files("/c"); !slices.Equal(got, []string{"/c"}) {
		t.Errorf("%v", got)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got := Files("c"); !slices.Equal(got, []string{filepath.Join(here, "c")}) {
		t.Errorf("%v", got)
	}
}

// Logins at the same moment all come in, and none undoes another's or kubectl's.
func TestAtTheSameMoment(t *testing.T) {
	path := file(t, "config", base)
	var all sync.WaitGroup
	const n = 12
	before := merged(t, path)
	for i := range n {
		all.Go(func() {
			l := Login{Namespace: "payments", Request: fmt.Sprint("fix-", i), Base: "prod"}
			// What was read before the lock is old by then.
			if _, err := Add(t.Context(), []string{path}, before, l, how, "payments", false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(merged(t, path).Contexts); got != n+1 {
		t.Errorf("%d contexts, want %d", got, n+1)
	}
}

// Whoever reads the kubeconfig while it is written finds it whole.
func TestReadWhileWritten(t *testing.T) {
	path := file(t, "config", base)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			c, err := clientcmd.LoadFromFile(path)
			if err != nil || c.CurrentContext != "prod" || c.Contexts["prod"] == nil {
				done <- fmt.Errorf("read %+v, %w", c, err)
				return
			}
		}
	}()
	for range 100 {
		login(t, []string{path}, fix, false)
		logout(t, []string{path}, fix)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestLeftLock(t *testing.T) {
	path := file(t, "config", base)
	if err := os.WriteFile(path+".lock", nil, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	cancel(stop)
	if _, err := Add(ctx, []string{path}, merged(t, path), fix, how, "", false); !errors.Is(err, stop) {
		t.Error(err)
	}
	if got := content(t, path); got != base {
		t.Errorf("written all the same:\n%s", got)
	}
}

// Nothing that somebody else made is touched.
func TestTaken(t *testing.T) {
	for name, tc := range map[string]string{
		"a context": "- name: payments/fix@prod\n  context: {cluster: c, user: alice}\n",
		"a user":    "users:\n- name: payments/fix@prod\n  user: {token: x}\n",
	} {
		path := file(t, "config", base)
		other := file(t, "other", "apiVersion: v1\nkind: Config\n"+strings.Replace(tc, "- name", map[bool]string{true: "contexts:\n- name", false: "- name"}[name == "a context"], 1))
		files := []string{path, other}
		if _, err := Add(t.Context(), files, merged(t, files...), fix, how, "", false); !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v", name, err)
		}
		if got := content(t, path); got != base {
			t.Errorf("%s: written all the same:\n%s", name, got)
		}
	}
	path := file(t, "out", strings.ReplaceAll(base, "prod\n", "payments/fix@prod\n"))
	if err := AddTo(t.Context(), path, &clientcmdapi.Cluster{Server: "https://prod"}, fix, how, "", false); !errors.Is(err, ErrTaken) {
		t.Error(err)
	}
}

// A kubeconfig that is a link stays one: aws/aws-cli#6688.
func TestLinkedKubeconfig(t *testing.T) {
	target := file(t, "real", base)
	linked := filepath.Join(t.TempDir(), "config")
	if err := os.Symlink(target, linked); err != nil {
		t.Skipf("Windows lets only some people make links: %v", err)
	}
	login(t, []string{linked}, fix, false)
	if info, err := os.Lstat(linked); err != nil || info.Mode()&os.ModeSymlink == 0 || !strings.Contains(content(t, target), "payments/fix@prod") {
		t.Errorf("%v, %v", info, err)
	}
}

// A file of its own needs no other, is private, and goes when it is empty; one that
// had something else keeps that.
func TestOwnFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "fix.kubeconfig")
	cluster := &clientcmdapi.Cluster{Server: "https://prod:6443", CertificateAuthorityData: []byte("ca")}
	for range 2 {
		if err := AddTo(t.Context(), path, cluster, fix, how, "payments", false); err != nil {
			t.Fatal(err)
		}
	}
	c := merged(t, path)
	if c.CurrentContext != fix.Context() || c.Clusters[fix.Context()].Server != cluster.Server || c.Contexts[c.CurrentContext].Namespace != "payments" {
		t.Errorf("%s", content(t, path))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	logout(t, []string{path}, fix)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the empty file: %v", err)
	}

	shared := file(t, "shared", base)
	if err := AddTo(t.Context(), shared, cluster, fix, how, "", false); err != nil {
		t.Fatal(err)
	}
	if got := merged(t, shared).CurrentContext; got != "prod" {
		t.Errorf("current context %s", got)
	}
	logout(t, []string{shared}, fix)
	if c := merged(t, shared); len(c.Contexts) != 1 || len(c.Clusters) != 1 || c.CurrentContext != "prod" {
		t.Errorf("%s", content(t, shared))
	}
}

func TestNotWritable(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root writes everywhere but where there is no folder to write to.
		path := "/proc/kubeconfig"
		if err := AddTo(t.Context(), path, &clientcmdapi.Cluster{}, fix, how, "", false); err == nil || !strings.Contains(err.Error(), path) {
			t.Error(err)
		}
		return
	}
	path := file(t, "config", base)
	if err := os.Chmod(filepath.Dir(path), 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Dir(path), 0o700) })
	if _, err := Add(t.Context(), []string{path}, merged(t, path), fix, how, "", false); err == nil || !strings.Contains(err.Error(), "--kubeconfig-out") {
		t.Error(err)
	}
}

func TestClusterOf(t *testing.T) {
	ca := file(t, "ca.crt", "pem\n")
	proxy := func(*http.Request) (*url.URL, error) { return url.Parse("socks5://localhost:1080") }
	config := &rest.Config{Host: "https://host/k8s/clusters/c-1/", Proxy: proxy, TLSClientConfig: rest.TLSClientConfig{CAFile: ca, ServerName: "api"}}
	c, err := ClusterOf(config)
	if err != nil || c.Server != "https://host/k8s/clusters/c-1" || string(c.CertificateAuthorityData) != "pem\n" || c.TLSServerName != "api" || c.ProxyURL != "socks5://localhost:1080" {
		t.Errorf("%+v, %v", c, err)
	}
	if config.CAData != nil {
		t.Error("the client's own config was changed")
	}
	if c, err = ClusterOf(&rest.Config{Host: "10.0.0.1:6443", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("pem")}}); err != nil || c.Server != "https://10.0.0.1:6443" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := ClusterOf(&rest.Config{Host: "https://host", TLSClientConfig: rest.TLSClientConfig{CAFile: "/no/such"}}); err == nil {
		t.Error("a file that is not there")
	}
	one := clientcmdapi.Cluster{Server: "https://127.0.0.1:6443", CertificateAuthorityData: []byte("a")}
	for name, change := range map[string]func(*clientcmdapi.Cluster){
		"another address":          func(c *clientcmdapi.Cluster) { c.Server += "1" },
		"another CA, by a tunnel":  func(c *clientcmdapi.Cluster) { c.CertificateAuthorityData = []byte("b") },
		"another name":             func(c *clientcmdapi.Cluster) { c.TLSServerName = "x" },
		"nobody checks":            func(c *clientcmdapi.Cluster) { c.InsecureSkipTLSVerify = true },
		"what is moved to another": func(c *clientcmdapi.Cluster) { c.Server, c.CertificateAuthorityData = c.Server+"a", nil },
	} {
		other := one
		change(&other)
		if ClusterID(&one) == ClusterID(&other) {
			t.Errorf("%s: the same cluster", name)
		}
	}
}

func TestNoLogin(t *testing.T) {
	for _, exec := range []*clientcmdapi.ExecConfig{
		nil,
		{Command: "kubectl", Args: []string{"credential", "fix", "--namespace", "payments", "--context", "prod"}},
		{Command: "/usr/bin/kubectl-access", Args: []string{"credential", "spiffe", "--audience", "a"}},
		{Command: "/usr/bin/kubectl-access"},
	} {
		if l, ok := loginOf(&clientcmdapi.AuthInfo{Exec: exec}); ok {
			t.Errorf("%+v is taken for %+v", exec, l)
		}
	}
	windows := fix.user(Exec{Command: `C:\Users\alice\.krew\bin\kubectl-access.exe`})
	if l, ok := loginOf(windows); !ok || l != fix {
		t.Errorf("%+v, %v", l, ok)
	}
}
