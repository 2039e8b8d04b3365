// Package check plays the machine that decides: the real binary under its own
// ServiceAccount, on a real control plane, asking servers that answer as the public
// documentation of their APIs says.
package check

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e       *kit.Cluster
	broker  *lab.Process
	checker *lab.Process
	// config is the checker's file.
	config string
	// metricsAt is where it serves its metrics.
	metricsAt string
	// outside are the servers outside of the cluster.
	outside *servers
	// The cast: alice asks (group dev), bob approves (group sre).
	alice, bob client.Client
)

// servers answer what a test puts there, by method, path and query.
type servers struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   []string
}

func newServers() *servers {
	s := &servers{answers: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := r.Method + " " + r.URL.RequestURI()
		s.mu.Lock()
		answer := s.answers[what]
		s.asked = append(s.asked, what)
		s.mu.Unlock()
		if answer == nil {
			http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
			return
		}
		answer(w, r)
	}))
	return s
}

func (s *servers) answer(what string, with http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[what] = with
}

func (s *servers) count(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, asked := range s.asked {
		if asked == what {
			n++
		}
	}
	return n
}

// says answers with JSON, to who brings a credential.
func says(authorization, format string, args ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != authorization {
			http.Error(w, `{"message":"Bad credentials"}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		fmt.Fprintf(w, format, args...)
	}
}

// configure writes the ready configurations as one, with the servers of the tests in
// place of those on the internet, and the other checks of the tests.
func configure(dir string, more string) (string, error) {
	authority := filepath.Join(dir, "ca.pem")
	config := "checks:\n"
	files, err := filepath.Glob(filepath.Join(e.Root, "config", "components", "checks", "examples", "*.yaml"))
	if err != nil || len(files) != 5 {
		return "", fmt.Errorf("there are %d ready configurations: %w", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		_, checks, _ := strings.Cut(string(content), "checks:\n")
		checks = regexp.MustCompile(`allow: https://[^/\n]+`).ReplaceAllString(checks, "caFile: "+authority+"\n    period: 1s\n    allow: "+outside.URL)
		checks = regexp.MustCompile(`stage: .*`).ReplaceAllString(checks, "stage: "+name)
		checks = strings.ReplaceAll(checks, "/etc/access-checker/secrets/", dir+"/secret-")
		config += checks
		if err := os.WriteFile(filepath.Join(dir, "secret-"+name), []byte("me@example.com:s3cret of "+name+"\n"), 0o600); err != nil {
			return "", err
		}
	}
	path := filepath.Join(dir, "config.yaml")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: outside.Certificate().Raw})
	return path, errors.Join(
		os.WriteFile(authority, certificate, 0o600),
		os.WriteFile(path, []byte(config+strings.NewReplacer("SERVER", outside.URL, "AUTHORITY", authority).Replace(more)), 0o600),
	)
}

func TestMain(m *testing.M) {
	kit.Main(func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	outside = newServers()
	defer outside.Close()
	dir, err := os.MkdirTemp("", "checks")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	config, err = configure(dir, otherChecks)
	if err != nil {
		return 1, err
	}
	if err := errors.Join(
		e.Hire("dev", lab.People{"alice": &alice}), e.Hire("sre", lab.People{"bob": &bob}),
		e.Bind(ctx, "access-requester", "dev"), e.Bind(ctx, "access-approver", "sre"), e.InstallChecker(ctx),
	); err != nil {
		return 1, err
	}
	if broker, err = e.Broker(ctx, "broker"); err != nil {
		return 1, err
	}
	if metricsAt, err = lab.FreeAddress(); err != nil {
		return 1, err
	}
	if checker, err = e.NewChecker(ctx, "checker", config, "--metrics-bind-address="+metricsAt); err != nil {
		return 1, err
	}
	if err := checker.Start(ctx); err != nil {
		return 1, errors.Join(err, errors.New(checker.LogTail()))
	}
	defer checker.Stop()
	code, err = kit.Run(ctx, m, broker)
	if code != 0 {
		fmt.Fprintln(os.Stderr, "the checker's last words:\n"+checker.LogTail())
	}
	return code, err
}

// machine is the account that checks.
func machine() v1alpha1.PolicySubject {
	return v1alpha1.PolicySubject{Kind: v1alpha1.ServiceAccountKind, Namespace: lab.BrokerNamespace, Name: lab.CheckerServiceAccount}
}

// scene is a namespace whose access the machine decides, in stages of these names.
func scene(t *testing.T, stages ...string) string {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals = nil
		for _, stage := range stages {
			s.Approvals = append(s.Approvals, v1alpha1.ApprovalStage{Name: stage, From: []v1alpha1.PolicySubject{machine()}, Count: ptr.To[int32](1)})
		}
	})
	return ns
}

func ticket(text string) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) {
		s.Ticket, s.Duration = text, &metav1.Duration{Duration: 30 * time.Minute}
	}
}
