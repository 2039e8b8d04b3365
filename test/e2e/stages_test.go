package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// ownersAndSecurity asks the group that the label team of the namespace names, and
// group security.
func ownersAndSecurity(s *v1alpha1.AccessPolicySpec) {
	s.Approvals = []v1alpha1.ApprovalStage{
		{Name: "owners", FromNamespaceLabel: &v1alpha1.NamespaceLabel{Key: "example.com/team", Suffix: "-owners"}},
		{Name: "security", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "security-leads"}}},
	}
}

func ofTeam(team string) map[string]string { return map[string]string{"example.com/team": team} }

// decider may write decisions; their groups say in which stage.
func decider(t *testing.T, name string, groups ...string) client.Client {
	t.Helper()
	return e.Person(t, name, append(groups, "sre")...)
}

// approvedIn waits until so many of the stages have these people, in the order of
// status.approvals.
func approvedIn(t *testing.T, request *v1alpha1.AccessRequest, want ...string) *v1alpha1.AccessRequest {
	t.Helper()
	return e.WaitUntil(t, request, fmt.Sprintf("approvals of %q", want), func(r *v1alpha1.AccessRequest) bool {
		var got []string
		for _, stage := range r.Status.Approvals {
			got = append(got, strings.Join(stage.Approved, ","))
		}
		return slices.Equal(got, want)
	})
}

// Both stages are met by people of their own, in whatever order they come: bella is in
// both, otto in one.
func TestStages(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]string{"the one in both first": {"bella", "otto"}, "the one in both last": {"otto", "bella"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, ofTeam("pay"))
			e.NewPolicy(t, ns, ownersAndSecurity)
			people := map[string]client.Client{
				"bella": decider(t, "bella", "pay-owners", "security-leads"), "otto": decider(t, "otto", "pay-owners"),
			}
			request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
			if s := request.Status.Approvals; len(s) != 2 || s[0].From[0].Name != "pay-owners" || s[1].From[0].Name != "security-leads" || request.Status.Required() != 2 {
				t.Fatalf("the stages are %+v", s)
			}
			kit.MustDecide(t, people[order[0]], request, v1alpha1.VerdictApprove)
			approvedIn(t, request, order[0], "")
			if kit.Can(t, alice, ns) {
				t.Fatal("one approval is enough for two stages")
			}
			kit.MustDecide(t, people[order[1]], request, v1alpha1.VerdictApprove)
			e.WaitFor(t, request, v1alpha1.RequestActive)
			if !kit.Can(t, alice, ns) {
				t.Error("alice has no access")
			}
			approvedIn(t, request, "otto", "bella")
		})
	}
}

// With several namespaces, the owners of each must approve; a namespace without the
// label, or a cluster without namespaces, is refused in words.
func TestOwnersOfEachNamespace(t *testing.T) {
	t.Parallel()
	pay, web, nobody := e.NewNamespace(t, ofTeam("pay")), e.NewNamespace(t, ofTeam("web")), e.NewNamespace(t, nil)
	p := e.NewPolicy(t, pay, func(s *v1alpha1.AccessPolicySpec) {
		ownersAndSecurity(s)
		s.Approvals, s.Namespaces.Names, s.ClusterScope = s.Approvals[:1], []string{pay, web, nobody}, v1alpha1.ClusterScopeAllowed
	})
	scoped := func(scope v1alpha1.Scope) *v1alpha1.AccessRequest {
		return e.Ask(t, alice, pay, func(s *v1alpha1.AccessRequestSpec) { s.Scope, s.PolicyName = &scope, p.Name })
	}
	request := e.WaitMatched(t, scoped(v1alpha1.Scope{Namespaces: []string{pay, web}}))
	olga, wim := decider(t, "olga", "pay-owners"), decider(t, "wim", "web-owners")
	kit.MustDecide(t, olga, request, v1alpha1.VerdictApprove)
	e.WaitUntil(t, request, "the approval in the stage of its group", func(r *v1alpha1.AccessRequest) bool {
		return slices.ContainsFunc(r.Status.Approvals, func(s v1alpha1.StageApproval) bool {
			return s.From[0].Name == "pay-owners" && slices.Equal(s.Approved, []string{"olga"})
		})
	})
	e.WaitUntil(t, request, "words about who is missing", func(r *v1alpha1.AccessRequest) bool {
		return kit.HasMessage(r.Status.Conditions, "1 of 2 approvals; 1 more of group:web-owners for owners")
	})
	kit.MustDecide(t, wim, request, v1alpha1.VerdictApprove)
	e.WaitFor(t, request, v1alpha1.RequestActive)
	for _, ns := range []string{pay, web} {
		if !kit.Can(t, alice, ns) {
			t.Errorf("alice has no access in %s", ns)
		}
	}
	for why, scope := range map[string]v1alpha1.Scope{
		"namespace " + nobody + " has no such label": {Namespaces: []string{pay, nobody}},
		"cluster-wide access has no namespace":       {Cluster: &v1alpha1.ClusterScope{}},
	} {
		denied := e.WaitFor(t, scoped(scope), v1alpha1.RequestDenied)
		if !kit.HasMessage(denied.Status.Conditions, why) {
			t.Errorf("%s is not said: %s", why, kit.Describe(denied.Status.Conditions))
		}
	}
}

