package faults

import (
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// afterOutage is the longest wait between two tries to revoke, and some.
const afterOutage = 10 * time.Second

// The API server, or etcd under it, is away over a deadline and comes back:
// what is overdue goes, what is not stays, and the broker, which was not
// restarted, serves on.
func TestControlPlaneRestarts(t *testing.T) {
	t.Parallel()
	for name, parts := range map[string]func(*cluster) []*lab.Process{
		"API server":          func(c *cluster) []*lab.Process { return []*lab.Process{c.APIServer} },
		"etcd":                func(c *cluster) []*lab.Process { return []*lab.Process{c.Etcd} },
		"etcd and API server": func(c *cluster) []*lab.Process { return []*lab.Process{c.Etcd, c.APIServer} },
	} {
		t.Run(name, func(t *testing.T) {
			c := take(t)
			broker := c.StartBroker(t, "broker")
			due, stays := c.NewNamespace(t, nil), c.NewNamespace(t, nil)
			c.NewPolicy(t, due, automatic)
			c.NewPolicy(t, stays, automatic)
			lasting1h := c.Ask(t, c.alice, stays, nil)
			c.WaitFor(t, lasting1h, v1alpha1.RequestActive)
			before := c.bindings(t, c.GrantOf(t, lasting1h).Name)
			short := c.Ask(t, c.alice, due, lasting(3*time.Second))
			c.WaitFor(t, short, v1alpha1.RequestActive)
			overdue := c.GrantOf(t, short)

			for _, p := range parts(c) {
				p.Kill()
			}
			kit.WaitPast(t, overdue.Spec.ExpirationTime.Time)
			for _, p := range parts(c) {
				kit.Restart(t, p)
			}
			if p := c.APIServer; p.PID() == 0 {
				kit.Restart(t, p) // it gives up without its etcd
			}
			begin := time.Now()
			c.waitNoAccess(t, due, afterOutage)
			t.Logf("revoked %s after the API server was ready", time.Since(begin).Round(time.Millisecond))
			c.WaitEnded(t, overdue.Name, v1alpha1.EndExpired)
			if err := c.AdmissionReady(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.WaitFor(t, short, v1alpha1.RequestExpired)

			after := c.bindings(t, c.GrantOf(t, lasting1h).Name)
			if !kit.Can(t, c.alice, stays) || len(after) != 1 || after[0].UID != before[0].UID {
				t.Errorf("the access that was not due is not as it was: %v, now %v", before, after)
			}
			kit.MustDecide(t, c.alice, lasting1h, v1alpha1.VerdictRelease)
			c.WaitFor(t, lasting1h, v1alpha1.RequestCompleted)
			c.WaitFor(t, c.Ask(t, c.alice, due, nil), v1alpha1.RequestActive)
			if broker.PID() == 0 {
				t.Error("the broker ended")
			}
		})
	}
}
