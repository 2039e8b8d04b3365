// Command sandbox runs a real control plane with Access Broker on it until
// Ctrl-C, and says how to use it as each of the people in the demo.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/accessbroker/accessbroker/internal/lab"
)

func main() {
	if err := runUntilInterrupted(); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

func runUntilInterrupted() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx)
	if ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, context.Canceled)) {
		return nil // the Ctrl-C came during the start
	}
	return err
}

func run(ctx context.Context) (err error) {
	s, broker, err := lab.SetStage(ctx, os.Stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()

	if err := furnish(ctx, s); err != nil {
		return err
	}
	explain(s)

	select {
	case <-ctx.Done():
		fmt.Println("\nStopping, and cleaning away ...")
		return nil
	case <-broker.Exited():
		return fmt.Errorf("the broker ended; the end of its log:\n%s", broker.LogTail())
	case <-s.APIServer.Exited():
		return fmt.Errorf("the API server ended; the end of its log:\n%s", s.APIServer.LogTail())
	}
}

// furnish brings in what the demo has, and a policy that needs two approvers.
func furnish(ctx context.Context, s *lab.Cluster) error {
	if err := s.MustRun(ctx,
		"kubectl apply -f hack/demo/payments.yaml -f hack/demo/policy.yaml -f hack/sandbox/policy.yaml",
		"kubectl wait --for=condition=Ready --timeout=10s accesspolicies --all",
	); err != nil {
		return err
	}
	return s.Cast(ctx)
}

func explain(s *lab.Cluster) {
	fmt.Println("\nThe sandbox is ready, and stays so until Ctrl-C. alice is in the group dev, bob and carol in sre.")
	fmt.Println("kubectl as each of them, as commands for another terminal in this folder:")
	fmt.Println()
	// Not by --kubeconfig: kubectl takes no flag before the name of a plugin, and
	// finds kubectl access on the PATH.
	kubectl := s.Binary("kubectl")
	for _, name := range []string{lab.AdminName, "alice", "bob", "carol"} {
		fmt.Printf("  alias %s='PATH=\"%s:$PATH\" KUBECONFIG=%s %s'\n", name, filepath.Dir(kubectl), s.KubeconfigOf(name), kubectl)
	}
	fmt.Printf(`
To try:

  alice scale deployment checkout -n payments --replicas=3
  alice create -f hack/demo/request.yaml
  bob get areq -n payments
  bob patch areq fix -n payments --subresource=status --type=merge -p '{"status":{"decisions":[{"verdict":"Approve"}]}}'
  alice scale deployment checkout -n payments --replicas=3
  bob get accessgrants

The same in fewer words, with the plugin:

  alice access request edit -n payments --for 20s --reason "checkout is slow" --name slow
  bob access approve slow -n payments
  alice access list -n payments
  bob access audit

Or in a browser, each in a terminal of their own, until Ctrl-C:

  alice access ui
  bob access ui

Alice is refused at first, and again 20 seconds after the approval. The role
admin takes both bob and carol: hack/sandbox/policy.yaml says so.

The broker's log is %s
`, s.Log("access-broker"))
}