// When the namespace goes to another team, its owners decide and not those from before.
func TestNamespaceChangesItsOwners(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, ofTeam("pay"))
	e.NewPolicy(t, ns, ownersAndSecurity)
	request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
	kit.MustDecide(t, decider(t, "orla", "pay-owners"), request, v1alpha1.VerdictApprove)
	approvedIn(t, request, "orla", "")
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}
	e.Patch(t, object, `{"metadata":{"labels":{"example.com/team":"web"}}}`)
	request = approvedIn(t, request, "", "")
	if got := request.Status.Approvals[0].From[0].Name; got != "web-owners" {
		t.Errorf("%s are asked", got)
	}
	if err := kit.Decide(t, decider(t, "oskar", "pay-owners"), request, v1alpha1.VerdictApprove); err == nil || !strings.Contains(err.Error(), "is not among the approvers in status.approvals") {
		t.Errorf("an owner from before decides: %v", err)
	}
	kit.MustDecide(t, decider(t, "wanja", "web-owners"), request, v1alpha1.VerdictApprove)
	kit.MustDecide(t, decider(t, "sina", "security-leads"), request, v1alpha1.VerdictApprove)
	g := e.GrantOf(t, e.WaitFor(t, request, v1alpha1.RequestActive))
	if g.Spec.Summary.Approvers != "wanja,sina" {
		t.Errorf("it is approved by %s", g.Spec.Summary.Approvers)
	}
}

// People of a stage of which nobody is needed may still end the access.
func TestStageThatOnlyWatches(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals = []v1alpha1.ApprovalStage{{Name: "watchers", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "watchers"}}, Count: new(int32)}}
	})
	request := e.WaitFor(t, e.Ask(t, alice, ns, nil), v1alpha1.RequestActive)
	kit.MustDecide(t, decider(t, "walt", "watchers"), request, v1alpha1.VerdictRevoke)
	e.WaitFor(t, request, v1alpha1.RequestRevoked)
	if kit.Can(t, alice, ns) {
		t.Error("alice has access")
	}
}

// A policy that nobody could ever meet says so itself.
func TestPolicyThatNobodyCouldMeet(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	bobAnd := func(name string) v1alpha1.ApprovalStage {
		return v1alpha1.ApprovalStage{Name: name, From: users("bob")}
	}
	for why, edit := range map[string]func(*v1alpha1.AccessPolicySpec){
		"nobody counts in two stages": func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals = []v1alpha1.ApprovalStage{bobAnd("owners"), bobAnd("security")}
		},
		"everybody who may ask would have to approve their own request": func(s *v1alpha1.AccessPolicySpec) {
			s.Requesters, s.Approvals[0].From = v1alpha1.RequestersFor(users("bob")...), users("bob")
		},
	} {
		p := e.NewPolicy(t, ns, edit)
		kit.Eventually(t, why, func(context.Context) (bool, error) {
			err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(p), p)
			return kit.HasMessage(p.Status.Conditions, why), err
		})
	}
}

// capped is an approval that allows less than was asked for.
func capped(t *testing.T, who client.Client, request *v1alpha1.AccessRequest, limits string) error {
	t.Helper()
	body := fmt.Sprintf(`{"status":{"decisions":[{"verdict":"Approve",%s}]}}`, limits)
	return who.Status().Patch(t.Context(), request.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(body)))
}

// Approvers may give less; the smallest counts, and the grant says whose word it was.
func TestApproversGiveLess(t *testing.T) {
	t.Parallel()
	inTen := time.Now().Add(10 * time.Minute).UTC().Truncate(time.Second)
	for name, tc := range map[string]struct {
		bob, carol string
		by         string
		lasts      time.Duration
	}{
		"a duration":           {`"maxDuration":"30m0s"`, `"comment":"fine"`, "bob", 30 * time.Minute},
		"a moment":             {fmt.Sprintf(`"notAfter":%q`, inTen.Format(time.RFC3339)), `"comment":"fine"`, "bob", 10 * time.Minute},
		"the smaller of two":   {`"maxDuration":"30m0s"`, `"maxDuration":"20m0s"`, "carol", 20 * time.Minute},
		"more than is allowed": {`"maxDuration":"720h0m0s"`, `"comment":"fine"`, "", 50 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
			request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 50 * time.Minute} }))
			for _, err := range []error{capped(t, bob, request, tc.bob), capped(t, carol, request, tc.carol)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			active := e.WaitFor(t, request, v1alpha1.RequestActive)
			g := e.GrantOf(t, active)
			want := g.Spec.NotBefore.Add(tc.lasts).Unix()
			if name == "a moment" {
				want = inTen.Unix()
			}
			if got := g.Spec.ExpirationTime.Unix(); got < want-1 || got > want || g.Spec.ShortenedBy != tc.by {
				t.Errorf("it lasts until %s, by %q", g.Spec.ExpirationTime, g.Spec.ShortenedBy)
			}
			if said := kit.HasMessage(active.Status.Conditions, "less than was asked for, by "+tc.by); said != (tc.by != "") {
				t.Errorf("%s", kit.Describe(active.Status.Conditions))
			}
		})
	}
}

// Of an approval until a moment that is over nothing is left: nobody else is asked.
func TestApprovalThatIsOver(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
	request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
	soon := time.Now().Add(2 * time.Second).UTC().Truncate(time.Second)
	if err := capped(t, bob, request, fmt.Sprintf(`"notAfter":%q`, soon.Format(time.RFC3339))); err != nil {
		t.Fatal(err)
	}
	lapsed := e.WaitFor(t, request, v1alpha1.RequestLapsed)
	if !kit.HasMessage(lapsed.Status.Conditions, "bob approved it until "+soon.Format(time.RFC3339)+", and it could not begin before that; ask again") {
		t.Errorf("%s", kit.Describe(lapsed.Status.Conditions))
	}
}
