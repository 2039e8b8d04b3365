package browser

import (
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/browser/chromium"
	"github.com/accessbroker/accessbroker/test/kit"
)

// page is one that somebody looks at.
type page struct {
	name, path, heading string
	who                 person
	args                []string
	// then is done on the page first.
	then func(*chromium.Tab)
	// status of the answer, when it is not 200.
	status string
	// bare pages come before the page proper.
	bare bool
}

// open opens the page with a look and waits until it is there.
func (p page) open(t testing.TB, look chromium.Look) *chromium.Tab {
	t.Helper()
	tab := p.who.looks(t, look, p.args...)
	tab.On("Mine")
	if p.status != "" {
		tab.Expect("^" + p.status + ":|status of " + p.status)
	}
	address := tab.Address()
	root := address[:strings.LastIndex(address, "/")+1]
	if p.bare {
		tab = b.Person(t, look)
		tab.Expect("^" + p.status + ":|status of " + p.status)
	}
	tab.Open(root + p.path)
	tab.On(p.heading)
	if p.then != nil {
		p.then(tab)
	}
	return tab
}

// scene is a cluster in the middle of a day.
type scene struct {
	pages []page
}

var (
	setOnce sync.Once
	set     scene
)

// stage sets the scene, once: requests of every kind, and every page.
func stage(t *testing.T) scene {
	t.Helper()
	setOnce.Do(func() { set = newScene(t) })
	if len(set.pages) == 0 {
		t.Fatal("the stage could not be set")
	}
	return set
}

func newScene(t *testing.T) scene {
	t.Helper()
	for _, ns := range []string{"payments", "checkout", "ledger"} {
		kit.Create(t, e.Admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	}
	roles := []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "view"}, {Kind: "ClusterRole", Name: "edit"}, {Kind: "ClusterRole", Name: "admin"}}
	// They stay: the tests that look at them run one after another, and at once.
	policy := func(name, ns string, edit func(*v1alpha1.AccessPolicySpec)) {
		p := &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.AccessPolicySpec{
			Requesters:    v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "dev"}),
			Approvals:     []v1alpha1.ApprovalStage{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}}},
			Roles:         roles,
			Namespaces:    &v1alpha1.PolicyNamespaces{Names: []string{ns}},
			MaxDuration:   metav1.Duration{Duration: 8 * time.Hour},
			MaxExtensions: 2,
		}}
		if edit != nil {
			edit(&p.Spec)
		}
		kit.Create(t, e.Admin, p)
	}
	policy("payments-on-call", "payments", nil)
	policy("checkout-two-teams", "checkout", func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals = append(s.Approvals, v1alpha1.ApprovalStage{Name: "security", From: []v1alpha1.PolicySubject{{Kind: "User", Name: "carol"}}})
	})
	policy("ledger-break-glass", "ledger", func(s *v1alpha1.AccessPolicySpec) {
		none := int32(0)
		s.Approvals[0].Count, s.ReviewWithin = &none, &metav1.Duration{Duration: 24 * time.Hour}
	})
	request := func(who person, ns, name, role, reason, ticket string, lasts time.Duration) *v1alpha1.AccessRequest {
		r := lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) {
			s.RoleRef, s.Reason, s.Ticket = &v1alpha1.RoleRef{Kind: "ClusterRole", Name: role}, reason, ticket
			s.Duration = &metav1.Duration{Duration: lasts}
		})
		r.GenerateName, r.Name = "", name
		kit.Create(t, who, r)
		return e.WaitMatched(t, r)
	}
	ended := func(r *v1alpha1.AccessRequest, who person, verdict v1alpha1.Verdict, phase v1alpha1.RequestPhase) {
		kit.MustDecide(t, who, r, verdict)
		e.WaitFor(t, r, phase)
	}

	expired := e.Approved(t, bob, request(dave, "payments", "read-logs", "view", "why did the nightly report stop", "OPS-7", 2*time.Second))
	released := e.Approved(t, bob, request(alice, "payments", "restart-workers", "edit", "the workers hang after the deploy", "INC-40", time.Hour))
	revoked := e.Approved(t, bob, request(dave, "payments", "resize", "admin", "resize the volumes of the database", "CHG-118", 4*time.Hour))
	ended(released, alice, v1alpha1.VerdictRelease, v1alpha1.RequestCompleted)
	ended(revoked, carol, v1alpha1.VerdictRevoke, v1alpha1.RequestRevoked)
	denied := request(alice, "checkout", "look-at-secrets", "admin", "look at the credentials of the payment provider", "", time.Hour)
	ended(denied, bob, v1alpha1.VerdictDeny, v1alpha1.RequestDenied)
	review := request(dave, "ledger", "unlock", "edit", "a migration holds a lock", "INC-41", time.Hour)
	ended(e.WaitFor(t, review, v1alpha1.RequestActive), dave, v1alpha1.VerdictRelease, v1alpha1.RequestCompleted)
	active := e.Approved(t, bob, request(alice, "payments", "scale-up", "edit", "checkout is overloaded and needs more replicas", "INC-42", 45*time.Minute))
	pending := request(alice, "checkout", "rotate-keys", "admin", "rotate the keys of the payment provider", "CHG-120", 2*time.Hour)
	request(dave, "payments", "profile", "edit", "take a heap profile of the API, which grows by a gigabyte an hour and is killed every night at about three", "INC-43", 30*time.Minute)
	e.WaitFor(t, expired, v1alpha1.RequestExpired)

	at := func(r *v1alpha1.AccessRequest) string { return "requests/" + r.Namespace + "/" + r.Name }
	preview := func(tab *chromium.Tab) {
		ask(tab, "payments-on-call", "payments", "30m", "checkout is overloaded and needs more replicas", "INC-42")
		tab.Click("See what it would give")
		tab.Sees("run pods as any ServiceAccount")
	}
	return scene{pages: []page{
		{name: "mine", path: "mine", heading: "Mine", who: alice, then: func(tab *chromium.Tab) { tab.Near(active.Name).Sees("left") }},
		{name: "mine-empty", path: "mine", heading: "Mine", who: vera},
		{name: "ask", path: "ask", heading: "Ask", who: alice, then: func(tab *chromium.Tab) { tab.Sees("payments-on-call") }},
		{name: "ask-preview", path: "ask", heading: "Ask", who: alice, then: preview},
		{name: "decide", path: "decide", heading: "To decide", who: bob, then: func(tab *chromium.Tab) { tab.Sees(pending.Name) }},
		{name: "decide-empty", path: "decide", heading: "To decide", who: vera},
		{name: "request-pending", path: at(pending), heading: pending.Name, who: bob},
		{name: "request-active", path: at(active), heading: active.Name, who: alice},
		{name: "request-denied", path: at(denied), heading: denied.Name, who: alice},
		{name: "request-review", path: at(review), heading: review.Name, who: bob},
		{name: "request-read-only", path: at(pending), heading: pending.Name, who: bob, args: []string{"--read-only"}},
		{name: "record", path: "record", heading: "Record", who: vera, then: func(tab *chromium.Tab) { tab.Sees("(Revoked) by carol") }},
		{name: "grant", path: "grants/" + e.GrantOf(t, revoked).Name, heading: e.GrantOf(t, revoked).Name, who: vera},
		{name: "not-found", path: "requests/payments/none", heading: "That did not work", who: bob, status: "404"},
		{name: "not-let-in", path: "mine", heading: "You are not let in", who: bob, status: "403", bare: true},
	}}
}
