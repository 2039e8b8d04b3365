// Package faults breaks things under the broker: its processes, its
// connection, the API server, etcd, a namespace. Access still ends on time,
// none is given that was not approved, and nothing is claimed that is not so.
package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// A broker serves its whole cluster, so every test has a cluster to itself
// while it runs. There are as many as tests run at a time on two cores.
const clusters = 2

var free = make(chan *cluster, clusters)

// cluster is a control plane with Access Broker installed, and its people:
// alice and dave ask (group dev), bob approves (group sre).
type cluster struct {
	*kit.Cluster
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
	running, err := lab.Start(ctx, lab.Options{})
	if err != nil {
		return nil, err
	}
	c := &cluster{Cluster: &kit.Cluster{Cluster: running}}
	if c.broker, err = c.AsBroker(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	if err := errors.Join(
		c.Hire("dev", lab.People{"alice": &c.alice, "dave": &c.dave}),
		c.Hire("sre", lab.People{"bob": &c.bob}),
		c.Bind(ctx, "access-requester", "dev"),
		c.Bind(ctx, "access-approver", "sre"),
	); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// take lets a test run beside others, in a cluster of its own.
func take(t *testing.T) *cluster {
	t.Helper()
	t.Parallel()
	c := <-free
	t.Cleanup(func() { free <- c })
	return c
}

// automatic grants without an approval.
func automatic(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](0) }

// lasting is a request's duration.
func lasting(d time.Duration) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: d} }
}

// allowRules lets policies offer rules, for as long as the test runs: the cluster is used
// again.
func (c *cluster) allowRules(t *testing.T) {
	t.Helper()
	adhoc := filepath.Join(c.Root, "config", "components", "adhoc-rules")
	kubectl := func(verb string) {
		t.Helper()
		if out, err := c.Kubectl(c.KubeconfigOf(lab.AdminName), verb, "-f", filepath.Join(adhoc, "ceiling.yaml"), "-f", filepath.Join(adhoc, "role.yaml")).CombinedOutput(); err != nil {
			t.Errorf("kubectl %s: %v\n%s", verb, err, out)
		}
	}
	kubectl("apply")
	t.Cleanup(func() { kubectl("delete") })
}

// waitNoAccess waits until alice can do nothing in a namespace.
func (c *cluster) waitNoAccess(t *testing.T, ns string, patience time.Duration) {
	t.Helper()
	kit.Within(t, patience, "the end of access to "+ns, func(context.Context) (bool, error) { return !kit.Can(t, c.alice, ns), nil })
}

// holder is who holds the lease, "" when nobody does.
func (c *cluster) holder(t *testing.T) string {
	t.Helper()
	lease := &coordinationv1.Lease{}
	err := c.Admin.Get(t.Context(), client.ObjectKey{Namespace: lab.BrokerNamespace, Name: "access-broker"}, lease)
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
