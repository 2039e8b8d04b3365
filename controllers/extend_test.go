package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/test/kit"
)

func extendable(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = 3 }

// more is a request for ten more minutes, which is matched and not decided.
func (w *world) more(of *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
	w.t.Helper()
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) { s.RoleRef, s.PolicyName, s.Extends = nil, "", of.Name })
	w.reconcileRequest(request)
	return request
}

// extending is a request for more of alice's access whose grant is written and not given.
func (w *world) extending(of *v1alpha1.AccessRequest) (*v1alpha1.AccessRequest, *v1alpha1.AccessGrant) {
	w.t.Helper()
	request := w.more(of)
	w.decide(bob, request, v1alpha1.VerdictApprove)
	w.reconcileRequest(request)
	return request, w.grantOf(request)
}

// judge looks at a grant and at those that it is about, as the cache has them.
func (w *world) judge(g *v1alpha1.AccessGrant, about ...client.Object) {
	w.t.Helper()
	for _, o := range append(about, g) {
		w.fresh(o)
	}
	if _, err := w.grants.Judge(w.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)}); err != nil {
		w.t.Fatalf("judge: %v", err)
	}
}

func (w *world) activeNow(g *v1alpha1.AccessGrant) {
	w.t.Helper()
	current := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(w.t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
		w.t.Fatal(err)
	}
	if current.Status.Phase != v1alpha1.GrantActive {
		w.t.Fatalf("the grant is %s, want Active: %s", current.Status.Phase, kit.Describe(current.Status.Conditions))
	}
}

// Whoever revokes the first access in whatever moment of the second revokes both: it is
// one access, and its holder cannot win a race.
func TestRevocationOfWhatIsExtended(t *testing.T) {
	for name, revoke := range map[string]func(w *world, first, second *v1alpha1.AccessRequest, was, now *v1alpha1.AccessGrant){
		"before the second is given": func(w *world, first, _ *v1alpha1.AccessRequest, _, _ *v1alpha1.AccessGrant) {
			w.decide(bob, first, v1alpha1.VerdictRevoke)
			w.fresh(first)
		},
		"and recorded before that": func(w *world, first, _ *v1alpha1.AccessRequest, was, _ *v1alpha1.AccessGrant) {
			w.decide(bob, first, v1alpha1.VerdictRevoke)
			w.reconcileGrant(was)
			w.reconcileRequest(first)
		},
		"after the second is given": func(w *world, first, _ *v1alpha1.AccessRequest, was, now *v1alpha1.AccessGrant) {
			w.reconcileGrant(now)
			w.activeNow(now)
			w.decide(bob, first, v1alpha1.VerdictRevoke)
			w.fresh(first)
			w.fresh(was)
		},
		"after that was found to replace the first": func(w *world, first, _ *v1alpha1.AccessRequest, was, now *v1alpha1.AccessGrant) {
			w.reconcileGrant(now)
			w.activeNow(now)
			w.judge(was, now)
			w.decide(bob, first, v1alpha1.VerdictRevoke)
			w.reconcileGrant(was)
		},
		"after the end of the first is recorded": func(w *world, first, _ *v1alpha1.AccessRequest, was, now *v1alpha1.AccessGrant) {
			w.reconcileGrant(now)
			w.fresh(now)
			w.reconcileGrant(was)
			w.judge(now, was)
			w.decide(bob, first, v1alpha1.VerdictRevoke)
			w.reconcileRequest(first)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, extendable)
			first, was := w.active()
			second, now := w.extending(first)
			revoke(w, first, second, was, now)
			w.fresh(first)
			w.reconcileGrant(now)
			w.reconcileGrant(was)
			w.wantLost()
			ended := w.wantEnded(now, v1alpha1.EndRevoked)
			if ended.Status.EndedBy != "bob" || !kit.HasMessage(ended.Status.Conditions, "AccessGrant "+was.Name+", which it extends, ended: revoked by bob") {
				t.Errorf("it does not say who did it: %q, %s", ended.Status.EndedBy, kit.Describe(ended.Status.Conditions))
			}
			w.reconcileRequest(second)
			if got := w.request(second).Status.Phase; got != v1alpha1.RequestRevoked {
				t.Errorf("the request is %s", got)
			}
		})
	}
}

