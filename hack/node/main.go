// Command node runs the sandbox with a node under it until Ctrl-C: Access
// Broker's own Pods, and everybody else's, run for real. Nothing of it is left
// on the machine when it ends, however it does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/lab/node"
)

func main() {
	enforce := flag.Bool("network-policies", false, "enforce NetworkPolicies, with kube-router")
	flag.Parse()
	code, err := node.Main(func(ctx context.Context) (int, error) {
		err := run(ctx, *enforce)
		if ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, context.Canceled)) {
			err = nil // the Ctrl-C came during the start
		}
		if err != nil {
			return 1, err
		}
		return 0, nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, enforce bool) error {
	fmt.Println("Starting a control plane and a node in namespaces of their own ...")
	n, err := node.Start(ctx, os.Stdout)
	if err != nil {
		return err
	}
	if enforce {
		if err := n.StartRouter(ctx); err != nil {
			return err
		}
	}
	if err := furnish(ctx, n); err != nil {
		return err
	}
	folder, err := n.Share(ctx, people...)
	if err != nil {
		return err
	}
	explain(n, folder)
	select {
	case <-ctx.Done():
		fmt.Println("\nStopping, and cleaning away ...")
		return nil
	case <-n.APIServer.Exited():
		return fmt.Errorf("the API server ended; the end of its log:\n%s", n.APIServer.LogTail())
	case <-n.Containerd.Exited():
		return fmt.Errorf("containerd ended; the end of its log:\n%s", n.Containerd.LogTail())
	case <-n.Kubelet.Exited():
		return fmt.Errorf("the kubelet ended; the end of its log:\n%s", n.Kubelet.LogTail())
	}
}

var people = []string{lab.AdminName, "alice", "bob", "carol"}

// furnish brings in what the sandbox has. There is no registry: the workload
// runs an image that is here.
func furnish(ctx context.Context, n *node.Node) error {
	if err := n.MustRun(ctx,
		"kubectl apply -f hack/demo/payments.yaml -f hack/demo/policy.yaml -f hack/sandbox/policy.yaml",
		"kubectl patch deployment checkout -n payments -p '"+
			`{"spec":{"template":{"spec":{"containers":[{"name":"checkout","image":"`+node.PauseImage+`","imagePullPolicy":"IfNotPresent"}]}}}}'`,
		"kubectl wait --for=condition=Ready --timeout=30s accesspolicies --all",
	); err != nil {
		return err
	}
	return n.Cast(ctx)
}

func explain(n *node.Node, folder string) {
	fmt.Println("\nThe node is ready, and stays so until Ctrl-C. alice is in the group dev, bob and carol in sre.")
	fmt.Println("kubectl as each of them, as commands for another terminal in this folder:")
	fmt.Println()
	for _, name := range people {
		fmt.Printf("  alias %s='PATH=\"%s/bin:$PATH\" KUBECONFIG=%s/%s.kubeconfig %s'\n", name, n.Root, folder, name, n.Binary("kubectl"))
	}
	fmt.Printf(`
To try:

  admin get pods -A
  alice create -f hack/demo/request.yaml
  bob access approve fix -n payments
  alice exec -n payments deployment/checkout -- /pause work 1m 0

Alice is refused before the approval, and again 20 seconds after it. Her open
exec lives on: only the end of the Pod, or of the process, ends it.
`)
}
