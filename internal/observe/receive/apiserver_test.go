package receive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/usage"
	"github.com/accessbroker/accessbroker/test/kit"
)

// seen are the events that a server counted, by stream.
type seen struct {
	mu     sync.Mutex
	paths  map[string][]string // of calls, by stream
	copies map[string]int      // by ID and stage
	fails  int                 // deliveries that fail first, after they were read
}

func (s *seen) handle(_ context.Context, stream string, events io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		_, _ = io.Copy(io.Discard, events)
		return errors.New("not now")
	}
	skipped, err := usage.Read(events, nil, func(e *usage.Event) error {
		s.paths[stream] = append(s.paths[stream], e.User+" "+e.Verb+" "+e.Path)
		s.copies[e.ID+e.Stage]++
		return nil
	})
	if err == nil && (skipped.Broken > 0 || skipped.TooLong > 0 || skipped.Foreign > 0) {
		err = fmt.Errorf("skipped: %+v", skipped)
	}
	return err
}

func (s *seen) has(stream, call string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.paths[stream], call)
}

// webhook is an observer's server at an address that an API server sends to.
type webhook struct {
	*bench
	seen   *seen
	config string // the API server's kubeconfig
}

// configure writes the kubeconfig with which the API server sends.
func (w *webhook) configure(t testing.TB, user *clientcmdapi.AuthInfo) {
	t.Helper()
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"observer": {Server: "https://" + w.address + "/audit/cp-1", CertificateAuthorityData: w.ca.pem}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"apiserver": user},
		Contexts:       map[string]*clientcmdapi.Context{"observer": {Cluster: "observer", AuthInfo: "apiserver"}},
		CurrentContext: "observer",
	}, w.config); err != nil {
		t.Fatal(err)
	}
}

// start runs the server; config is that of who asks about tokens.
func (w *webhook) start(t testing.TB, config *rest.Config) (stop func()) {
	t.Helper()
	o := w.options
	if o.Config = config; config != nil {
		var err error
		if o.HTTPClient, err = rest.HTTPClientFor(config); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Server(w.address, o, w.seen.handle)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s)
}