// The second grant takes the place of the first once it is given, and not before: there
// is one to be revoked, and no gap. That holds over a restart at every step.
func TestExtensionTakesThePlace(t *testing.T) {
	w := newWorld(t, extendable)
	restart := func() { w.use(broker.GetClient(), broker.GetAPIReader()) }
	first, was := w.active()
	_, now := w.extending(first)
	restart()
	w.reconcileGrant(was)
	w.activeNow(was)
	w.reconcileGrant(now)
	w.activeNow(now)
	restart()
	w.judge(was, now)
	if n := len(w.bindings()); n != 1 || !w.can() {
		t.Errorf("%d bindings, want that of the second", n)
	}
	restart() // the first was struck, and that is not recorded
	w.reconcileGrant(was)
	ended := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(was), ended); err != nil {
		t.Fatal(err)
	}
	if ended.Status.EndReason != v1alpha1.EndExtended {
		t.Errorf("the first ended with %s: %s", ended.Status.EndReason, kit.Describe(ended.Status.Conditions))
	}
	w.reconcileRequest(first)
	if got := w.request(first).Status.Phase; got != v1alpha1.RequestCompleted {
		t.Errorf("the first request is %s", got)
	}
	// Its first deadline is nothing any more.
	w.clock.SetTime(was.Spec.ExpirationTime.Time)
	w.reconcileExpirer(now)
	w.reconcileGrant(now)
	if !w.can() {
		t.Error("the access ended at the first deadline")
	}
	w.clock.SetTime(now.Spec.ExpirationTime.Time)
	w.reconcileExpirer(now)
	w.reconcileGrant(now)
	w.wantEnded(now, v1alpha1.EndExpired)
}

// Two requests extend one access: one of them gets it, in whichever order the grants
// are given.
func TestTwoExtendOneAccess(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		w := newWorld(t, extendable)
		first, _ := w.active()
		one, two := w.more(first), w.more(first)
		w.decide(bob, one, v1alpha1.VerdictApprove)
		w.decide(bob, two, v1alpha1.VerdictApprove)
		w.reconcileRequest(one)
		w.reconcileRequest(two)
		winner, loser := w.grantOf(two), w.grantOf(one)
		w.reconcileGrant(winner)
		if restarts {
			w.use(broker.GetClient(), broker.GetAPIReader())
			w.fresh(winner)
		}
		w.reconcileGrant(loser)
		w.activeNow(winner)
		current := &v1alpha1.AccessGrant{}
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(loser), current); err != nil {
			t.Fatal(err)
		}
		if current.Status.EndReason != v1alpha1.EndNotGrantable || current.Status.GrantedTime != nil || !kit.HasMessage(current.Status.Conditions, "another request extended the access") {
			t.Errorf("the second is %s %s: %s", current.Status.Phase, current.Status.EndReason, kit.Describe(current.Status.Conditions))
		}
	}
}

// The warning comes ten minutes before the end of a long access and in the last tenth of
// a short one, once, over restarts too.
func TestExpiresSoonOnce(t *testing.T) {
	for want, d := range map[time.Duration]time.Duration{10 * time.Minute: 4 * time.Hour, time.Minute: 10 * time.Minute} {
		w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) { s.MaxDuration.Duration = 4 * time.Hour })
		request := w.ask(func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: d} })
		w.reconcileRequest(request)
		w.decide(bob, request, v1alpha1.VerdictApprove)
		w.reconcileRequest(request)
		g := w.grantOf(request)
		w.reconcileGrant(g)
		told := func() string {
			current := &v1alpha1.AccessGrant{}
			if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
				t.Fatal(err)
			}
			for _, c := range current.Status.Conditions {
				if c.Type == v1alpha1.ConditionExpiresSoon {
					return c.LastTransitionTime.UTC().Format(time.RFC3339) + " " + c.Message
				}
			}
			return ""
		}
		at := grant.WarnAt(g)
		if got := g.Spec.ExpirationTime.Sub(at); got < want || got > want+time.Second {
			t.Errorf("told %s before the end of %s, want %s", got, d, want)
		}
		w.clock.SetTime(at.Add(-time.Second))
		w.judge(g)
		if told() != "" {
			t.Errorf("too early: %s", told())
		}
		w.clock.SetTime(at)
		w.judge(g)
		first := told()
		if !strings.HasSuffix(first, "; it cannot be extended") {
			t.Errorf("it says %q", first)
		}
		w.clock.SetTime(at.Add(20 * time.Second))
		w.use(broker.GetClient(), broker.GetAPIReader())
		w.judge(g)
		if again := told(); again != first {
			t.Errorf("told again: %s", again)
		}
		w.clock.SetTime(g.Spec.ExpirationTime.Time)
		w.reconcileExpirer(g)
		w.reconcileGrant(g)
		if told() != "" {
			t.Errorf("what has ended still ends soon: %s", told())
		}
	}
}

