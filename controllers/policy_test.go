package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/controllers/policy"
	"github.com/accessbroker/accessbroker/test/kit"
)

// reconcilePolicy looks at the world's policy, and returns its Ready condition and when
// it is looked at again.
func (w *world) reconcilePolicy() (ready *metav1.Condition, again time.Duration) {
	w.t.Helper()
	w.fresh(w.policy)
	r := &policy.Reconciler{Client: w.requests.Client, Clock: w.clock, Status: w.requests.Status, Policies: w.requests.Policies, Names: w.requests.Names}
	result, err := r.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(w.policy)})
	if err != nil {
		w.t.Fatalf("reconcile policy: %v", err)
	}
	if err := e.Admin.Get(w.t.Context(), client.ObjectKeyFromObject(w.policy), w.policy); err != nil {
		w.t.Fatal(err)
	}
	return meta.FindStatusCondition(w.policy.Status.Conditions, v1alpha1.ConditionReady), result.RequeueAfter
}

// edit changes the world's policy, as an administrator does.
func (w *world) edit(change func(*v1alpha1.AccessPolicySpec)) {
	w.t.Helper()
	kit.Eventually(w.t, "the policy to be changed", func(ctx context.Context) (bool, error) {
		if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(w.policy), w.policy); err != nil {
			return false, err
		}
		change(&w.policy.Spec)
		err := e.Admin.Update(ctx, w.policy)
		return err == nil, err
	})
	w.fresh(w.policy)
}

// told are the Events that were recorded since the last time.
func (w *world) told() string {
	var told []string
	for recorded := w.requests.Status.Journal.Recorder.(*events.FakeRecorder).Events; ; {
		select {
		case event := <-recorded:
			told = append(told, event)
		default:
			return strings.Join(told, "\n")
		}
	}
}

// A policy says two weeks ahead that its review is due, once. Past that it gives
// nothing and takes nothing, until somebody moves reviewBy.
func TestPolicyReview(t *testing.T) {
	w := newWorld(t, automatic)
	now := w.clock.Now().Truncate(time.Second)
	w.clock.SetTime(now)
	in := func(d time.Duration) func(*v1alpha1.AccessPolicySpec) {
		return func(s *v1alpha1.AccessPolicySpec) { s.ReviewBy = &metav1.Time{Time: w.clock.Now().Add(d)} }
	}
	expect := func(when string, status metav1.ConditionStatus, reason, words, event string, again time.Duration) {
		t.Helper()
		w.told()
		ready, next := w.reconcilePolicy()
		if ready.Status != status || ready.Reason != reason || !strings.Contains(ready.Message, words) {
			t.Errorf("%s it is %+v", when, ready)
		}
		if next != again {
			t.Errorf("%s it is looked at again in %s, want %s", when, next, again)
		}
		if told := w.told(); (event == "") != (told == "") || !strings.Contains(told, event) {
			t.Errorf("%s it is told %q, want %q", when, told, event)
		}
	}
	registry := w.measure()
	reviews := func(review string) float64 {
		t.Helper()
		return phases(t, registry, "access_broker_policy_reviews")[review]
	}
	soon, overdue := reviews("Soon"), reviews("Overdue")

	w.edit(in(14*24*time.Hour + 5*time.Minute))
	expect("long before", metav1.ConditionTrue, v1alpha1.ReasonCompiles, "the policy can be used", "", 5*time.Minute)
	w.clock.SetTime(now.Add(5 * time.Minute))
	expect("two weeks before", metav1.ConditionTrue, v1alpha1.ReasonPolicyReviewSoon, "its review is due by ", "Warning ReviewDueSoon", 10*time.Minute)
	expect("a moment later", metav1.ConditionTrue, v1alpha1.ReasonPolicyReviewSoon, "its review is due by ", "", 10*time.Minute)
	if got := reviews("Soon"); got != soon+1 {
		t.Errorf("%v are due soon, want %v", got, soon+1)
	}
	w.use(broker.GetClient(), broker.GetAPIReader()) // the broker is restarted
	registry = w.measure()
	expect("after a restart", metav1.ConditionTrue, v1alpha1.ReasonPolicyReviewSoon, "its review is due by ", "", 10*time.Minute)

	w.edit(in(2 * time.Minute))
	expect("two minutes before", metav1.ConditionTrue, v1alpha1.ReasonPolicyReviewSoon, "", "Warning ReviewDueSoon", 2*time.Minute)
	held := w.ask()
	w.reconcileRequest(held)
	g := w.grantOf(held)
	w.reconcileGrant(g)
	w.reconcileRequest(held)
	if !w.can() {
		t.Fatal("nothing is held: this shows nothing")
	}
	w.clock.SetTime(now.Add(7 * time.Minute))
	expect("when it is due", metav1.ConditionFalse, v1alpha1.ReasonPolicyReviewOverdue, "it gives nothing until somebody has looked at it and moved reviewBy", "Warning ReviewOverdue", 10*time.Minute)
	if got := reviews("Overdue"); got != overdue+1 {
		t.Errorf("%v are overdue, want %v", got, overdue+1)
	}
	waits := w.ask()
	w.reconcileRequest(waits)
	if s := w.request(waits).Status; s.Phase != v1alpha1.RequestPending || !kit.HasReason(s.Conditions, v1alpha1.ReasonPolicyNotReady) || !kit.HasMessage(s.Conditions, "its review was due by") {
		t.Errorf("a request is %s: %s", s.Phase, kit.Describe(s.Conditions))
	}
	w.reconcileGrant(g)
	if !w.can() || w.request(held).Status.Phase != v1alpha1.RequestActive {
		t.Error("what it gave has ended")
	}
	w.edit(func(s *v1alpha1.AccessPolicySpec) { s.MaxDuration.Duration *= 2 }) // a change that still allows it
	w.reconcileGrant(g)
	if !w.can() {
		t.Error("what it gave has ended with a change")
	}

	w.edit(in(365 * 24 * time.Hour))
	expect("reviewed", metav1.ConditionTrue, v1alpha1.ReasonCompiles, "", "", 10*time.Minute)
	w.reconcileRequest(waits)
	w.reconcileGrant(w.grantOf(waits))
	w.reconcileRequest(waits)
	if s := w.request(waits).Status; s.Phase != v1alpha1.RequestActive {
		t.Errorf("the request is %s: %s", s.Phase, kit.Describe(s.Conditions))
	}
}

