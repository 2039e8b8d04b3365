package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/test/controlplane"
	"github.com/accessbroker/accessbroker/test/env"
)

// installed is a control plane with Access Broker running on it.
type installed struct {
	*env.Env
	broker *controlplane.Process
	// admin is the path of the administrator's kubeconfig.
	admin string
	// metrics is the address on which the broker serves them.
	metrics string
	// audit is the path of the audit log.
	audit string
}

// start it once, for all tests that need it.
var start = sync.OnceValues(func() (*installed, error) {
	ctx := context.Background()
	running, err := env.Start(ctx, "", os.Stderr)
	if err != nil {
		return nil, err
	}
	e := &installed{Env: running, audit: filepath.Join(running.Dir(), "audit.log")}
	if err := e.furnish(ctx); err != nil {
		return nil, errors.Join(err, running.Stop())
	}
	return e, nil
})

func (e *installed) furnish(ctx context.Context) (err error) {
	if e.admin, err = e.Kubeconfig("admin", e.ControlPlane.Admin()); err != nil {
		return err
	}
	// Everybody may ask and decide, as far as RBAC goes: the policies say more.
	for _, role := range []string{"access-requester", "access-approver"} {
		if err := e.Admin.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "test-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:authenticated"}},
		}); err != nil {
			return err
		}
	}
	ports, err := controlplane.FreePorts(1)
	if err != nil {
		return err
	}
	e.metrics = fmt.Sprintf("127.0.0.1:%d", ports[0])
	// A sink that nobody answers for, so that its metrics are there to be asked for.
	sinks := filepath.Join(e.Dir(), "sinks.yaml")
	if err := os.WriteFile(sinks, []byte("sinks: [{name: away, url: 'http://127.0.0.1:1'}]"), 0o600); err != nil {
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
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the broker's last words:\n" + e.broker.LogTail())
		}
	})
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
	e.broker.Stop()
	return e.Stop()
}

// kubectl runs a command line of the administrator in the folder of this
// module, and returns what it printed.
func (e *installed) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := e.Kubectl(e.admin, args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
