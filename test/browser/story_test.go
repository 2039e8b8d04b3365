package browser

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/browser/chromium"
	"github.com/accessbroker/accessbroker/test/kit"
)

// looks at which everything has to be possible.
var looks = []chromium.Look{chromium.Phone, chromium.Desktop}

// only is the one request of a namespace.
func only(t *testing.T, ns string) *v1alpha1.AccessRequest {
	t.Helper()
	list := &v1alpha1.AccessRequestList{}
	kit.Eventually(t, "one request in "+ns, func(ctx context.Context) (bool, error) {
		err := e.Admin.List(ctx, list, client.InNamespace(ns))
		return len(list.Items) == 1, err
	})
	return &list.Items[0]
}

// decided is the one decision on a request with a verdict.
func decided(t *testing.T, r *v1alpha1.AccessRequest, verdict v1alpha1.Verdict) v1alpha1.Decision {
	t.Helper()
	current := &v1alpha1.AccessRequest{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(r), current); err != nil {
		t.Fatal(err)
	}
	for _, d := range current.Status.Decisions {
		if d.Verdict == verdict {
			return d
		}
	}
	t.Fatalf("nobody has decided %s: %+v", verdict, current.Status.Decisions)
	return v1alpha1.Decision{}
}

// more lets access be extended once.
func more(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = 1 }

// left is what the clock of a page says.
func left(tab *chromium.Tab) string {
	return chromium.Eval[string](tab, `document.querySelector('main time[data-until]')?.innerText ?? ''`)
}

// runs waits until the clock of a page has gone on by itself.
func runs(t *testing.T, tab *chromium.Tab) {
	t.Helper()
	loads, first := tab.Loads(), ""
	kit.Eventually(t, "a clock", func(context.Context) (bool, error) {
		first = left(tab)
		return strings.Contains(first, " left"), nil
	})
	kit.Eventually(t, "the clock to go on", func(context.Context) (bool, error) { return left(tab) != first, nil })
	if tab.Loads() != loads {
		t.Error("the page was loaded again for it")
	}
}

// TestStory is that of the README, by clicks: alice asks, bob looks and gives less time,
// alice has it, gets more, gives it back, and the auditor finds all of it.
func TestStory(t *testing.T) {
	t.Parallel()
	for _, look := range looks {
		t.Run(look.Name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			p := e.NewPolicy(t, ns, more)

			hers := alice.looks(t, look)
			hers.On("Mine")
			hers.Click("Ask")
			hers.On("Ask")
			ask(hers, p.Name, ns, "20m", "checkout is overloaded and needs more replicas", "INC-42")
			hers.Click("See what it would give")
			hers.Sees("run pods as any ServiceAccount", "group:sre", "kubectl access request edit -n "+ns)
			hers.Click("What it allows")
			hers.Sees("deployments.apps")
			hers.Click("The same as YAML")
			hers.Sees("kind: AccessRequest", "INC-42")
			if kit.Can(t, alice, ns) {
				t.Error("alice has access before she asked")
			}
			hers.Click("Send the request")
			r := only(t, ns)
			hers.On(r.Name)
			hers.Sees("Pending")
			e.WaitMatched(t, r)

			his := bob.looks(t, look)
			his.On("Mine")
			his.Click("To decide")
			his.On("To decide")
			his.Sees(r.Name, "checkout is overloaded")
			his.Click(r.Name)
			his.On(r.Name)
			his.Sees("alice (group dev)", "ClusterRole/edit", ns, "20m", "INC-42", "run pods as any ServiceAccount", "deployments.apps")
			his.Fill("At most", "15m")
			his.Fill("Comment", "go ahead")
			if kit.Can(t, alice, ns) {
				t.Error("alice has access before anybody approved")
			}
			loads := hers.Loads()
			his.Click("Approve")
			his.Sees(r.Name + " is approved")

			hers.Sees("Active", "bob", "go ahead")
			runs(t, hers)
			if hers.Loads() != loads {
				t.Error("alice's page was loaded again")
			}
			if !kit.Can(t, alice, ns) {
				t.Error("alice has no access")
			}
			g := e.GrantOf(t, r)
			if lasts := g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time); lasts > 15*time.Minute+time.Second {
				t.Errorf("it lasts %s", lasts)
			}
			if d := decided(t, r, v1alpha1.VerdictApprove); d.Username != "bob" || d.Comment != "go ahead" || d.RequestUID != r.UID || d.RulesHash == "" {
				t.Errorf("not what bob saw and said: %+v", d)
			}

			// More time is asked for, and given with another approval.
			hers.Fill("How long", "10m")
			hers.Fill("Reason", "the migration is at 80 %")
			hers.Click("Extend")
			extension := &v1alpha1.AccessRequest{}
			kit.Eventually(t, "the extension", func(ctx context.Context) (bool, error) {
				list := &v1alpha1.AccessRequestList{}
				if err := e.Admin.List(ctx, list, client.InNamespace(ns)); err != nil {
					return false, err
				}
				for _, item := range list.Items {
					if item.Spec.Extends != "" {
						extension = &item
						return true, nil
					}
				}
				return false, nil
			})
			hers.On(extension.Name)
			e.WaitMatched(t, extension)
			his.Click("To decide")
			his.On("To decide")
			his.Click(extension.Name)
			his.On(extension.Name)
			his.Sees(r.Name, "the migration is at 80 %")
			his.Click("Approve")
			his.Sees(extension.Name + " is approved")
			hers.Sees("Active")
			extended := e.GrantOf(t, e.WaitFor(t, extension, v1alpha1.RequestActive))
			if !extended.Spec.ExpirationTime.After(g.Spec.ExpirationTime.Time) {
				t.Errorf("it ends at %s, the first at %s", extended.Spec.ExpirationTime, g.Spec.ExpirationTime)
			}
			if !kit.Can(t, alice, ns) {
				t.Error("alice has no access any more")
			}

			// She gives it back with one click.
			hers.Click("Mine")
			hers.On("Mine")
			hers.Near(extension.Name).Click("Release")
			hers.Sees("released")
			e.WaitFor(t, extension, v1alpha1.RequestCompleted)
			if kit.Can(t, alice, ns) {
				t.Error("alice still has access")
			}

			found(t, look, ns, g, extended)
		})
	}
}

