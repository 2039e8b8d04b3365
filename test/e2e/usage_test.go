package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

func observedNow() *v1alpha1.Moment { return ptr.To(metav1.NewTime(time.Now().Truncate(time.Second))) }

func found(name string, action v1alpha1.SuspiciousAction) func(*v1alpha1.AccessUsageStatus) {
	return func(s *v1alpha1.AccessUsageStatus) {
		s.Calls, s.LastCall = s.Calls+1, observedNow()
		s.Suspicious = append(s.Suspicious, v1alpha1.UsageFinding{
			Name: name, Action: action, Message: "list secrets by alice", Times: 1, First: *observedNow(), Last: *observedNow(),
		})
	}
}

// A suspicious use is told at once, and ends the access where the policy wants that;
// how soon is measured from the finding to the refusal.
func TestSuspiciousUse(t *testing.T) {
	t.Parallel()
	observer := e.Observer(t)
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Suspicious = []v1alpha1.SuspiciousUse{
			{Name: "agent", Expression: "event.client == 'curl'"},
			{Name: "secrets", Expression: "event.resource == 'secrets' && event.namespace == ''", Action: v1alpha1.SuspiciousRevoke},
		}
	})
	request := e.Ask(t, alice, ns, nil)
	e.Approved(t, bob, request)
	g := e.GrantOf(t, request)
	kit.Observe(t, observer, g, found("agent", v1alpha1.SuspiciousReport))
	waitCondition(t, g, v1alpha1.ConditionSuspicious, metav1.ConditionTrue, "agent: agent (Report) seen once")
	if !kit.Can(t, alice, ns) {
		t.Fatal("what is only to be reported ended the access")
	}
	begin := time.Now()
	kit.Observe(t, observer, g, found("secrets", v1alpha1.SuspiciousRevoke))
	kit.Within(t, 2*time.Second, "the access to be lost", func(context.Context) (bool, error) { return !kit.Can(t, alice, ns), nil })
	t.Logf("from the finding to the refusal: %s", time.Since(begin).Round(time.Millisecond))
	e.WaitEnded(t, g.Name, v1alpha1.EndSuspicious)
	e.WaitFor(t, request, v1alpha1.RequestRevoked)
	kit.Eventually(t, "the Events", func(ctx context.Context) (bool, error) {
		list := &eventsv1.EventList{}
		err := e.Admin.List(ctx, list, client.InNamespace(metav1.NamespaceDefault))
		told := 0
		for _, event := range list.Items {
			if event.Regarding.UID == g.UID && event.Reason == v1alpha1.ConditionSuspicious && event.Type == corev1.EventTypeWarning {
				told++
			}
		}
		return told > 0, err
	})
}

func waitCondition(t *testing.T, g *v1alpha1.AccessGrant, kind string, status metav1.ConditionStatus, says string) {
	t.Helper()
	var seen *metav1.Condition
	defer func() {
		if t.Failed() {
			t.Logf("%s is %+v", kind, seen)
		}
	}()
	kit.Eventually(t, kind+" "+string(status)+" "+says, func(ctx context.Context) (bool, error) {
		current := &v1alpha1.AccessGrant{}
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(g), current)
		seen = meta.FindStatusCondition(current.Status.Conditions, kind)
		return seen != nil && seen.Status == status && strings.Contains(seen.Message, says), err
	})
}

// The broker looks back when the observation comes to the end of the grant, tells what
// goes on, and tells again when it is over; the grant has left its cache by then.
func TestLookBack(t *testing.T) {
	t.Parallel()
	observer := e.Observer(t)
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, nil)
	e.Approved(t, bob, request)
	g := e.GrantOf(t, request)
	left := kit.NewPod(ns, "debug-x")
	kit.Create(t, alice, left)
	kit.Observe(t, observer, g, func(s *v1alpha1.AccessUsageStatus) {
		s.Calls, s.FirstCall, s.LastCall = 3, observedNow(), observedNow()
		s.Created = []v1alpha1.UsageObject{{Resource: "pods", Namespace: ns, Name: left.Name, From: left.CreationTimestamp, To: left.CreationTimestamp, Times: 1}}
		s.Sessions = []v1alpha1.UsageSession{{ID: "1", Kind: "exec", Resource: "pods", Namespace: ns, Name: left.Name, UsageClient: v1alpha1.UsageClient{User: "alice"}, Since: *observedNow()}}
	})
	kit.Eventually(t, "the calls on the grant", func(ctx context.Context) (bool, error) {
		current := &v1alpha1.AccessGrant{}
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(g), current)
		return current.Status.Usage != nil && current.Status.Usage.Calls == 3, err
	})
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	ended := e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
	kit.WaitPast(t, ended.Status.EndedTime.Add(time.Second))
	kit.Observe(t, observer, g, func(s *v1alpha1.AccessUsageStatus) { s.Until = observedNow() })
	waitCondition(t, g, v1alpha1.ConditionUsed, metav1.ConditionTrue, "3 calls were observed")
	// The Pods of tasks may be read out of the box.
	waitCondition(t, g, v1alpha1.ConditionLeftBehind, metav1.ConditionTrue, "Pod "+ns+"/debug-x (created ")
	waitCondition(t, g, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, ": kubectl delete pod debug-x -n "+ns)
	kit.Observe(t, observer, g, func(s *v1alpha1.AccessUsageStatus) { s.Sessions = nil })
	waitCondition(t, g, v1alpha1.ConditionSessionsOpen, metav1.ConditionFalse, "are over")
	kit.Eventually(t, "the Events", func(ctx context.Context) (bool, error) {
		list := &eventsv1.EventList{}
		err := e.Admin.List(ctx, list, client.InNamespace(metav1.NamespaceDefault))
		var told []string
		for _, event := range list.Items {
			if event.Regarding.UID == g.UID {
				told = append(told, event.Reason)
			}
		}
		return slices.Contains(told, v1alpha1.ConditionLeftBehind) && slices.Contains(told, v1alpha1.ConditionSessionsOpen), err
	})
	kit.Observe(t, observer, g, func(s *v1alpha1.AccessUsageStatus) { s.Phase = v1alpha1.UsageClosed })
}
