// Package spiffe plays workloads that prove who they are by SPIFFE: a real SPIRE
// beside the control plane, whose API server takes its JWT-SVIDs, and processes of
// users of their own that run kubectl and kubectl access. `make test-spiffe` runs it.
// It needs Linux, root (to run processes as other users) and a C compiler (to build
// SPIRE); without, it says what did not run.
package spiffe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

const (
	// home is the trust domain of the cluster's own workloads, foreign that of
	// others, which the API server knows as well.
	home, foreign = "example.org", "foreign.test"

	// audience of the API server.
	audience = "kubernetes"

	// workloads is the group that the API server puts all of the trust domain into.
	workloads = "workloads:" + home
)

var (
	e *kit.Cluster
	// spire is the trust domain of the cluster's workloads, abroad the foreign one,
	// whose issuer does not run when the API server starts.
	spire, abroad *issuer
	agent         *lab.Process
	// open is a folder that workloads may read, whoever they are.
	open string
	// socket is the address of the Workload API.
	socket string
)

func TestMain(m *testing.M) {
	if err := missing(); err != nil {
		fmt.Fprintf(os.Stderr, "test/spiffe: NOT RUN: %v\n", err)
		if os.Getenv("TEST_SPIFFE") == "must" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := play(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// missing says what these tests need and do not find.
func missing() error {
	if os.Getenv("TEST_SPIFFE") == "" {
		return errors.New("it needs SPIRE; run `make test-spiffe` as root on Linux, with a C compiler")
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return errors.New("only root runs processes as other users; run `make test-spiffe` as root on Linux")
	}
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	for _, name := range []string{"spire-server", "spire-agent", "oidc-discovery-provider"} {
		if _, err := exec.LookPath(filepath.Join(root, "bin", "spire", name)); err != nil {
			return fmt.Errorf("%w; `make test-spiffe` builds it, which needs a C compiler", err)
		}
	}
	return nil
}

func play(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if open, err = os.MkdirTemp("", "spiffe-"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(open) }()
	if err := os.Chmod(open, 0o755); err != nil {
		return 1, err
	}
	ca, err := newAuthority()
	if err != nil {
		return 1, err
	}
	if spire, err = newIssuer(ca, home); err != nil {
		return 1, err
	}
	if abroad, err = newIssuer(ca, foreign); err != nil {
		return 1, err
	}
	config := filepath.Join(open, "authentication.yaml")
	if err := os.WriteFile(config, []byte(authentication(ca)), 0o600); err != nil {
		return 1, err
	}
	defer abroad.stop()
	defer spire.stop()
	if err := spire.start(ctx); err != nil {
		return 1, err
	}
	if agent, err = spire.newAgent(ctx); err != nil {
		return 1, err
	}
	defer agent.Stop()
	if err := agent.Start(ctx); err != nil {
		return 1, err
	}
	started, err := lab.Start(ctx, lab.Options{Output: os.Stderr, APIServerFlags: []string{"--authentication-config=" + config}})
	if err != nil {
		return 1, err
	}
	defer started.Stop() //nolint:errcheck // its folder is a temporary one
	e = &kit.Cluster{Cluster: started}
	if err := e.Bind(ctx, "access-requester", workloads, "workloads:"+foreign); err != nil {
		return 1, err
	}
	if err := e.Bind(ctx, "access-approver", workloads, "workloads:"+foreign); err != nil {
		return 1, err
	}
	broker, err := e.Broker(ctx, "broker")
	if err != nil {
		return 1, err
	}
	return kit.Run(ctx, m, broker)
}

// authentication is how the API server takes the JWT-SVIDs of both trust domains: the
// username and the uid are the SPIFFE ID, and nothing is mapped that differs from
// token to token. An issuer speaks for its own trust domain alone.
func authentication(ca *authority) string {
	config := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n"
	for _, i := range []*issuer{spire, abroad} {
		config += fmt.Sprintf(`- issuer:
    url: %s
    audiences: [%s]
    certificateAuthority: |
      %s
  claimValidationRules:
  - expression: claims.sub.startsWith('spiffe://%s/')
    message: the issuer speaks for its own trust domain only
  claimMappings:
    username:
      expression: claims.sub
    uid:
      expression: claims.sub
    groups:
      expression: "['workloads:%s']"
`, i.url, audience, strings.ReplaceAll(strings.TrimSpace(string(ca.pem)), "\n", "\n      "), i.domain, i.domain)
	}
	return config
}
