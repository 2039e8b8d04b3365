package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// extendable lets access be extended twice.
func extendable(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = 2 }

// moreOf asks for more time of a request.
func moreOf(request *v1alpha1.AccessRequest, d time.Duration) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) {
		s.RoleRef, s.Extends, s.Reason = nil, request.Name, "not done yet"
		s.Duration = &metav1.Duration{Duration: d}
	}
}

// held asks for edit for ten minutes, and waits until alice has it.
func held(t *testing.T, ns string, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	t.Helper()
	return e.Approved(t, bob, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Duration = &metav1.Duration{Duration: 10 * time.Minute}
		if edit != nil {
			edit(s)
		}
	}))
}

// More time is decided anew, is a grant of its own whose deadline is the first's plus
// the time, and takes the place of the first: the access has no gap, and there is one
// grant to revoke.
func TestExtension(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, extendable)
	first := held(t, ns, nil)
	was := e.GrantOf(t, first)

	// Whether alice may do it is asked without a pause until the first grant has ended.
	watching, stop := context.WithCancel(t.Context())
	gap := make(chan string, 1)
	go func() {
		defer close(gap)
		for watching.Err() == nil {
			can, err := lab.Can(watching, alice, authorizationv1.ResourceAttributes{Namespace: ns, Verb: "delete", Resource: "pods"})
			if err == nil && !can {
				gap <- time.Now().String()
				return
			}
		}
	}()
	more := e.Ask(t, alice, ns, moreOf(first, 30*time.Minute))
	more = e.WaitMatched(t, more)
	if asked := more.Asked(); asked.RoleRef == nil || asked.RoleRef.Name != "edit" || more.Status.Required() != 1 || more.Status.Risks == nil {
		t.Errorf("nobody can tell what is asked for: %+v", more.Status)
	}
	if again := e.GrantOf(t, first); again.Status.Phase != v1alpha1.GrantActive || !again.Spec.ExpirationTime.Equal(&was.Spec.ExpirationTime) {
		t.Errorf("the first grant changed by being asked about: %+v", again.Status)
	}
	kit.MustDecide(t, carol, more, v1alpha1.VerdictApprove)
	e.WaitFor(t, more, v1alpha1.RequestActive)
	ended := e.WaitEnded(t, was.Name, v1alpha1.EndExtended)
	stop()
	if at, lost := <-gap; lost {
		t.Errorf("alice had no access at %s", at)
	}
	now := e.GrantOf(t, more)
	if want := was.Spec.ExpirationTime.Add(30 * time.Minute); !now.Spec.ExpirationTime.Time.Equal(want) {
		t.Errorf("the deadline is %s, want %s", now.Spec.ExpirationTime, want)
	}
	if x := now.Spec.Extends; x == nil || x.Name != was.Name || x.UID != was.UID || x.Extensions != 1 || x.First != was.Name || !x.ExpirationTime.Equal(&was.Spec.ExpirationTime) {
		t.Errorf("the grant does not say what it extends: %+v", x)
	}
	if now.Spec.Decisions[0].Username != "carol" || now.Spec.Reason != "not done yet" {
		t.Errorf("it is not decided anew: %+v", now.Spec.Decisions)
	}
	if !kit.HasMessage(ended.Status.Conditions, "extended by AccessRequest "+ns+"/"+more.Name) || !kit.HasMessage(ended.Status.Conditions, now.Name) {
		t.Errorf("nobody can tell by what it was extended: %s", kit.Describe(ended.Status.Conditions))
	}
	e.WaitFor(t, first, v1alpha1.RequestCompleted)
	// Whoever wants to revoke the first is told what to revoke.
	if err := kit.Decide(t, bob, first, v1alpha1.VerdictRevoke); err == nil || !strings.Contains(err.Error(), more.Name) {
		t.Errorf("a late revocation of the first: %v", err)
	}
	kit.MustDecide(t, bob, more, v1alpha1.VerdictRevoke)
	e.WaitEnded(t, now.Name, v1alpha1.EndRevoked)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

