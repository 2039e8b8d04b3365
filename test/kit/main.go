// Package kit is what tests have in common: internal/lab in the hands of a
// test, which fails where lab returns an error.
package kit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// Cluster is a running control plane with Access Broker installed.
type Cluster struct {
	*lab.Cluster
}

// Main is a package's TestMain: run, which runs the tests, gets a cluster that
// is stopped afterwards. An error fails the package.
func Main(run func(ctx context.Context, c *Cluster) (code int, err error)) {
	MainOn(lab.Options{}, run)
}

// MainOn is Main on a control plane of another kind.
func MainOn(o lab.Options, run func(ctx context.Context, c *Cluster) (code int, err error)) {
	code, err := onOwnCluster(o, run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func onOwnCluster(o lab.Options, run func(ctx context.Context, c *Cluster) (int, error)) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Output = os.Stderr
	started, err := lab.Start(ctx, o)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, started.Stop()) }()
	return run(ctx, &Cluster{started})
}

// Start is a cluster until the end of the test.
func Start(t testing.TB) *Cluster {
	t.Helper()
	started, err := lab.Start(t.Context(), lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := started.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &Cluster{started}
}

// Run runs the tests while a broker does, and shows what it logged last when
// one fails.
func Run(ctx context.Context, m *testing.M, broker *lab.Process) (code int, err error) {
	if err := broker.Start(ctx); err != nil {
		return 1, err
	}
	defer broker.Stop() // before what it talks to
	if code = m.Run(); code != 0 {
		fmt.Fprintln(os.Stderr, "the broker's last words:\n"+broker.LogTail())
	}
	return code, nil
}

// StartBroker runs a broker until the end of the test. name tells replicas apart.
func (c *Cluster) StartBroker(t testing.TB, name string, args ...string) *lab.Process {
	t.Helper()
	broker, err := c.Broker(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		LastWords(t, broker)
		_ = broker.Signal(syscall.SIGCONT) // one that hangs does not hear SIGTERM
		broker.Stop()
	})
	Restart(t, broker)
	return broker
}

// Restart starts a program, once more after a Stop or a Kill.
func Restart(t testing.TB, p *lab.Process) {
	t.Helper()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// LastWords shows what a broker logged last, when the test has failed.
func LastWords(t testing.TB, broker *lab.Process) {
	t.Helper()
	if t.Failed() {
		t.Logf("the last words of %s:\n%s", broker.Name(), broker.LogTail())
	}
}
