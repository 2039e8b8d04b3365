// Package faults breaks things under the broker: its processes, its
// connection, the API server, etcd, a namespace. Access still ends on time,
// none is given that was not approved, and nothing is claimed that is not so.
package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/controlplane"
	"github.com/accessbroker/accessbroker/test/env"
)

// A broker serves its whole cluster, so every test has a cluster to itself
// while it runs. There are as many as tests run at a time on two cores.
const clusters = 2

var free = make(chan *cluster, clusters)

// cluster is a control plane with Access Broker installed, and its people:
// alice and dave ask (group dev), bob approves (group sre).
type cluster struct {
	*env.Env
	alice, dave, bob client.Client
	// broker acts as the broker, for what only it may do.
	broker client.Client
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	started := make([]*cluster, clusters)
	defer func() {
		for _, c := range started {
			if c != nil {
				err = errors.Join(err, c.Stop())
			}
		}
	}()
	group, ctx := errgroup.WithContext(context.Background())
	for i := range started {
		group.Go(func() (err error) {
			started[i], err = start(ctx)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 1, err
	}
	for _, c := range started {
		free <- c
	}
	return m.Run(), nil
}

func start(ctx context.Context) (_ *cluster, err error) {
	e, err := env.Start(ctx, "", nil)
	if err != nil {
		return nil, err
	}
	c := &cluster{Env: e}
	if err := c.people(ctx); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return c, nil
}

func (c *cluster) people(ctx context.Context) (err error) {
	for _, user := range []struct {
		client      *client.Client
		name, group string
	}{{&c.alice, "alice", "dev"}, {&c.dave, "dave", "dev"}, {&c.bob, "bob", "sre"}} {
		if *user.client, err = c.As(user.name, user.group); err != nil {
			return err
		}
	}
	if c.broker, err = c.AsServiceAccount(ctx, env.BrokerNamespace, env.BrokerServiceAccount); err != nil {
		return err
	}
	for role, group := range map[string]string{"access-requester": "dev", "access-approver": "sre"} {
		if err := c.Admin.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "test-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: group}},
		}); err != nil {
			return err
		}
	}
	return nil
}

// take lets a test run beside others, in a cluster of its own.
func take(t *testing.T) *cluster {
	t.Helper()
	t.Parallel()
	c := <-free
	t.Cleanup(func() { free <- c })
	return c
}

// start runs a broker until the end of the test. name tells replicas apart.
func (c *cluster) start(t *testing.T, name string, args ...string) *controlplane.Process {
	t.Helper()
	broker, err := c.Broker(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last words of %s:\n%s", name, broker.LogTail())
		}
		_ = broker.Signal(syscall.SIGCONT) // one that hangs does not hear SIGTERM
		broker.Stop()
	})
	restart(t, broker)
	return broker
}

func restart(t *testing.T, p *controlplane.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), env.Patience)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// automatic grants without an approval.
func automatic(s *v1alpha1.AccessPolicySpec) { s.RequiredApprovals = ptr.To[int32](0) }

// lasting is a request's duration.
func lasting(d time.Duration) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: d} }
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, patience time.Duration, holds func(context.Context) (bool, error)) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, patience, true, holds); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// waitNoAccess waits until alice can do nothing in a namespace.
func (c *cluster) waitNoAccess(t *testing.T, ns string, patience time.Duration) {
	t.Helper()
	eventually(t, "the end of access to "+ns, patience, func(context.Context) (bool, error) { return !env.Can(t, c.alice, ns), nil })
}

// holder is who holds the lease, "" when nobody does.
func (c *cluster) holder(t *testing.T) string {
	t.Helper()
	lease := &coordinationv1.Lease{}
	err := c.Admin.Get(t.Context(), client.ObjectKey{Namespace: env.BrokerNamespace, Name: "access-broker"}, lease)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// bindings that carry the label of a grant.
func (c *cluster) bindings(t *testing.T, grant string) []rbacv1.RoleBinding {
	t.Helper()
	list := &rbacv1.RoleBindingList{}
	if err := c.Admin.List(t.Context(), list, client.MatchingLabels{v1alpha1.LabelGrant: grant}); err != nil {
		t.Fatal(err)
	}
	return list.Items
}
