// Command sandbox runs a real control plane with Access Broker on it until
// Ctrl-C, and says how to use it as each of the people in the demo.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/accessbroker/accessbroker/test/stage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	s, err := stage.Set(ctx, os.Stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Strike()) }()

	if err := s.MustRun(ctx,
		"kubectl apply -f hack/demo/payments.yaml -f hack/demo/policy.yaml -f hack/sandbox/policy.yaml",
		"kubectl wait --for=condition=Ready --timeout=10s accesspolicies --all",
	); err != nil {
		return err
	}
	if err := s.Cast(ctx); err != nil {
		return err
	}
	explain(s)

	select {
	case <-ctx.Done():
		fmt.Println("\nStopping, and cleaning away ...")
		return nil
	case <-s.Broker.Exited():
		return fmt.Errorf("the broker ended; the end of its log:\n%s", s.Broker.LogTail())
	case <-s.APIServer.Exited():
		return fmt.Errorf("the API server ended; the end of its log:\n%s", s.APIServer.LogTail())
	}
}

func explain(s *stage.Stage) {
	fmt.Printf(`
The sandbox is ready, and stays so until Ctrl-C. In another terminal, here:

  alias admin='%[1]s --kubeconfig=%[2]s'
  alias alice='%[1]s --kubeconfig=%[3]s'   # group dev
  alias bob='%[1]s --kubeconfig=%[4]s'     # group sre
  alias carol='%[1]s --kubeconfig=%[5]s'   # group sre

To try:

  alice scale deployment checkout -n payments --replicas=3     # refused
  alice create -f hack/demo/request.yaml                       # edit in payments, for 20 seconds
  bob get areq -n payments
  bob patch areq fix -n payments --subresource=status --type=merge -p '{"status":{"decisions":[{"verdict":"Approve"}]}}'
  alice scale deployment checkout -n payments --replicas=3     # works, until it does not
  bob get accessgrants

The broker's log is %[6]s
`,
		s.Binary("kubectl"),
		s.KubeconfigOf(stage.Admin), s.KubeconfigOf("alice"), s.KubeconfigOf("bob"), s.KubeconfigOf("carol"),
		s.Log("access-broker"))
}