// ask fills in the form of a policy for edit.
func ask(tab *chromium.Tab, policy, ns, howLong, reason, ticket string) {
	tab.Click(policy)
	tab.On("Ask by policy " + policy)
	tab.Set("Role", "ClusterRole/edit")
	tab.Set("Namespace", ns)
	tab.Set("How long", howLong)
	tab.Fill("Reason", reason)
	tab.Fill("Ticket", ticket)
}

// found has the auditor look for grants: as bars, as pages and in the file.
func found(t *testing.T, look chromium.Look, ns string, grants ...*v1alpha1.AccessGrant) {
	t.Helper()
	hers := vera.looks(t, look)
	hers.On("Mine")
	hers.Click("Record")
	hers.On("Record")
	hers.Set("Namespace", ns)
	hers.Click("Filter")
	hers.Sees(fmt.Sprintf("1–%d of %d, picked of", len(grants), len(grants)))
	if n := chromium.Eval[int](hers, `document.querySelectorAll('main tbody tr .bar rect.held').length`); n != len(grants) {
		t.Errorf("%d grants are %d bars", len(grants), n)
	}
	name, content := hers.Downloaded(func() { hers.Click("Download") })
	if !strings.HasSuffix(name, ".csv") {
		t.Errorf("the file is called %s", name)
	}
	rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(grants)+1 {
		t.Errorf("%d grants are %d rows:\n%s", len(grants), len(rows)-1, content)
	}
	for _, g := range grants {
		if !bytes.Contains(content, []byte(g.Name)) {
			t.Errorf("%s is not in the file:\n%s", g.Name, content)
		}
	}
	g := grants[len(grants)-1]
	hers.Near("(Released) by alice").Click("alice")
	hers.On(g.Name)
	hers.Sees("(Released) by alice", "alice", "ClusterRole/edit", ns, "bob")
	if hers.Offers("Approve") || hers.Offers("Revoke") || hers.Offers("Release") {
		t.Error("the auditor is offered to decide")
	}
}

// asked is a request of alice's for edit in a namespace of its own, ready to be decided on.
func asked(t *testing.T, edit func(*v1alpha1.AccessPolicySpec)) (ns string, r *v1alpha1.AccessRequest) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, edit)
	return ns, e.WaitMatched(t, e.Ask(t, alice, ns, nil))
}

// TestDeny: no, and why.
func TestDeny(t *testing.T) {
	t.Parallel()
	for _, look := range looks {
		t.Run(look.Name, func(t *testing.T) {
			t.Parallel()
			ns, r := asked(t, nil)
			hers := alice.looks(t, look, "areq/"+r.Name, "-n", ns)
			hers.On(r.Name)
			if hers.Offers("Approve") || hers.Offers("Deny") {
				t.Error("alice is offered to decide on her own request")
			}
			his := bob.looks(t, look, "areq/"+r.Name, "-n", ns)
			his.On(r.Name)
			his.Fill("At most", "soon") // what is not used is in nobody's way
			his.Fill("Comment", "use view instead")
			his.Fill("At most", "")
			his.Click("Deny")
			his.Sees(r.Name + " is denied")
			hers.Sees("Denied", "use view instead")
			if d := decided(t, r, v1alpha1.VerdictDeny); d.Comment != "use view instead" || d.Username != "bob" {
				t.Errorf("not what bob said: %+v", d)
			}
			if kit.Can(t, alice, ns) {
				t.Error("alice has access")
			}
		})
	}
}

