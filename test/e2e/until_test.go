package e2e

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// Somebody may use a policy until a moment: no access goes past it, and after it they
// are told that it was for them.
func TestUntil(t *testing.T) {
	t.Parallel()
	uma := e.Person(t, "uma", "dev")
	ns := e.NewNamespace(t, nil)
	until := time.Now().Add(15 * time.Second).Truncate(time.Second)
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = []v1alpha1.PolicyRequester{{PolicySubject: v1alpha1.PolicySubject{Kind: "User", Name: "uma"}, Until: &metav1.Time{Time: until}}}
	}))
	lasting := func(d time.Duration) func(*v1alpha1.AccessRequestSpec) {
		return func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: d} }
	}
	told := "uma until " + until.UTC().Format(time.RFC3339)
	long := e.WaitFor(t, e.Ask(t, uma, ns, lasting(30*time.Minute)), v1alpha1.RequestDenied)
	if !kit.HasMessage(long.Status.Conditions, "is for "+told+", which leaves ") {
		t.Errorf("too long: %s", kit.Describe(long.Status.Conditions))
	}
	held := e.WaitFor(t, e.Ask(t, uma, ns, lasting(5*time.Second)), v1alpha1.RequestActive)
	if g := e.GrantOf(t, held); g.Spec.ExpirationTime.After(until) || !kit.Can(t, uma, ns) {
		t.Errorf("access until %s, and they may until %s", g.Spec.ExpirationTime, until)
	}
	kit.WaitPast(t, until)
	late := e.WaitFor(t, e.Ask(t, uma, ns, lasting(time.Second)), v1alpha1.RequestDenied)
	if !kit.HasMessage(late.Status.Conditions, "was for "+told) {
		t.Errorf("too late: %s", kit.Describe(late.Status.Conditions))
	}
	e.WaitEnded(t, e.GrantOf(t, held).Name, v1alpha1.EndExpired)
}

// Eligibility that is taken back takes what was given.
func TestUntilIsMoved(t *testing.T) {
	t.Parallel()
	ursula := e.Person(t, "ursula", "dev")
	ns := e.NewNamespace(t, nil)
	in := func(d time.Duration) []v1alpha1.PolicyRequester {
		return []v1alpha1.PolicyRequester{{PolicySubject: v1alpha1.PolicySubject{Kind: "User", Name: "ursula"}, Until: &metav1.Time{Time: time.Now().Add(d)}}}
	}
	p := e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.Requesters = in(2 * time.Hour) }))
	held := e.WaitFor(t, e.Ask(t, ursula, ns, nil), v1alpha1.RequestActive)
	edit := func(requesters []v1alpha1.PolicyRequester) {
		t.Helper()
		kit.Eventually(t, "the policy to be changed", func(ctx context.Context) (bool, error) {
			if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
				return false, err
			}
			p.Spec.Requesters = requesters
			err := e.Admin.Update(ctx, p)
			return err == nil, err
		})
	}
	edit(in(3 * time.Hour)) // more is no reason to end
	kit.Eventually(t, "the policy to be looked at", func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(p), p)
		return err == nil && len(p.Status.Conditions) > 0 && p.Status.Conditions[0].ObservedGeneration == p.Generation, err
	})
	if g := e.GrantOf(t, held); g.Status.Phase != v1alpha1.GrantActive {
		t.Fatalf("it has ended: %s", kit.Describe(g.Status.Conditions))
	}
	edit(in(time.Minute))
	g := e.WaitEnded(t, e.GrantOf(t, held).Name, v1alpha1.EndPolicyChanged)
	if !kit.HasMessage(g.Status.Conditions, "is for ursula until") || kit.Can(t, ursula, ns) {
		t.Errorf("nobody can tell why, or it is not gone: %s", kit.Describe(g.Status.Conditions))
	}
}

// Past its reviewBy a policy gives nothing and takes nothing, until somebody has looked
// at it and moved reviewBy.
func TestReviewBy(t *testing.T) {
	t.Parallel()
	rita := e.Person(t, "rita", "dev")
	ns := e.NewNamespace(t, nil)
	due := time.Now().Add(10 * time.Second).Truncate(time.Second)
	p := e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.ReviewBy = &metav1.Time{Time: due} }))
	ready := func(status metav1.ConditionStatus, reason string) {
		t.Helper()
		kit.Eventually(t, "the policy to be "+reason, func(ctx context.Context) (bool, error) {
			err := e.Admin.Get(ctx, client.ObjectKeyFromObject(p), p)
			c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
			return err == nil && c != nil && c.Status == status && c.Reason == reason && c.ObservedGeneration == p.Generation, err
		})
	}
	held := e.WaitFor(t, e.Ask(t, rita, ns, nil), v1alpha1.RequestActive)
	ready(metav1.ConditionTrue, v1alpha1.ReasonPolicyReviewSoon)
	kit.WaitPast(t, due)
	ready(metav1.ConditionFalse, v1alpha1.ReasonPolicyReviewOverdue)
	waiting := e.Ask(t, rita, ns, nil)
	e.WaitUntil(t, waiting, "to wait for the policy", func(r *v1alpha1.AccessRequest) bool {
		return r.Status.Phase == v1alpha1.RequestPending && kit.HasMessage(r.Status.Conditions, "its review was due by "+due.UTC().Format(time.RFC3339))
	})
	if g := e.GrantOf(t, held); g.Status.Phase != v1alpha1.GrantActive || !kit.Can(t, rita, ns) {
		t.Errorf("what it gave has ended: %s", kit.Describe(g.Status.Conditions))
	}
	e.Patch(t, p, `{"spec":{"reviewBy":"`+time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)+`"}}`)
	ready(metav1.ConditionTrue, v1alpha1.ReasonCompiles)
	e.WaitFor(t, waiting, v1alpha1.RequestActive)
}
