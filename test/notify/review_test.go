package notify

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// That access waits for a review, that nobody gave it in time, and that somebody did,
// is told, though no cache has the grant any more.
func TestReviewIsTold(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.ReviewWithin = &metav1.Duration{Duration: 3 * time.Second} })
	request := e.Ask(t, alice, ns, nil)
	active := e.Approved(t, bob, request)
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	g := e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
	told := all.wait(t, g.UID, "grant.active", "grant.ended", "review.waiting", "review.overdue")
	if d := told[2].data; d.Phase != "Waiting" || d.EndReason != "Released" || !strings.Contains(d.Message, "to be reviewed") {
		t.Errorf("%+v", d)
	}
	if d := told[3].data; d.Phase != "Overdue" || !strings.Contains(d.Message, "by one of group:sre") || !strings.Contains(d.Message, "alice gets nothing more") {
		t.Errorf("%+v", d)
	}
	if err := kit.PatchDecisions(t, bob, request, map[string]any{"verdict": "Review", "comment": "<!channel> is fine"}); err != nil {
		t.Fatal(err)
	}
	told = all.wait(t, g.UID, "grant.active", "grant.ended", "review.waiting", "review.overdue", "review.done")
	if d := told[4].data; d.Phase != "Done" || d.Message != "reviewed by bob: <!channel> is fine" {
		t.Errorf("%+v", d)
	}
}