// The moments of the end are asked for, so that no timer of two minutes passes them.
func TestWarningIsWaitedFor(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	w.clock.SetTime(grant.WarnAt(g).Add(-7 * time.Second))
	w.fresh(g)
	result, err := w.grants.Judge(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)})
	if err != nil || result.RequeueAfter > 7*time.Second || result.RequeueAfter <= 0 {
		t.Errorf("it looks again in %s, %v", result.RequeueAfter, err)
	}
}

// Sessions of the first grant and what was created with it belong to the access, which
// goes on: they are told when the last grant of the chain ends, and not before.
func TestUseOfWhatIsExtended(t *testing.T) {
	w := newWatched(t, func(s *v1alpha1.AccessPolicySpec) {
		extendable(s)
		evicting(s)
	})
	w.install("evict-sessions")
	w.install("look-back")
	w.mayEvict(true)
	w.mayGetPods(true)
	first, was := w.active()
	debug := pod(w.namespace, "debug")
	w.running(debug)
	w.running(pod(w.namespace, "shell"))
	w.pass(time.Minute)
	w.observe(was, func(s *v1alpha1.AccessUsageStatus) {
		s.Calls = 2
		s.Sessions = []v1alpha1.UsageSession{w.session("1", "exec", "shell")}
		s.Created = []v1alpha1.UsageObject{w.made("pods", "debug", string(debug.UID))}
	})
	second, now := w.extending(first)
	w.reconcileGrant(now)
	w.fresh(now)
	w.reconcileGrant(was)
	w.pass(2 * time.Second)
	w.observe(was, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
	again := w.reconcileUsage(was)
	if again <= 0 || again > 10*time.Second {
		t.Errorf("it looks again after %s", again)
	}
	w.want(was, v1alpha1.ConditionUsed, metav1.ConditionTrue, v1alpha1.ReasonUsed, "2 calls")
	w.want(was, v1alpha1.ConditionLeftBehind, metav1.ConditionUnknown, v1alpha1.ReasonExtended, "(now 1)", "at the end of the last extension")
	if c := meta.FindStatusCondition(w.stored(was).Status.Conditions, v1alpha1.ConditionSessionsOpen); c != nil || !w.exists("shell") {
		t.Errorf("a session of access that is held was ended or reported: %v", c)
	}
	if got := append(w.events("SessionsOpen"), w.events("LeftBehind")...); len(got) != 0 {
		t.Errorf("it is told: %q", got)
	}
	w.observe(now, func(s *v1alpha1.AccessUsageStatus) { s.Calls = 1 })
	w.pass(time.Minute)
	w.end(second, now)
	w.pass(2 * time.Second)
	w.observe(now, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
	w.reconcileUsage(now)
	w.want(now, v1alpha1.ConditionLeftBehind, metav1.ConditionTrue, v1alpha1.ReasonObjectsExist, "Pod "+w.namespace+"/debug (created ")
	w.pass(again)
	w.reconcileUsage(was)
	w.want(was, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, v1alpha1.ReasonEvicted, "the Pod is evicted")
	if w.exists("shell") {
		t.Error("the session outlives the access")
	}
}