// A real API server sends what it audits, first with a client certificate, then with a
// token; what it could not send while nobody listened comes later.
func TestAPIServer(t *testing.T) {
	w := &webhook{bench: &bench{ca: newAuthority(t), clients: newAuthority(t)}, seen: &seen{paths: map[string][]string{}, copies: map[string]int{}}}
	w.good = w.clients.client(t)
	dir, pair := t.TempDir(), w.ca.server(t)
	w.options = Options{
		CertFile: write(t, dir, "tls.crt", pair.cert), KeyFile: write(t, dir, "tls.key", pair.key),
		ClientCAFile: write(t, dir, "ca.crt", w.clients.pem), Log: testr.New(t),
	}
	w.config = filepath.Join(dir, "webhook.kubeconfig")
	var err error
	if w.address, err = lab.FreeAddress(); err != nil {
		t.Fatal(err)
	}
	w.configure(t, &clientcmdapi.AuthInfo{ClientCertificateData: w.good.cert, ClientKeyData: w.good.key})
	// It outlives the part of the test that starts it.
	start := func(config *rest.Config) (stop func()) { return w.start(t, config) }
	stop := start(nil)

	cp, err := lab.StartControlPlane(t.Context(), lab.Options{AuditWebhook: w.config, Output: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})

	// call is a call that is seen by nothing but its name.
	call := func(t *testing.T, name string) {
		t.Helper()
		if _, err := cp.Clientset.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{LabelSelector: "none=none"}); err != nil {
			t.Fatal(err)
		}
		if err := cp.Clientset.CoreV1().RESTClient().Get().AbsPath("/version/" + name).Do(t.Context()).Error(); err == nil {
			t.Fatal("there is no such path")
		}
	}
	arrives := func(t *testing.T, name string) {
		t.Helper()
		kit.Within(t, time.Minute, "the call "+name, func(context.Context) (bool, error) { return w.seen.has("cp-1", "admin get /version/"+name), nil })
	}

	t.Run("with a certificate", func(t *testing.T) {
		call(t, "certificate")
		arrives(t, "certificate")
	})

	t.Run("after an outage", func(t *testing.T) {
		stop()
		call(t, "outage")
		vain := w.unavailable(t) // the API server connects in vain
		vain()
		stop = start(nil)
		arrives(t, "outage")
	})

	t.Run("after what was not counted", func(t *testing.T) {
		w.seen.mu.Lock()
		w.seen.fails = 1
		w.seen.mu.Unlock()
		call(t, "failed")
		arrives(t, "failed")
		w.seen.mu.Lock()
		defer w.seen.mu.Unlock()
		for id, n := range w.seen.copies {
			if n != 1 {
				t.Errorf("%s was counted %d times", id, n)
			}
		}
	})

	bindable(t, cp)
	asker := account(t, cp, "observer", "system:auth-delegator")
	sender := account(t, cp, "sender", "audit-sender")
	nobody := account(t, cp, "nobody", "")

	t.Run("with a token", func(t *testing.T) {
		stop()
		w.options.ClientCAFile = "" // from here on no certificate counts
		stop = start(asker)
		w.configure(t, &clientcmdapi.AuthInfo{ClientCertificateData: w.good.cert, ClientKeyData: w.good.key, TokenFile: write(t, dir, "token", []byte(sender.BearerToken))})
		cp.APIServer.Stop()
		if err := cp.APIServer.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		call(t, "token")
		arrives(t, "token")
	})

	c := w.client(nil)
	list, err := json.Marshal(map[string]any{"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	code := func(path string, headers ...string) int {
		t.Helper()
		got := post(t, c, w.url(path), strings.NewReader(string(list)), headers...)
		return got.code
	}
	t.Run("tokens", func(t *testing.T) {
		for name, tc := range map[string]struct {
			path    string
			headers []string
			want    int
		}{
			"sender":                        {"/audit", []string{"Authorization", "Bearer " + sender.BearerToken}, 200},
			"sender, of a stream":           {"/audit/eks", []string{"Authorization", "bearer  " + sender.BearerToken}, 200},
			"sender, by Firehose":           {"/audit/eks", []string{accessKeyHeader, sender.BearerToken, requestIDHeader, "x"}, 200},
			"nobody":                        {"/audit", []string{"Authorization", "Bearer " + nobody.BearerToken}, 403},
			"nobody, of a stream":           {"/audit/eks", []string{"Authorization", "Bearer " + nobody.BearerToken}, 403},
			"the asker":                     {"/audit", []string{"Authorization", "Bearer " + asker.BearerToken}, 403},
			"no token":                      {"/audit", nil, 401},
			"a token that was made up":      {"/audit", []string{"Authorization", "Bearer " + sender.BearerToken[:len(sender.BearerToken)-8] + "AAAAAAAA"}, 401},
			"another scheme":                {"/audit", []string{"Authorization", "Basic " + sender.BearerToken}, 401},
			"another scheme, and Firehose":  {"/audit", []string{"Authorization", "Basic x", accessKeyHeader, sender.BearerToken}, 401},
			"nobody's, and Firehose's best": {"/audit", []string{"Authorization", "Bearer " + nobody.BearerToken, accessKeyHeader, sender.BearerToken}, 403},
		} {
			if got := code(tc.path, tc.headers...); got != tc.want {
				t.Errorf("%s: %d, want %d", name, got, tc.want)
			}
		}
	})

	// An API server that does not answer is not a token that is not valid: who sends
	// again after the one gives up after the other.
	t.Run("without an API server", func(t *testing.T) {
		known := []string{"Authorization", "Bearer " + sender.BearerToken}
		if got := code("/audit", known...); got != 200 {
			t.Fatal(got)
		}
		cp.APIServer.Stop()
		if got := code("/audit", known...); got != 200 {
			t.Errorf("who was known a moment ago: %d", got)
		}
		if got := code("/audit", "Authorization", "Bearer x"); got != http.StatusServiceUnavailable {
			t.Errorf("who is not known: %d", got)
		}
	})
}

// unavailable listens in place of the server and hangs up. What it returns waits for a
// sender that came in vain.
func (w *webhook) unavailable(t testing.TB) (vain func()) {
	t.Helper()
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		c, err := l.Accept()
		if err = errors.Join(err, l.Close()); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
}

// bindable makes the ClusterRole of those who may send.
func bindable(t testing.TB, cp *lab.ControlPlane) {
	t.Helper()
	if _, err := cp.Clientset.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "audit-sender"}, Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/audit"}, Verbs: []string{"post"}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// account is a ServiceAccount with a ClusterRole.
func account(t testing.TB, cp *lab.ControlPlane, name, role string) *rest.Config {
	t.Helper()
	if _, err := cp.Clientset.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if role != "" {
		if _, err := cp.Clientset.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: name}},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	config, err := cp.ServiceAccount(t.Context(), "default", name)
	if err != nil {
		t.Fatal(err)
	}
	return config
}
