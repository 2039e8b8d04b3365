// Package e2e plays the product as the people who use it: real users with
// certificates of their own, a real API server, the real broker.
package e2e

import (
	"context"
	"errors"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e      *kit.Cluster
	broker *lab.Process
	// The cast: alice and dave ask (group dev), bob, carol and erin approve
	// (group sre), mallory may write the status of requests but is in no policy.
	alice, dave, bob, carol, erin, mallory client.Client
)

func TestMain(m *testing.M) {
	// As OpenShift has it: an owner is set, and held back from deletion, only by
	// those who could do so themselves. The attacks run without it, so that no
	// plugin stops them before the broker's own policies do.
	strict := lab.Options{AdmissionPlugins: map[string]string{"OwnerReferencesPermissionEnforcement": ""}}
	kit.MainOn(strict, func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if err := errors.Join(
		e.Hire("dev", lab.People{"alice": &alice, "dave": &dave}),
		e.Hire("sre", lab.People{"bob": &bob, "carol": &carol, "erin": &erin}),
		e.Hire("mischief", lab.People{"mallory": &mallory}),
		e.Bind(ctx, "access-requester", "dev", "mischief"),
		e.Bind(ctx, "access-approver", "sre", "mischief", "dev"),
		e.Bind(ctx, "access-locker", "security"),
	); err != nil {
		return 1, err
	}
	// It tells at this level what it leaves out on purpose.
	if broker, err = e.Broker(ctx, "broker", "--log-level=debug"); err != nil {
		return 1, err
	}
	return kit.Run(ctx, m, broker)
}
