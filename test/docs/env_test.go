package docs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// installed is a cluster with the broker running on it.
type installed struct {
	*kit.Cluster
	broker *lab.Process
	// metrics is the address on which the broker serves them.
	metrics string
	// audit is the path of the audit log.
	audit string
}

// start it once, for all tests that need it.
var start = sync.OnceValues(func() (*installed, error) {
	ctx := context.Background()
	running, err := lab.Start(ctx, lab.Options{Output: os.Stderr})
	if err != nil {
		return nil, err
	}
	e := &installed{Cluster: &kit.Cluster{Cluster: running}, audit: filepath.Join(running.Dir(), "audit.log")}
	if err := e.furnish(ctx); err != nil {
		return nil, errors.Join(err, running.Stop())
	}
	return e, nil
})

func (e *installed) furnish(ctx context.Context) (err error) {
	// A sink that nobody answers for, so that its metrics are there to be asked for.
	sinks := filepath.Join(e.Dir(), "sinks.yaml")
	if err := errors.Join(
		// Everybody may ask and decide, as far as RBAC goes: the policies say more.
		e.Bind(ctx, "access-requester", "system:authenticated"),
		e.Bind(ctx, "access-approver", "system:authenticated"),
		os.WriteFile(sinks, []byte("sinks: [{name: away, url: 'http://127.0.0.1:1'}]"), 0o600),
	); err != nil {
		return err
	}
	if e.metrics, err = lab.FreeAddress(); err != nil {
		return err
	}
	e.broker, err = e.Broker(ctx, "broker", "--leader-elect", "--metrics-bind-address="+e.metrics, "--audit-log-path="+e.audit, "--notification-config="+sinks)
	if err != nil {
		return err
	}
	return e.broker.Start(ctx)
}

// running is the installation, started when it is not.
func running(t *testing.T) *installed {
	t.Helper()
	e, err := start()
	if err != nil {
		t.Fatal(err)
	}
	used = true
	t.Cleanup(func() { kit.LastWords(t, e.broker) })
	return e
}

// used tells whether there is anything to stop.
var used bool

func stopInstalled() error {
	if !used {
		return nil
	}
	e, err := start()
	if err != nil {
		return err
	}
	return e.Stop()
}

// kubectl runs a command line of the administrator in the folder of this
// module, and returns what it printed.
func (e *installed) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := e.Kubectl(e.KubeconfigOf(lab.AdminName), args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
