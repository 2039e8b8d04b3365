// Package observe plays what access is used for: real people call a real API server,
// whose audit events the real observer counts.
package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e        *kit.Cluster
	broker   *lab.Process
	observer *lab.Process
	// The cast: dave asks (group dev), bob approves (group sre). Each test has a
	// requester of its own besides.
	dave, bob client.Client
)

func TestMain(m *testing.M) {
	kit.MainOn(lab.Options{Audit: true}, func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if err := errors.Join(
		e.Hire("dev", lab.People{"dave": &dave}),
		e.Hire("sre", lab.People{"bob": &bob}),
		e.Bind(ctx, "access-requester", "dev"),
		e.Bind(ctx, "access-approver", "sre"),
		e.InstallObserver(ctx),
		e.MustRun(ctx, "kubectl apply -f config/components/look-back/role.yaml -f config/components/look-back/role_binding.yaml"),
	); err != nil {
		return 1, err
	}
	if broker, err = e.Broker(ctx, "broker"); err != nil {
		return 1, err
	}
	if observer, err = e.NewObserver(ctx, "observer", e.ObserveLog("node-1")...); err != nil {
		return 1, err
	}
	if err := observer.Start(ctx); err != nil {
		return 1, err
	}
	defer observer.Stop()
	code, err = kit.Run(ctx, m, broker)
	if code != 0 {
		fmt.Fprintln(os.Stderr, "the observer's last words:\n"+observer.LogTail())
	}
	return code, err
}
