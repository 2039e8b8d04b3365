package observe

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// condition waits until a grant has a condition, and returns it.
func condition(t *testing.T, grant, kind string, status metav1.ConditionStatus) (c metav1.Condition) {
	t.Helper()
	kit.Eventually(t, fmt.Sprintf("%s %s", kind, status), func(ctx context.Context) (bool, error) {
		g := &v1alpha1.AccessGrant{}
		if err := e.Admin.Get(ctx, client.ObjectKey{Name: grant}, g); err != nil {
			return false, err
		}
		found := meta.FindStatusCondition(g.Status.Conditions, kind)
		if found == nil || found.Status != status {
			return false, fmt.Errorf("it has %+v", g.Status.Conditions)
		}
		c = *found
		return true, nil
	})
	return c
}

// The end looks back: at what was used, what is left and what goes on.
func TestEndLooksBack(t *testing.T) {
	t.Parallel()
	alice := held(t, nil)
	config, err := e.User(alice.user, "dev")
	must(t, err)
	watcher, err := lab.NewClient(config)
	must(t, err)
	watch, err := watcher.Watch(t.Context(), &corev1.PodList{}, client.InNamespace(alice.ns))
	must(t, err)
	must(t, alice.Create(t.Context(), pod(alice.ns, "debug-x")))
	must(t, alice.Create(t.Context(), pod(alice.ns, "debug-y")))
	must(t, alice.Create(t.Context(), pod(alice.ns, "debug-z")))
	must(t, alice.Delete(t.Context(), pod(alice.ns, "debug-y"), client.GracePeriodSeconds(0)))
	must(t, e.Admin.Delete(t.Context(), pod(alice.ns, "debug-z"), client.GracePeriodSeconds(0)))
	usageWhen(t, alice.grant, "all calls", calls(5))
	g := &v1alpha1.AccessGrant{}
	must(t, e.Admin.Get(t.Context(), client.ObjectKey{Name: alice.grant}, g))
	must(t, lab.Decide(t.Context(), alice, &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: g.Spec.RequestRef.Namespace, Name: g.Spec.RequestRef.Name}}, v1alpha1.VerdictRelease))
	e.WaitEnded(t, alice.grant, v1alpha1.EndReleased)

	if used := condition(t, alice.grant, v1alpha1.ConditionUsed, metav1.ConditionTrue); !strings.Contains(used.Message, "5 calls") {
		t.Errorf("used: %s", used.Message)
	}
	left := condition(t, alice.grant, v1alpha1.ConditionLeftBehind, metav1.ConditionTrue)
	if !strings.Contains(left.Message, "debug-x") || strings.Contains(left.Message, "debug-y") || strings.Contains(left.Message, "debug-z") {
		t.Errorf("left behind: %s", left.Message)
	}
	if open := condition(t, alice.grant, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue); !strings.Contains(open.Message, "watch") {
		t.Errorf("open: %s", open.Message)
	}
	watch.Stop()
	condition(t, alice.grant, v1alpha1.ConditionSessionsOpen, metav1.ConditionFalse)
	usageWhen(t, alice.grant, "the end of the observation", func(s *v1alpha1.AccessUsageStatus) bool { return s.Phase == v1alpha1.UsageClosed })
}

// A use that the policy revokes for ends the access within two seconds.
func TestSuspiciousUseRevokes(t *testing.T) {
	t.Parallel()
	alice := held(t, func(s *v1alpha1.AccessPolicySpec) {
		s.Suspicious = []v1alpha1.SuspiciousUse{{Name: "secrets", Expression: `event.resource == "secrets"`, Message: "nobody reads Secrets with this", Action: v1alpha1.SuspiciousRevoke}}
	})
	must(t, alice.List(t.Context(), &corev1.PodList{}, client.InNamespace(alice.ns)))
	usageWhen(t, alice.grant, "a call that is not suspicious", calls(1))
	begin := time.Now()
	must(t, alice.List(t.Context(), &corev1.SecretList{}, client.InNamespace(alice.ns)))
	kit.Eventually(t, "the end of the access", func(ctx context.Context) (bool, error) {
		return alice.List(ctx, &corev1.PodList{}, client.InNamespace(alice.ns)) != nil, nil
	})
	t.Logf("from the suspicious call to the first refusal: %s", time.Since(begin))
	g := e.WaitEnded(t, alice.grant, v1alpha1.EndSuspicious)
	if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAccessGiven); c == nil || !strings.Contains(c.Message, "nobody reads Secrets with this") {
		t.Errorf("ended: %+v", c)
	}
}

// What is seen to be unused ends; what is used goes on. Not parallel: other tests start
// observers that tell of these grants too, and then stop. What nobody tells of any more
// is not seen to be unused.
func TestIdleEnds(t *testing.T) {
	idle := func(s *v1alpha1.AccessPolicySpec) { s.IdleTimeout = &metav1.Duration{Duration: time.Minute} }
	busy, lazy := held(t, idle), held(t, idle)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		ticker := time.NewTicker(5 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				_ = busy.List(context.Background(), &corev1.PodList{}, client.InNamespace(busy.ns))
			}
		}
	}()
	kit.Within(t, 4*time.Minute, "the end of what nobody uses", func(ctx context.Context) (bool, error) {
		g := &v1alpha1.AccessGrant{}
		err := e.Admin.Get(ctx, client.ObjectKey{Name: lazy.grant}, g)
		return g.Status.EndReason == v1alpha1.EndIdle, err
	})
	must(t, busy.List(t.Context(), &corev1.PodList{}, client.InNamespace(busy.ns)))
	condition(t, lazy.grant, v1alpha1.ConditionUsed, metav1.ConditionFalse)
}
