// Command kubectl-access is the kubectl plugin of Access Broker: `kubectl
// access`. Linked or copied as kubectl_complete-access, it completes what is
// typed after `kubectl access`.
package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/accessbroker/accessbroker/internal/plugin"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run())
}

func run() int {
	// A signal that is ignored, as under nohup, stays so.
	ctx, stop := signal.NotifyContext(context.Background(), slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM}, signal.Ignored)...)
	defer stop()
	// What goes wrong is returned and told once, not logged on the way.
	logf.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	return plugin.Run(ctx, streams, version, os.Args)
}
