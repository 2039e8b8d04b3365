package notify

import (
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What ended while a sink was down is not in the broker's memory after a restart,
// and is told all the same, with the moments that it would have been told with.
func TestWhatEndedIsToldAfterARestart(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	outage.down.Store(true)
	request := e.Ask(t, alice, ns, nil)
	e.Approved(t, bob, request)
	g := e.GrantOf(t, request)
	kit.WaitPast(t, g.Status.GrantedTime.Add(2*time.Second)) // so that the end is at another moment, in whole seconds
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
	e.WaitFor(t, request, v1alpha1.RequestCompleted)
	told := all.wait(t, request.UID, "request.pending", "request.approved", "request.active", "request.completed")
	all.wait(t, g.UID, "grant.active", "grant.ended")
	broker.Kill()
	kit.Restart(t, broker)
	outage.down.Store(false)
	late := outage.wait(t, request.UID, "request.pending", "request.approved", "request.active", "request.completed")
	outage.wait(t, g.UID, "grant.active", "grant.ended")
	for i := range late {
		if late[i].event.ID() != told[i].event.ID() {
			t.Errorf("%s is told as %s after the restart", told[i].event.ID(), late[i].event.ID())
		}
	}
}
