package e2e

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// reviewIs waits for what the review of a request comes to; its end is past.
func reviewIs(t *testing.T, request *v1alpha1.AccessRequest, state v1alpha1.ReviewState, says string) {
	t.Helper()
	kit.Eventually(t, "a review that is "+string(state), func(ctx context.Context) (bool, error) {
		r, g := &v1alpha1.AccessRequest{}, &v1alpha1.AccessGrant{}
		if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(request), r); err != nil || r.Status.GrantName == "" {
			return false, err
		}
		err := e.Admin.Get(ctx, client.ObjectKey{Name: r.Status.GrantName}, g)
		return r.Status.Review == state && g.Status.Review == state && kit.HasMessage(r.Status.Conditions, says) && kit.HasMessage(g.Status.Conditions, says), err
	})
}

// A review from the first to the last day: at night dave takes what nobody has to
// approve. Nobody looks back in time, so dave gets nothing more, until erin has looked,
// with the command of the documents.
func TestReview(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.ReviewWithin = &metav1.Duration{Duration: 5 * time.Second} }))
	request := e.WaitFor(t, e.Ask(t, dave, ns, nil), v1alpha1.RequestActive)
	second := e.WaitFor(t, e.Ask(t, dave, ns, nil), v1alpha1.RequestActive)
	if !kit.Can(t, dave, ns) {
		t.Fatal("dave holds nothing: this shows nothing")
	}
	kit.MustDecide(t, bob, request, v1alpha1.VerdictRevoke)
	reviewIs(t, request, v1alpha1.ReviewWaiting, "to be reviewed by one of group:sre by")
	reviewIs(t, request, v1alpha1.ReviewOverdue, "dave gets nothing more")
	denied := e.WaitFor(t, e.Ask(t, dave, ns, nil), v1alpha1.RequestDenied)
	if !kit.HasMessage(denied.Status.Conditions, "request "+ns+"/"+request.Name) {
		t.Errorf("nobody can tell why: %s", kit.Describe(denied.Status.Conditions))
	}
	if e.WaitFor(t, e.Ask(t, alice, ns, nil), v1alpha1.RequestActive); !kit.Can(t, dave, ns) {
		t.Error("dave has lost what was held already")
	}

	// bob, who took it away, may look back too; so may erin.
	body := `{"status":{"decisions":[{"verdict":"Review","comment":"restarted the consumers, nothing else"}]}}`
	target := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: request.Name}}
	if err := erin.Status().Patch(t.Context(), target, client.RawPatch(types.MergePatchType, []byte(body))); err != nil {
		t.Fatal(err)
	}
	reviewIs(t, request, v1alpha1.ReviewDone, "reviewed by erin: restarted the consumers, nothing else")
	again := e.WaitFor(t, e.Ask(t, dave, ns, nil), v1alpha1.RequestActive)
	if err := dave.Delete(t.Context(), request); err != nil {
		t.Errorf("a request that is reviewed is not deleted by its requester: %v", err)
	}
	if g := e.GrantOf(t, again); g.Spec.ReviewWithin == nil {
		t.Error("the next grant asks for no review")
	}
	if e.WaitFor(t, second, v1alpha1.RequestActive).Status.Review != v1alpha1.ReviewAfterEnd {
		t.Error("what is held does not say that it will be reviewed")
	}
}

// What waits for a review is known after a restart, and outlives the shortest retention
// until it is reviewed.
func TestReviewAfterARestart(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.ReviewWithin = &metav1.Duration{Duration: time.Second} }))
	request := e.WaitFor(t, e.Ask(t, alice, ns, nil), v1alpha1.RequestActive)
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	reviewIs(t, request, v1alpha1.ReviewOverdue, "")
	_, plain := released(t) // has no review, and goes
	g := e.GrantOf(t, request)
	whileOtherBroker(t, "forgetful", func() {
		e.WaitGone(t, plain.DeepCopy())
		if isGone(t.Context(), request) || isGone(t.Context(), g) {
			t.Fatal("the record went before anybody looked back")
		}
		denied := e.WaitFor(t, e.Ask(t, alice, ns, nil), v1alpha1.RequestDenied)
		if !kit.HasReason(denied.Status.Conditions, v1alpha1.ReasonReviewOverdue) {
			t.Errorf("it is not the review: %s", kit.Describe(denied.Status.Conditions))
		}
		if err := kit.PatchDecisions(t, bob, request, map[string]any{"verdict": "Review", "comment": "fine"}); err != nil {
			t.Fatal(err)
		}
		e.WaitGone(t, request.DeepCopy())
		e.WaitGone(t, g.DeepCopy())
	}, "--request-retention=1s", "--grant-retention=1s")
}