// Extensions count along the chain, and what is over cannot be extended.
func TestExtensionsAreCounted(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		extendable(s)
		s.Approvals[0].Count = ptr.To[int32](0)
	})
	request := e.WaitFor(t, e.Ask(t, alice, ns, nil), v1alpha1.RequestActive)
	first := e.GrantOf(t, request)
	for i := range int32(2) {
		request = e.WaitFor(t, e.Ask(t, alice, ns, moreOf(request, time.Minute)), v1alpha1.RequestActive)
		if x := e.GrantOf(t, request).Spec.Extends; x.Extensions != i+1 || x.First != first.Name {
			t.Errorf("extension %d: %+v", i+1, x)
		}
	}
	e.WaitEnded(t, first.Name, v1alpha1.EndExtended)
	third := e.WaitFor(t, e.Ask(t, alice, ns, moreOf(request, time.Minute)), v1alpha1.RequestDenied)
	if !kit.HasMessage(third.Status.Conditions, "it has maxExtensions 2, and this would be extension number 3") {
		t.Errorf("nobody can tell why: %s", kit.Describe(third.Status.Conditions))
	}
	if kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease); !hasLost(t, ns) {
		t.Error("alice still has access")
	}
	e.WaitFor(t, request, v1alpha1.RequestCompleted)
	over := e.WaitFor(t, e.Ask(t, alice, ns, moreOf(request, time.Minute)), v1alpha1.RequestFailed)
	if !kit.HasReason(over.Status.Conditions, v1alpha1.ReasonNotExtendable) || !kit.HasMessage(over.Status.Conditions, "is over (Released)") {
		t.Errorf("nobody can tell why: %s", kit.Describe(over.Status.Conditions))
	}
}

func hasLost(t *testing.T, ns string) bool {
	t.Helper()
	return lab.Until(t.Context(), kit.Patience, func(context.Context) (bool, error) { return !kit.Can(t, alice, ns), nil }) == nil
}

// Not granted in time, the access ends as it would have, and the request with it.
func TestExtensionThatComesTooLate(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, extendable)
	first := held(t, ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 4 * time.Second} })
	was := e.GrantOf(t, first)
	more := e.WaitMatched(t, e.Ask(t, alice, ns, moreOf(first, time.Minute)))
	e.WaitEnded(t, was.Name, v1alpha1.EndExpired)
	if !hasLost(t, ns) {
		t.Error("alice still has access")
	}
	failed := e.WaitFor(t, more, v1alpha1.RequestFailed)
	if !kit.HasReason(failed.Status.Conditions, v1alpha1.ReasonNotExtendable) {
		t.Errorf("nobody can tell why: %s", kit.Describe(failed.Status.Conditions))
	}
	if err := kit.Decide(t, bob, more, v1alpha1.VerdictApprove); err == nil {
		t.Error("it can still be approved")
	}
}

// An approver may give less of the time that is added, and never takes what was given.
func TestExtensionIsCut(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, extendable)
	first := held(t, ns, nil)
	was := e.GrantOf(t, first)
	more := e.WaitMatched(t, e.Ask(t, alice, ns, moreOf(first, time.Hour)))
	if err := kit.PatchDecisions(t, bob, more, map[string]any{"verdict": "Approve", "maxDuration": "5m"}); err != nil {
		t.Fatal(err)
	}
	more = e.WaitFor(t, more, v1alpha1.RequestActive)
	now := e.GrantOf(t, more)
	if want := was.Spec.ExpirationTime.Add(5 * time.Minute); !now.Spec.ExpirationTime.Time.Equal(want) || now.Spec.ShortenedBy != "bob" {
		t.Errorf("it lasts until %s by %q, want %s by bob", now.Spec.ExpirationTime, now.Spec.ShortenedBy, want)
	}
	again := e.WaitMatched(t, e.Ask(t, alice, ns, moreOf(more, time.Hour)))
	early := now.Spec.ExpirationTime.Add(-time.Minute).UTC().Format(time.RFC3339)
	if err := kit.PatchDecisions(t, bob, again, map[string]any{"verdict": "Approve", "notAfter": early}); err != nil {
		t.Fatal(err)
	}
	denied := e.WaitFor(t, again, v1alpha1.RequestDenied)
	if !kit.HasMessage(denied.Status.Conditions, "and the access is given until") {
		t.Errorf("nobody can tell why: %s", kit.Describe(denied.Status.Conditions))
	}
	if g := e.GrantOf(t, more); g.Status.Phase != v1alpha1.GrantActive || !kit.Can(t, alice, ns) {
		t.Errorf("what was given was taken: %s", g.Status.Phase)
	}
}

