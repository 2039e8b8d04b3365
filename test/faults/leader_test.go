package faults

import (
	"context"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// onTime is how late after a deadline access may still be there on two busy cores.
const onTime = 2 * time.Second

// takeover is more than a lease lives on without its holder.
const takeover = 30 * time.Second

// replicas starts two brokers and tells which of them leads.
func (c *cluster) replicas(t *testing.T) (leader, follower *lab.Process, holder string) {
	t.Helper()
	// A lease that an earlier test left behind would have to run out first.
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: lab.BrokerNamespace, Name: "access-broker"}}
	if err := client.IgnoreNotFound(c.Admin.Delete(t.Context(), lease)); err != nil {
		t.Fatal(err)
	}
	leader = c.StartBroker(t, "leader", "--leader-elect")
	kit.Eventually(t, "a leader", func(context.Context) (bool, error) {
		holder = c.holder(t)
		return holder != "", nil
	})
	return leader, c.StartBroker(t, "follower", "--leader-elect"), holder
}

// Law 8: while nobody leads, the replicas that are left revoke on time.
func TestRevocationNeedsNoLeader(t *testing.T) {
	t.Parallel()
	t.Run("the leader is killed", func(t *testing.T) {
		c := take(t)
		leader, _, holder := c.replicas(t)
		_, g := c.expiresWithout(t, holder, leader.Kill)
		c.WaitEnded(t, g.Name, v1alpha1.EndExpired)
	})
	t.Run("the leader hangs", func(t *testing.T) {
		c := take(t)
		leader, _, holder := c.replicas(t)
		request, g := c.expiresWithout(t, holder, func() {
			if err := leader.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		})
		ended := c.WaitEnded(t, g.Name, v1alpha1.EndExpired)
		c.WaitFor(t, request, v1alpha1.RequestExpired)

		// The old leader wakes up: it finds that it leads no more and goes.
		exited := leader.Exited()
		if err := leader.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		select {
		case <-exited:
		case <-time.After(kit.Patience):
			t.Error("two replicas believe that they lead")
		}
		if again := c.GrantOf(t, request); again.ResourceVersion != ended.ResourceVersion {
			t.Errorf("the old leader wrote to the grant: %+v", again.Status)
		}
	})
}

// So does a lock: nobody waits for a leader when somebody is to be locked out. The
// next leader says why the access ended.
func TestLockNeedsNoLeader(t *testing.T) {
	c := take(t)
	leader, _, holder := c.replicas(t)
	ns := c.NewNamespace(t, nil)
	c.NewPolicy(t, ns, automatic)
	request := c.WaitFor(t, c.Ask(t, c.alice, ns, nil), v1alpha1.RequestActive)
	if !kit.Can(t, c.alice, ns) {
		t.Fatal("alice has no access")
	}
	leader.Kill()
	l := &v1alpha1.AccessLock{ObjectMeta: metav1.ObjectMeta{Name: "stop"}, Spec: v1alpha1.AccessLockSpec{
		Subject: v1alpha1.Subject{Kind: "User", Name: "alice"}, Reason: "INC-43", By: lab.AdminName,
	}}
	begin := time.Now()
	kit.Create(t, c.Admin, l)
	c.waitNoAccess(t, ns, onTime)
	t.Logf("locked out %s after the lock was made", time.Since(begin).Round(time.Millisecond))
	if now := c.holder(t); now != holder {
		t.Errorf("the lease went from %q to %q: the test shows nothing", holder, now)
	}
	g := c.WaitEnded(t, c.GrantOf(t, request).Name, v1alpha1.EndLocked)
	if g.Status.EndedBy != lab.AdminName {
		t.Errorf("ended by %q", g.Status.EndedBy)
	}
	if err := c.Admin.Delete(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

// expiresWithout lets a grant fall due after the leader fell, while the lease
// still names it, so that nobody leads.
func (c *cluster) expiresWithout(t *testing.T, holder string, fell func()) (*v1alpha1.AccessRequest, *v1alpha1.AccessGrant) {
	t.Helper()
	ns := c.NewNamespace(t, nil)
	c.NewPolicy(t, ns, automatic)
	request := c.Ask(t, c.alice, ns, lasting(4*time.Second))
	c.WaitFor(t, request, v1alpha1.RequestActive)
	g := c.GrantOf(t, request)
	if !kit.Can(t, c.alice, ns) {
		t.Fatal("alice has no access")
	}
	fell()
	kit.WaitPast(t, g.Spec.ExpirationTime.Add(-100*time.Millisecond))
	if !kit.Can(t, c.alice, ns) {
		t.Error("the access ended before its deadline")
	}
	c.waitNoAccess(t, ns, onTime)
	t.Logf("revoked %s after the deadline", time.Since(g.Spec.ExpirationTime.Time).Round(time.Millisecond))
	if now := c.holder(t); now != holder {
		t.Errorf("the lease went from %q to %q: the test shows nothing", holder, now)
	}
	if phase := c.GrantOf(t, request).Status.Phase; phase != v1alpha1.GrantActive {
		t.Errorf("somebody who does not lead wrote that the grant is %s", phase)
	}
	return request, g
}

// A replica that is told to stop hands the lease over at once.
func TestLeaseIsHandedOver(t *testing.T) {
	c := take(t)
	leader, _, holder := c.replicas(t)
	ns := c.NewNamespace(t, nil)
	c.NewPolicy(t, ns, automatic)

	begin := time.Now()
	if err := leader.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	request := c.Ask(t, c.alice, ns, nil)
	kit.Within(t, takeover, "another leader", func(context.Context) (bool, error) {
		now := c.holder(t)
		return now != "" && now != holder, nil
	})
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the lease was handed over after %s", took)
	} else {
		t.Logf("the lease was handed over after %s", took.Round(time.Millisecond))
	}
	c.WaitFor(t, request, v1alpha1.RequestActive)
	select {
	case <-leader.Exited():
	case <-time.After(kit.Patience):
		t.Error("the old leader does not end")
	}
}