// TestRevokeAndReview: an approver ends what is given, and another looks back at it.
func TestRevokeAndReview(t *testing.T) {
	t.Parallel()
	for _, look := range looks {
		t.Run(look.Name, func(t *testing.T) {
			t.Parallel()
			ns, r := asked(t, func(s *v1alpha1.AccessPolicySpec) { s.ReviewWithin = &metav1.Duration{Duration: time.Hour} })
			e.Approved(t, bob, r)
			if !kit.Can(t, alice, ns) {
				t.Fatal("alice has no access")
			}
			hers := alice.looks(t, look)
			hers.Sees(r.Name)
			his := carol.looks(t, look, "areq/"+r.Name, "-n", ns)
			his.On(r.Name)
			his.Fill("Comment", "the incident is over")
			his.Click("Revoke")
			his.Sees(r.Name + " is revoked")
			e.WaitFor(t, r, v1alpha1.RequestRevoked)
			if kit.Can(t, alice, ns) {
				t.Error("alice still has access")
			}
			hers.Near(r.Name).Sees("Revoked", "the incident is over")

			his.Click("To decide")
			his.On("To decide")
			his.Near(r.Name).Click(r.Name)
			his.On(r.Name)
			// Without a word there is nothing to write down.
			his.Fill("What you found", "nothing but the restarts that were asked for")
			his.Click("Write the review")
			his.Sees(r.Name + " is reviewed")
			if d := decided(t, r, v1alpha1.VerdictReview); d.Comment != "nothing but the restarts that were asked for" || d.Username != "carol" {
				t.Errorf("not what carol found: %+v", d)
			}
			// Her list moves as others' requests end, and a link in it with it: she opens it
			// by the command that a notification brings.
			alice.looks(t, look, "areq/"+r.Name, "-n", ns).Sees("nothing but the restarts that were asked for")
		})
	}
}

// TestMistakes: what is wrong is said at the field, nothing is lost, and nothing is done.
func TestMistakes(t *testing.T) {
	t.Parallel()
	ns, r := asked(t, nil)
	his := bob.looks(t, chromium.Phone, "areq/"+r.Name, "-n", ns)
	his.On(r.Name)
	his.Expect("^422:|status of 422")
	his.Fill("At most", "soon")
	his.Fill("Comment", "go ahead")
	his.Click("Approve")
	his.Sees("Something is missing or wrong")
	undecided(t, r)
	if most, comment := his.Value("At most"), his.Value("Comment"); most != "soon" || comment != "go ahead" {
		t.Errorf("what he wrote is now %q and %q", most, comment)
	}
	his.Fill("At most", "10m")
	his.Click("Approve")
	his.Sees(r.Name + " is approved")
	e.WaitFor(t, r, v1alpha1.RequestActive)
}

// TestWithoutScript: all that is not alive works with no script.
func TestWithoutScript(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	still := func(who person) *chromium.Tab {
		tab := b.Person(t, chromium.Phone)
		tab.Without(true)
		tab.Open(who.serve(t))
		tab.On("Mine")
		return tab
	}
	hers := still(alice)
	hers.Click("Ask")
	hers.On("Ask")
	ask(hers, p.Name, ns, "20m", "checkout is overloaded", "")
	hers.Click("See what it would give")
	hers.Sees("run pods as any ServiceAccount")
	hers.Click("Send the request")
	r := only(t, ns)
	hers.On(r.Name)
	e.WaitMatched(t, r)

	his := still(bob)
	his.Click("To decide")
	his.On("To decide")
	his.Click(r.Name)
	his.On(r.Name)
	his.Click("Approve")
	his.Sees(r.Name + " is approved")
	e.WaitFor(t, r, v1alpha1.RequestActive)

	hers.Reload()
	hers.Sees("Active", "until ")
	hers.Click("Release")
	hers.Sees("released")
	e.WaitFor(t, r, v1alpha1.RequestCompleted)

	found(t, chromium.Desktop, ns, e.GrantOf(t, r))
}

// TestReadOnly: a screen in the room shows, and lets nobody do anything.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	_, r := asked(t, nil)
	screen := bob.looks(t, chromium.Wide, "--read-only")
	screen.On("Mine")
	screen.Sees("read-only")
	if screen.Offers("Ask") {
		t.Error("it offers to ask")
	}
	screen.Click("To decide")
	screen.On("To decide")
	screen.Click(r.Name)
	screen.On(r.Name)
	for _, button := range []string{"Approve", "Deny", "Revoke", "Release", "Extend"} {
		if screen.Offers(button) {
			t.Errorf("it offers %s", button)
		}
	}
	e.Approved(t, carol, r)
	screen.Sees("Active")
}
