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

// onWebhook is a cluster whose API server sends its audit events to an observer.
func onWebhook(t *testing.T) (c *kit.Cluster, taker *lab.Process) {
	t.Helper()
	webhook, err := lab.NewWebhook(t.TempDir(), "cp-1")
	must(t, err)
	started, err := lab.Start(t.Context(), lab.Options{AuditWebhook: webhook.Kubeconfig, Output: os.Stderr})
	must(t, err)
	t.Cleanup(func() { must(t, started.Stop()) })
	c = &kit.Cluster{Cluster: started}
	must(t, c.InstallObserver(t.Context()))
	must(t, c.Bind(t.Context(), "access-requester", "dev"))
	must(t, c.Bind(t.Context(), "access-approver", "sre"))
	taker, err = c.NewObserver(t.Context(), "taker", webhook.Flags...)
	must(t, err)
	must(t, taker.Start(t.Context()))
	t.Cleanup(taker.Stop)
	c.StartBroker(t, "broker")
	return c, taker
}

// What an API server sends is counted, and what it had to send again is counted once.
func TestWebhook(t *testing.T) {
	t.Parallel()
	c, taker := onWebhook(t)
	alice, bob := c.Person(t, "alice", "dev"), c.Person(t, "bob", "sre")
	ns := c.NewNamespace(t, nil)
	c.NewPolicy(t, ns, nil)
	request := c.Ask(t, alice, ns, nil)
	c.Approved(t, bob, request)
	grant := c.WaitFor(t, request, v1alpha1.RequestActive).Status.GrantName
	when := func(what string, so func(*v1alpha1.AccessUsageStatus) bool) v1alpha1.AccessUsageStatus {
		t.Helper()
		u := &v1alpha1.AccessUsage{}
		kit.Within(t, 2*time.Minute, what, func(ctx context.Context) (bool, error) {
			err := c.Admin.Get(ctx, client.ObjectKey{Name: grant}, u)
			return err == nil && so(&u.Status), err
		})
		return u.Status
	}
	list := func(n int) {
		t.Helper()
		for range n {
			must(t, alice.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns)))
		}
	}
	var took []time.Duration
	for n := range int64(10) {
		begin := time.Now()
		list(1)
		when("a call", calls(n+1))
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	t.Logf("from a call to its AccessUsage: median %s, most %s", took[5], took[9])

	// The API server tries again, for longer than this.
	taker.Kill()
	list(5)
	if err := taker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	list(5)
	s := when("what was sent again", calls(20))
	if s.Calls != 20 || s.Gaps != 0 || len(s.Streams) != 1 || s.Streams[0].Name != "cp-1" {
		t.Errorf("%d calls, %d gaps, streams %+v", s.Calls, s.Gaps, s.Streams)
	}
}
