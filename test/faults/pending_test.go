package faults

import (
	"context"
	"flag"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// flood is how many requests alice makes: two cores take them in in a minute or
// two.
var flood = flag.Int("flood", 10_000, "how many requests one user makes at a time")

const (
	// mayWait is how many of alice's requests may wait.
	mayWait = 3

	// served is how long dave may wait meanwhile, on cores that the flood
	// keeps busy.
	served = 10 * time.Second

	// ahead is how many of alice's requests dave's has to overtake: if it were in line behind
	// them, it would be none.
	ahead = 15
)

// One user floods the broker: no more of their requests wait than the policy
// allows, and others are served before them.
func TestFloodOfRequests(t *testing.T) {
	c := take(t)
	c.StartBroker(t, "broker", "--audit-log-path=/dev/null", "--log-level=error")
	ns, other := c.NewNamespace(t, nil), c.NewNamespace(t, nil)
	c.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.MaxPendingPerRequester = ptr.To[int32](mayWait) })
	c.NewPolicy(t, other, automatic)

	begin := time.Now()
	made := make(chan struct{})
	go func() {
		defer close(made)
		group, ctx := errgroup.WithContext(t.Context())
		group.SetLimit(32)
		for range *flood {
			group.Go(func() error { return c.alice.Create(ctx, lab.NewRequest(ns, nil)) })
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	}()
	var slowest time.Duration
	overtaken := 0
	for flooding := true; flooding; {
		before := c.answers(t, ns)
		asked := time.Now()
		request := c.Ask(t, c.dave, other, nil)
		c.WaitFor(t, request, v1alpha1.RequestActive)
		slowest = max(slowest, time.Since(asked))
		kit.MustDecide(t, c.dave, request, v1alpha1.VerdictRelease)
		after := c.answers(t, ns)
		still := 0
		for name := range before.unseen {
			if after.unseen[name] {
				still++
			}
		}
		overtaken = max(overtaken, still)
		if after.waiting > mayWait {
			t.Errorf("%d of alice's requests wait, %d may", after.waiting, mayWait)
		}
		select {
		case <-made:
			flooding = false
		default:
		}
	}
	t.Logf("%d requests in %s; dave waited %s at most and overtook up to %d", *flood, time.Since(begin).Round(time.Millisecond), slowest.Round(time.Millisecond), overtaken)
	if slowest > served {
		t.Errorf("dave waited %s", slowest)
	}
	if overtaken < ahead {
		t.Errorf("dave waited in line behind the flood and overtook %d", overtaken)
	}
	kit.Within(t, kit.Patience+time.Duration(*flood)*20*time.Millisecond, "an answer to every request", func(context.Context) (bool, error) {
		return len(c.answers(t, ns).unseen) == 0, nil
	})
	t.Logf("all were answered after %s", time.Since(begin).Round(time.Millisecond))
	if got := c.answers(t, ns); got.total != *flood || got.waiting != mayWait || got.refused != *flood-mayWait {
		t.Errorf("of %d requests %d wait and %d were refused, want %d and %d", got.total, got.waiting, got.refused, mayWait, *flood-mayWait)
	}
}

// answers to the requests in a namespace.
type answers struct {
	unseen                  map[string]bool // the broker has not looked at these
	total, waiting, refused int
}

func (c *cluster) answers(t *testing.T, ns string) answers {
	t.Helper()
	list := &v1alpha1.AccessRequestList{}
	if err := c.Admin.List(t.Context(), list, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	out := answers{unseen: map[string]bool{}, total: len(list.Items)}
	for i := range list.Items {
		switch status := list.Items[i].Status; {
		case status.Phase == "":
			out.unseen[list.Items[i].Name] = true
		case status.Phase == v1alpha1.RequestPending:
			out.waiting++
		case kit.HasReason(status.Conditions, v1alpha1.ReasonTooManyPending):
			out.refused++
		}
	}
	return out
}
