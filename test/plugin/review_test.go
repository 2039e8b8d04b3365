package plugin

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// bob looks back at what alice had; the lists and the record say so.
func TestReview(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].Count, s.ReviewWithin = new(int32), &metav1.Duration{Duration: 24 * time.Hour}
	})
	bob.run(t, "policies", "--all", "-o", "wide").ok(t, "REVIEW WITHIN", "24h")
	alice.run(t, "request", "edit", "-n", ns, "--name", "night", "--for", "1h", "--reason", "INC-42", "--wait").ok(t, "Active")
	alice.run(t, "show", "night", "-n", ns).ok(t, "after the end, by one of those who decide")
	bob.run(t, "review", "night", "-n", ns, "-m", "fine").ends(t, 1, "the access is not over").not(t, "ValidatingAdmissionPolicy")
	bob.run(t, "review", "-n", ns).ok(t, "Nothing waits for your review in namespace "+ns)
	alice.run(t, "release", "night", "-n", ns).ok(t, "night released")
	e.WaitUntil(t, request(ns, "night"), "its review to be waited for", func(r *v1alpha1.AccessRequest) bool { return r.Status.Review.Open() })

	bob.run(t, "review", "-n", ns).ok(t, "night\talice\tClusterRole/edit\t"+ns+"\tCompleted", "Waiting\tINC-42")
	bob.run(t, "review", "-n", ns, "-o", "wide").ok(t, "to be reviewed", "by one of group:sre by")
	carol.run(t, "review", "-A", "-o", "name").ok(t, "accessrequest.jit.accessbroker.dev/night\n")
	alice.run(t, "review", "-n", ns).ok(t, "Nothing waits for your review")
	bob.run(t, "show", "night", "-n", ns).ok(t, "It waits for your review: kubectl access review night -n "+ns+" --comment …", "Reviewed")
	if r := bob.run(t, "__complete", "review", "-n", ns, ""); !strings.Contains(r.out, "night\t") {
		t.Errorf("completion offers %q", r.out)
	}
	if r := alice.run(t, "__complete", "review", "-n", ns, ""); strings.Contains(r.out, "night") {
		t.Errorf("completion offers to the requester %q", r.out)
	}

	bob.run(t, "review", "night", "-n", ns).ends(t, 1, "say with --comment what you found")
	bob.run(t, "review", "-n", ns, "-m", "fine").ends(t, 1, "name the request that you have reviewed")
	alice.run(t, "review", "night", "-n", ns, "-m", "fine").ends(t, 1, "nobody reviews what they had").not(t, "ValidatingAdmissionPolicy")
	alice.run(t, "release", "night", "-n", ns).ends(t, 1, "night is over")
	bob.run(t, "review", "night", "-n", ns, "-m", "restarted the consumers").ok(t, "Who asks", "accessrequest.jit.accessbroker.dev/night reviewed")
	kit.Eventually(t, "the review to be recorded", func(ctx context.Context) (bool, error) {
		r := request(ns, "night")
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(r), r)
		return r.Status.Review == v1alpha1.ReviewDone, err
	})
	bob.run(t, "review", "night", "-n", ns, "-m", "once more").ok(t, "night already reviewed by you")
	carol.run(t, "review", "night", "-n", ns, "-m", "me too").ends(t, 1, "the access is reviewed already")
	bob.run(t, "review", "-n", ns).ok(t, "Nothing waits for your review")
	alice.run(t, "show", "night", "-n", ns).ok(t, "reviewed by bob: restarted the consumers", "Review by bob (group sre): restarted the consumers")
	alice.run(t, "list", "--all", "-n", ns, "-o", "wide").ok(t, "Done")

	vera.run(t, "audit", "-n", ns, "-o", "wide").ok(t, "REVIEW", "Done")
	vera.run(t, "audit", "-n", ns, "-o", "jsonl").ok(t, `"review":"Done","reviewed":"reviewed by bob: restarted the consumers"`)
}
