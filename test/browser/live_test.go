package browser

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/browser/chromium"
	"github.com/accessbroker/accessbroker/test/kit"
)

// stays runs something, and checks that a tab is not loaded again meanwhile.
func stays(t *testing.T, tab *chromium.Tab, while func()) {
	t.Helper()
	before := tab.Loads()
	while()
	if n := tab.Loads() - before; n > 0 {
		t.Errorf("the page was loaded %d times more", n)
	}
}

// TestLive: what happens elsewhere is to be seen without a hand on the page, to the end.
func TestLive(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	hers, his := alice.looks(t, chromium.Phone), bob.looks(t, chromium.Desktop)
	hers.On("Mine")
	his.On("Mine")
	his.Click("To decide")
	his.On("To decide")
	stays(t, hers, func() {
		stays(t, his, func() {
			r := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
				s.Reason, s.Duration = "seen without a click", &metav1.Duration{Duration: 15 * time.Second}
			})
			hers.Near(r.Name).Sees("Pending", "seen without a click")
			his.Near(r.Name).Sees("alice", "seen without a click")
			his.Sees("run pods as any ServiceAccount")
			e.Approved(t, carol, r)
			his.SeesNo(r.Name)
			hers.Near(r.Name).Sees("Active", "left")
			runs(t, hers)
			if !hers.Near(r.Name).Offers("Release") {
				t.Error("she is not offered to release it")
			}
			hers.Near(r.Name).Sees("Expired")
			if hers.Near(r.Name).Offers("Release") {
				t.Error("she is offered to release what is over")
			}
			if kit.Can(t, alice, ns) {
				t.Error("the page says that it is over, and she may still do it")
			}
		})
	})
}

// TestTwoTabs: what is done in one is seen in the other.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	_, r := asked(t, nil)
	e.Approved(t, bob, r)
	one := alice.looks(t, chromium.Desktop)
	one.Near(r.Name).Sees("Active")
	two := one.Another()
	two.Open(one.Address())
	two.On("Mine")
	stays(t, one, func() {
		two.Near(r.Name).Click("Release")
		two.Sees(r.Name + " is released")
		one.Near(r.Name).Sees("Completed")
	})
}

// TestWriting: somebody who writes loses nothing to what comes in meanwhile, and is told.
func TestWriting(t *testing.T) {
	t.Parallel()
	ns, r := asked(t, func(s *v1alpha1.AccessPolicySpec) { two := int32(2); s.Approvals[0].Count = &two })
	his := bob.looks(t, chromium.Desktop, "areq/"+r.Name, "-n", ns)
	his.On(r.Name)
	his.Fill("Comment", "I have looked at")
	kit.MustDecide(t, carol, r, v1alpha1.VerdictApprove)
	his.Sees("carol")
	if got := his.Value("Comment"); got != "I have looked at" {
		t.Errorf("what he wrote is now %q", got)
	}
	his.Click("Approve")
	his.Sees(r.Name + " is approved")
	e.WaitFor(t, r, v1alpha1.RequestActive)
}

// TestEnd: a page whose command has ended says so, and what it showed stays.
func TestEnd(t *testing.T) {
	t.Parallel()
	_, r := asked(t, nil)
	var tab *chromium.Tab
	t.Run("while it runs", func(inner *testing.T) {
		address := alice.serve(inner)
		tab = b.Person(t, chromium.Desktop)
		tab.Open(address)
		tab.Sees(r.Name)
	})
	tab.Expect("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET")
	tab.Sees("kubectl access ui does not answer", r.Name)
}