// What is extended stays the same by construction: ServiceAccounts, a task, rules of a
// selector; what would not be the same is refused.
func TestExtensionIsOfTheSame(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, map[string]string{"team": "t"})
	selected := &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"of": v1alpha1.LabelValue(ns)}}
	mine := map[string]string{"of": ns}
	in := e.NewNamespace(t, mine)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		extendable(s)
		s.Namespaces = &v1alpha1.PolicyNamespaces{Selector: selected}
		s.Subjects = v1alpha1.SubjectsAny
	})
	subject := v1alpha1.Subject{Kind: "User", Name: "dave"}
	request := held(t, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Scope = &v1alpha1.Scope{NamespaceSelector: selected}
		s.Subjects = []v1alpha1.Subject{subject}
	})
	more := e.Approved(t, bob, e.Ask(t, alice, ns, moreOf(request, time.Minute)))
	now := e.GrantOf(t, more)
	if len(now.Spec.Subjects) != 1 || now.Spec.Subjects[0].Name != "dave" || len(now.Spec.Namespaces) != 1 || now.Spec.Namespaces[0].Name != in {
		t.Errorf("it is not the same: %+v", now.Spec)
	}
	e.NewNamespace(t, mine)
	e.WaitFor(t, request, v1alpha1.RequestCompleted)
	wider := e.WaitFor(t, e.Ask(t, alice, ns, moreOf(more, time.Minute)), v1alpha1.RequestFailed)
	if !kit.HasMessage(wider.Status.Conditions, "the scope would not be the same") {
		t.Errorf("nobody can tell why: %s", kit.Describe(wider.Status.Conditions))
	}
}

// In the last tenth of a short grant people are told once that it ends: a condition, an
// Event, and the words that ask for more time.
func TestExpiresSoon(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, extendable)
	first := held(t, ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 20 * time.Second} })
	grant := e.GrantOf(t, first)
	told := e.WaitUntil(t, first, "the warning", func(r *v1alpha1.AccessRequest) bool {
		return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonDeadline)
	})
	if !kit.HasMessage(told.Status.Conditions, "'kubectl access extend "+first.Name+" -n "+ns+" --for 30m --reason WHY'") {
		t.Errorf("it does not say how to get more time: %s", kit.Describe(told.Status.Conditions))
	}
	if soon := time.Until(grant.Spec.ExpirationTime.Time); soon > 3*time.Second {
		t.Errorf("it is told %s before the end, want two seconds", soon)
	}
	e.WaitEnded(t, grant.Name, v1alpha1.EndExpired)
	for _, name := range []string{grant.Name, first.Name} {
		kit.Eventually(t, "one Event about "+name, func(ctx context.Context) (bool, error) {
			list := &eventsv1.EventList{}
			if err := e.Admin.List(ctx, list); err != nil {
				return false, err
			}
			told := slices.DeleteFunc(list.Items, func(event eventsv1.Event) bool {
				return event.Regarding.Name != name || event.Reason != v1alpha1.ConditionExpiresSoon
			})
			return len(told) == 1 && told[0].Series == nil, nil
		})
	}
}