// A request that waits is over when its requester's time has become too short for it,
// and is looked at then; what is given ends by that time.
func TestUntilComesNear(t *testing.T) {
	w := newWorld(t, nil)
	until := w.clock.Now().Truncate(time.Second).Add(90 * time.Minute)
	w.edit(func(s *v1alpha1.AccessPolicySpec) { s.Requesters[0].Until = &metav1.Time{Time: until} })
	hour := func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: time.Hour} }
	waits, decided := w.ask(hour), w.ask(hour)
	again := w.reconcileRequest(waits).RequeueAfter
	if latest := until.Add(-time.Hour).Sub(w.clock.Now()); again < latest || again > latest+time.Second {
		t.Errorf("it is looked at again in %s, want %s", again, latest)
	}
	w.reconcileRequest(decided)
	w.decide(bob, decided, v1alpha1.VerdictApprove)
	w.clock.SetTime(until.Add(-time.Hour))
	w.reconcileRequest(decided)
	if g := w.grantOf(decided); g.Spec.ExpirationTime.After(until) {
		t.Errorf("access goes until %s, past %s", g.Spec.ExpirationTime, until)
	}
	w.reconcileRequest(waits)
	if s := w.request(waits).Status; s.Phase != v1alpha1.RequestPending {
		t.Fatalf("in time the request is %s: %s", s.Phase, kit.Describe(s.Conditions))
	}
	w.clock.SetTime(until.Add(time.Millisecond - time.Hour))
	w.reconcileRequest(waits)
	if s := w.request(waits).Status; s.Phase != v1alpha1.RequestDenied || !kit.HasMessage(s.Conditions, "is for alice until "+until.UTC().Format(time.RFC3339)+", which leaves 59m59s at most") {
		t.Errorf("the request is %s: %s", s.Phase, kit.Describe(s.Conditions))
	}
}

// A policy must be confirmed as it is by somebody else, where that is wanted: a new
// confirmation and a new author count at once.
func TestPolicyIsConfirmedInMemory(t *testing.T) {
	w := newWorld(t, automatic)
	w.requests.Policies.Confirmed = true
	w.edit(func(*v1alpha1.AccessPolicySpec) {
		w.policy.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: "anna"}
	})
	confirmedBy := func(name string) {
		t.Helper()
		w.policy.Status.Confirmed = &v1alpha1.PolicyConfirmation{Username: name, UID: w.policy.UID, Generation: w.policy.Generation}
		if err := e.Admin.Status().Update(t.Context(), w.policy); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		do     func()
		status metav1.ConditionStatus
		reason string
	}{
		{func() {}, metav1.ConditionFalse, v1alpha1.ReasonNotConfirmed},
		{func() { confirmedBy("boris") }, metav1.ConditionTrue, v1alpha1.ReasonCompiles},
		{func() { confirmedBy("Anna") }, metav1.ConditionFalse, v1alpha1.ReasonNotConfirmed},
		{func() { confirmedBy("clara") }, metav1.ConditionTrue, v1alpha1.ReasonCompiles},
		{func() {
			w.edit(func(*v1alpha1.AccessPolicySpec) { w.policy.Annotations[v1alpha1.AnnotationChangedBy] = "clara" })
		}, metav1.ConditionFalse, v1alpha1.ReasonNotConfirmed},
	} {
		step.do()
		if ready, _ := w.reconcilePolicy(); ready.Status != step.status || ready.Reason != step.reason {
			t.Errorf("want %s %s, got %+v", step.status, step.reason, ready)
		}
	}
}
