package attacks

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// observedGrant is a grant of a policy whose use somebody with the observer's token
// tells of.
func observedGrant(t *testing.T, edit func(*v1alpha1.AccessPolicySpec), lasts time.Duration) (ns string, g *v1alpha1.AccessGrant, tell func(func(*v1alpha1.AccessUsageStatus))) {
	t.Helper()
	observer := e.Observer(t)
	ns = e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, edit)
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		if lasts > 0 {
			s.Duration = &metav1.Duration{Duration: lasts}
		}
	})
	e.Approved(t, bob, request)
	g = e.GrantOf(t, request)
	must(t, alice, ns)
	return ns, g, func(edit func(*v1alpha1.AccessUsageStatus)) { kit.Observe(t, observer, g, edit) }
}

// stands sees that the broker has read what was told last, and that the access stands.
func stands(t *testing.T, ns string, g *v1alpha1.AccessGrant, tell func(func(*v1alpha1.AccessUsageStatus))) {
	t.Helper()
	tell(func(s *v1alpha1.AccessUsageStatus) {
		s.Calls++
		s.Suspicious = append(s.Suspicious, v1alpha1.UsageFinding{Name: "read-by-now", Action: v1alpha1.SuspiciousReport, Message: "it is", Times: 1, First: moment(0), Last: moment(0)})
	})
	kit.Eventually(t, "the broker to read it", func(ctx context.Context) (bool, error) {
		current := &v1alpha1.AccessGrant{}
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(g), current)
		return meta.IsStatusConditionTrue(current.Status.Conditions, v1alpha1.ConditionSuspicious), err
	})
	must(t, alice, ns)
}

func moment(after time.Duration) v1alpha1.Moment {
	return metav1.NewTime(time.Now().Add(after).Truncate(time.Second))
}

func idleAfterAMinute(s *v1alpha1.AccessPolicySpec) {
	s.IdleTimeout = &metav1.Duration{Duration: time.Minute}
}

func TestForgedUsage(t *testing.T) {
	t.Parallel()
	finding := func(s *v1alpha1.AccessUsageStatus) {
		s.Suspicious = append(s.Suspicious, v1alpha1.UsageFinding{Name: "made-up", Action: v1alpha1.SuspiciousRevoke, Message: "end it", Times: 1, First: moment(0), Last: moment(0)})
	}
	attack(t, "finding that no policy names", func(t *testing.T) {
		ns, g, tell := observedGrant(t, nil, 0)
		tell(finding)
		stands(t, ns, g, tell)
	})
	attack(t, "finding that the policy only reports", func(t *testing.T) {
		ns, g, tell := observedGrant(t, func(s *v1alpha1.AccessPolicySpec) {
			s.Suspicious = []v1alpha1.SuspiciousUse{{Name: "made-up", Expression: "true"}, {Name: "another", Expression: "true", Action: v1alpha1.SuspiciousRevoke}}
		}, 0)
		tell(finding)
		stands(t, ns, g, tell)
	})
	attack(t, "idleness that no policy names", func(t *testing.T) {
		ns, g, tell := observedGrant(t, nil, 0)
		tell(func(s *v1alpha1.AccessUsageStatus) { s.Until = ptr.To(moment(24 * time.Hour)) })
		stands(t, ns, g, tell)
	})
	attack(t, "idleness in the future", func(t *testing.T) {
		ns, g, tell := observedGrant(t, idleAfterAMinute, 0)
		tell(func(s *v1alpha1.AccessUsageStatus) { s.Until = ptr.To(moment(24 * time.Hour)) })
		stands(t, ns, g, tell)
	})
	attack(t, "idleness before the grant", func(t *testing.T) {
		ns, g, tell := observedGrant(t, idleAfterAMinute, 0)
		tell(func(s *v1alpha1.AccessUsageStatus) { s.Since = ptr.To(moment(-24 * time.Hour)) })
		stands(t, ns, g, tell)
	})
	attack(t, "eviction of a Pod that the grant did not cover", func(t *testing.T) {
		victim := kit.NewPod(e.NewNamespace(t, nil), "victim")
		kit.Create(t, e.Admin, victim)
		_, g, tell := observedGrant(t, func(s *v1alpha1.AccessPolicySpec) { s.OnSessionsOpen = v1alpha1.OnSessionsOpenEvictPod }, 0)
		tell(func(s *v1alpha1.AccessUsageStatus) {
			s.Calls = 1
			s.Sessions = []v1alpha1.UsageSession{{ID: "1", Kind: "exec", Resource: "pods", Namespace: victim.Namespace, Name: victim.Name, UsageClient: v1alpha1.UsageClient{User: "alice"}, Since: moment(0)}}
		})
		request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: g.Spec.RequestRef.Namespace, Name: g.Spec.RequestRef.Name}}
		kit.MustDecide(t, bob, request, v1alpha1.VerdictRevoke)
		ended := e.WaitEnded(t, g.Name, v1alpha1.EndRevoked)
		kit.WaitPast(t, ended.Status.EndedTime.Add(time.Second))
		tell(func(s *v1alpha1.AccessUsageStatus) { s.Until = ptr.To(moment(0)) })
		kit.Eventually(t, "the refusal", func(ctx context.Context) (bool, error) {
			err := e.Admin.Get(ctx, client.ObjectKeyFromObject(g), g)
			return kit.HasMessage(g.Status.Conditions, "it is not within the scope of the grant"), err
		})
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(victim), &corev1.Pod{}); err != nil {
			t.Error(err)
		}
	})
	attack(t, "silence", func(t *testing.T) {
		ns, g, tell := observedGrant(t, idleAfterAMinute, 10*time.Second)
		tell(func(s *v1alpha1.AccessUsageStatus) { s.Sessions, s.Since, s.Until = nil, nil, nil })
		e.WaitEnded(t, g.Name, v1alpha1.EndExpired)
		if kit.Can(t, alice, ns) {
			t.Error("alice has access after the deadline")
		}
	})
}
