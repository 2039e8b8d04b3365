package observe

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// alone is a cluster for one test, with an observer and a grant of alice's.
type alone struct {
	*kit.Cluster
	observer  *lab.Process
	alice     client.Client
	ns, grant string
}

func onOwnCluster(t *testing.T, o lab.Options, flags func(*kit.Cluster) []string) *alone {
	t.Helper()
	o.Output = os.Stderr
	started, err := lab.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, started.Stop()) })
	c := &kit.Cluster{Cluster: started}
	must(t, c.InstallObserver(t.Context()))
	must(t, c.Bind(t.Context(), "access-requester", "dev"))
	must(t, c.Bind(t.Context(), "access-approver", "sre"))
	a := &alone{Cluster: c, alice: c.Person(t, "alice", "dev"), ns: c.NewNamespace(t, nil)}
	a.observer, err = c.NewObserver(t.Context(), "observer", flags(c)...)
	must(t, err)
	must(t, a.observer.Start(t.Context()))
	t.Cleanup(a.observer.Stop)
	c.StartBroker(t, "broker")
	c.NewPolicy(t, a.ns, nil)
	request := c.Ask(t, a.alice, a.ns, nil)
	c.Approved(t, c.Person(t, "bob", "sre"), request)
	a.grant = c.WaitFor(t, request, v1alpha1.RequestActive).Status.GrantName
	return a
}

// when waits until the usage of the grant is so.
func (a *alone) when(t *testing.T, what string, so func(*v1alpha1.AccessUsageStatus) bool) v1alpha1.AccessUsageStatus {
	t.Helper()
	u := &v1alpha1.AccessUsage{}
	kit.Within(t, 2*time.Minute, what, func(ctx context.Context) (bool, error) {
		err := a.Admin.Get(ctx, client.ObjectKey{Name: a.grant}, u)
		return err == nil && so(&u.Status), err
	})
	return u.Status
}

func (a *alone) list(t *testing.T, times int) {
	t.Helper()
	for range times {
		must(t, a.alice.List(t.Context(), &corev1.PodList{}, client.InNamespace(a.ns)))
	}
}

// What an API server sends is counted, and what it had to send again is counted once.
func TestWebhook(t *testing.T) {
	t.Parallel()
	webhook, err := lab.NewWebhook(t.TempDir(), "cp-1")
	must(t, err)
	a := onOwnCluster(t, lab.Options{AuditWebhook: webhook.Kubeconfig}, func(*kit.Cluster) []string { return webhook.Flags })
	var took []time.Duration
	for n := range int64(10) {
		begin := time.Now()
		a.list(t, 1)
		a.when(t, "a call", calls(n+1))
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	t.Logf("from a call to its AccessUsage: median %s, most %s", took[5], took[9])

	// The API server tries again, for longer than this.
	a.observer.Kill()
	a.list(t, 5)
	must(t, a.observer.Start(t.Context()))
	a.list(t, 5)
	s := a.when(t, "what was sent again", calls(20))
	if s.Calls != 20 || s.Gaps != 0 || len(s.Streams) != 1 || s.Streams[0].Name != "cp-1" {
		t.Errorf("%d calls, %d gaps, streams %+v", s.Calls, s.Gaps, s.Streams)
	}
}

// While the API server is away nothing can be stored, and nothing is lost of a log.
func TestAPIServerOutage(t *testing.T) {
	t.Parallel()
	a := onOwnCluster(t, lab.Options{Audit: true}, func(c *kit.Cluster) []string { return c.ObserveLog("node-1") })
	for n := range int64(3) {
		a.list(t, 100)
		a.APIServer.Kill()
		must(t, a.APIServer.Start(t.Context()))
		a.list(t, 1)
		if s := a.when(t, "all calls", calls(101*(n+1))); s.Calls != 101*(n+1) || s.Gaps != 0 {
			t.Errorf("%d calls were made, %d counted; %d gaps", 101*(n+1), s.Calls, s.Gaps)
		}
	}
}
