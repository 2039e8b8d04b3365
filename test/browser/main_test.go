// Package browser looks at the page of `kubectl access ui` in a real Chromium, as
// alice who asks, bob who decides and vera who audits, against the real control plane
// and the real broker. `make test-browser` runs it. It needs Chromium, and axe-core,
// which npm installs; without, it says what did not run.
package browser

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/browser/chromium"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e *kit.Cluster
	b *chromium.Browser
	// axe is the script of axe-core.
	axe string
	// The cast: alice and dave ask (group dev), bob and carol approve (group sre),
	// vera audits.
	alice, dave, bob, carol, vera person
)

// person has a client to assert with and a kubeconfig to type commands with.
type person struct {
	client.Client
	name       string
	kubeconfig string
}

func TestMain(m *testing.M) {
	wanted := os.Getenv("TEST_BROWSER")
	if wanted == "" {
		fmt.Fprintln(os.Stderr, "test/browser: NOT RUN: it needs a browser; run `make test-browser`")
		os.Exit(0)
	}
	root, err := lab.ModuleRoot()
	if err == nil {
		err = missing(root, wanted)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "test/browser: NOT RUN: %v\n", err)
		if wanted == "must" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	kit.Main(func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

// missing is what has to be installed first. Pictures need no axe-core.
func missing(root, wanted string) error {
	err := chromium.Missing()
	script, unread := os.ReadFile(filepath.Join(root, "bin", "browser", "node_modules", "axe-core", "axe.min.js"))
	axe = string(script)
	if unread != nil && wanted != "pictures" {
		err = errors.Join(err, errors.New("there is no axe-core: install npm (apt-get install npm) and run hack/browser/install.sh"))
	}
	return err
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if _, err := os.Stat(filepath.Join(e.Root, "bin", "kubectl-access")); err != nil {
		return 1, fmt.Errorf("the plugin is missing, run `make build`: %w", err)
	}
	for who, to := range map[*person]struct{ name, group string }{
		&alice: {"alice", "dev"},
		&dave:  {"dave", "dev"},
		&bob:   {"bob", "sre"},
		&carol: {"carol", "sre"},
		&vera:  {"vera", "audit"},
	} {
		config, err := e.User(to.name, to.group)
		if err != nil {
			return 1, err
		}
		who.name = to.name
		if who.Client, err = lab.NewClient(config); err != nil {
			return 1, err
		}
		if who.kubeconfig, err = e.Kubeconfig(to.name, config); err != nil {
			return 1, err
		}
	}
	if err := errors.Join(
		e.Bind(ctx, "access-requester", "dev"),
		e.Bind(ctx, "access-approver", "sre"),
		e.Bind(ctx, "access-auditor", "audit"),
	); err != nil {
		return 1, err
	}
	broker, err := e.Broker(ctx, "broker")
	if err != nil {
		return 1, err
	}
	if b, err = chromium.Start(ctx); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	return kit.Run(ctx, m, broker)
}

// serve runs `kubectl access ui --no-browser` until the end of the test, and returns
// the one-time address that it prints.
func (p person) serve(t testing.TB, args ...string) (address string) {
	t.Helper()
	cmd := e.Kubectl(p.kubeconfig, append([]string{"access", "ui", "--no-browser"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		late := time.AfterFunc(kit.Patience, func() {
			t.Errorf("the page of %s does not end with Ctrl-C", p.name)
			_ = cmd.Process.Kill()
		})
		err := cmd.Wait()
		late.Stop()
		if code := cmd.ProcessState.ExitCode(); err != nil && code != 130 {
			t.Errorf("the page of %s ended with %v", p.name, err)
		}
		if t.Failed() {
			t.Logf("%s: kubectl access ui %s said:\n%s", p.name, strings.Join(args, " "), said.String())
		}
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("kubectl access ui says nothing: %v", lines.Err())
	}
	address = lines.Text()
	if !strings.HasPrefix(address, "http://127.0.0.1:") {
		t.Fatalf("%q is not an address on this machine", address)
	}
	go func() {
		for lines.Scan() {
			t.Errorf("kubectl access ui says more than the address: %s", lines.Text())
		}
	}()
	return address
}

// looks opens the page as somebody with a browser of their own.
func (p person) looks(t testing.TB, look chromium.Look, args ...string) *chromium.Tab {
	t.Helper()
	address := p.serve(t, args...)
	tab := b.Person(t, look)
	tab.Open(address)
	return tab
}
