package notify

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What was found of the use of a grant is told, too: while it is active, and after its
// end, when no cache has it any more.
func TestUsageIsTold(t *testing.T) {
	t.Parallel()
	observer := e.Observer(t)
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, nil)
	active := e.Approved(t, bob, request)
	g := e.GrantOf(t, request)
	now := func() *v1alpha1.Moment { return ptr.To(metav1.NewTime(time.Now().Truncate(time.Second))) }
	find := func(name string) func(*v1alpha1.AccessUsageStatus) {
		return func(s *v1alpha1.AccessUsageStatus) {
			s.Calls = 9
			s.Suspicious = append(s.Suspicious, v1alpha1.UsageFinding{Name: name, Action: v1alpha1.SuspiciousReport, Message: "<!channel>", Times: 1, First: *now(), Last: *now()})
		}
	}
	kit.Observe(t, observer, g, find("agent"))
	kit.Observe(t, observer, g, func(s *v1alpha1.AccessUsageStatus) {
		s.Sessions = []v1alpha1.UsageSession{{ID: "1", Kind: "watch", Resource: "pods", Namespace: ns, UsageClient: v1alpha1.UsageClient{User: "alice"}, Since: *now()}}
	})
	suspicious := all.wait(t, g.UID, "grant.active", "usage.suspicious")[1]
	if d := suspicious.data; d.Phase != "Suspicious" || !strings.Contains(d.Message, "agent (Report)") || d.Requester != "alice" || d.EndReason != "" {
		t.Errorf("%+v", d)
	}
	kit.WaitPast(t, now().Add(2*time.Second)) // a transition has the time of a second
	kit.Observe(t, observer, g, find("burst"))
	kit.Eventually(t, "both to be told of", func(ctx context.Context) (bool, error) {
		current := &v1alpha1.AccessGrant{}
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(g), current)
		return kit.HasMessage(current.Status.Conditions, "agent, burst: "), err
	})
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	ended := e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
	kit.WaitPast(t, ended.Status.EndedTime.Add(time.Second))
	kit.Observe(t, observer, g, func(s *v1alpha1.AccessUsageStatus) { s.Until = now() })
	told := all.wait(t, g.UID, "grant.active", "usage.suspicious", "usage.suspicious", "grant.ended", "usage.sessionsopen")
	if d := told[4].data; d.EndReason != "Released" || !strings.Contains(d.Message, "nobody can end a watch") {
		t.Errorf("%+v", d)
	}
}
