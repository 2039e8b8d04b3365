package attacks

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// Somebody whose access has to be reviewed after its end tries to get around that.
func TestReviews(t *testing.T) {
	within := func(d time.Duration) func(*v1alpha1.AccessPolicySpec) {
		return func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count, s.ReviewWithin, s.Subjects = new(int32), &metav1.Duration{Duration: d}, v1alpha1.SubjectsAny
		}
	}
	// given is access of alice that has to be reviewed after its end.
	given := func(t *testing.T, d time.Duration, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
		t.Helper()
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, within(d))
		return e.WaitFor(t, e.Ask(t, alice, ns, edit), v1alpha1.RequestActive)
	}
	// over is the same after its end.
	over := func(t *testing.T, d time.Duration, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
		t.Helper()
		request := given(t, d, edit)
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		return e.WaitUntil(t, request, "a review to be waited for", func(r *v1alpha1.AccessRequest) bool { return r.Status.Review.Open() })
	}
	// reviewIs waits for what the review of a request comes to; its end is past.
	reviewIs := func(t *testing.T, request *v1alpha1.AccessRequest, state v1alpha1.ReviewState, says string) {
		t.Helper()
		kit.Eventually(t, "a review that is "+string(state), func(ctx context.Context) (bool, error) {
			r := &v1alpha1.AccessRequest{}
			err := e.Admin.Get(ctx, client.ObjectKeyFromObject(request), r)
			return r.Status.Review == state && kit.HasMessage(r.Status.Conditions, says), err
		})
	}
	look := func(t *testing.T, c client.Client, request *v1alpha1.AccessRequest, more ...map[string]any) error {
		t.Helper()
		return kit.PatchDecisions(t, c, request, append([]map[string]any{{"verdict": "Review", "comment": "all is well"}}, more...)...)
	}
	daveToo := func(s *v1alpha1.AccessRequestSpec) {
		s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "alice"}, {Kind: "User", Name: "dave"}}
	}

	refused(t, "review by the requester", "nobody reviews what they had", func(t *testing.T) error {
		return look(t, alice, over(t, time.Hour, nil))
	})
	refused(t, "review by somebody who got the access", "nobody reviews what they had", func(t *testing.T) error {
		return look(t, dave, over(t, time.Hour, daveToo))
	})
	refused(t, "review by the requester in capitals", "nobody reviews what they had", func(t *testing.T) error {
		return look(t, e.Person(t, "ALICE", "sre"), over(t, time.Hour, nil))
	})
	attack(t, "review by the requester under a name that looks the same", func(t *testing.T) {
		request := over(t, time.Hour, nil)
		if err := look(t, e.Person(t, "ａｌｉｃｅ", "sre"), request); err != nil {
			t.Fatal(err) // the API server cannot tell
		}
		reviewIs(t, request, v1alpha1.ReviewWaiting, "ａｌｉｃｅ benefited")
	})
	refused(t, "review by a stranger", "mallory is not among the approvers", func(t *testing.T) error {
		return look(t, mallory, over(t, time.Hour, nil))
	})
	refused(t, "review with an issued credential", "approves nothing and reviews nothing", func(t *testing.T) error {
		issued := e.Somebody(t, rest.ImpersonationConfig{UserName: "system:serviceaccount:access-broker-grants:somebody", Groups: []string{"sre", "system:authenticated"}})
		return look(t, issued, over(t, time.Hour, nil))
	})
	refused(t, "review before the end", "the access is not over", func(t *testing.T) error {
		return look(t, bob, given(t, time.Hour, nil))
	})
	refused(t, "review of what was never given", "there is nothing to review", func(t *testing.T) error {
		_, request := matched(t, func(s *v1alpha1.AccessPolicySpec) { s.ReviewWithin = &metav1.Duration{Duration: time.Hour} })
		kit.MustDecide(t, bob, request, v1alpha1.VerdictDeny)
		return look(t, carol, e.WaitFor(t, request, v1alpha1.RequestDenied))
	})
	refused(t, "review without a word", "says in its comment what was found", func(t *testing.T) error {
		return kit.PatchDecisions(t, bob, over(t, time.Hour, nil), map[string]any{"verdict": "Review", "comment": " "})
	})
	refused(t, "review in another's name", "in one's own name", func(t *testing.T) error {
		return rawStatus(t.Context(), bob, over(t, time.Hour, nil), types.JSONPatchType, `[{"op":"add","path":"/status/decisions/-","value":{"verdict":"Review","comment":"fine","username":"carol"}}]`)
	})
	refused(t, "another verdict along with a review", "nothing can be decided after the end", func(t *testing.T) error {
		return look(t, bob, over(t, time.Hour, nil), map[string]any{"verdict": "Approve"})
	})
	attack(t, "review taken back or changed", func(t *testing.T) {
		request := over(t, time.Hour, nil)
		if err := look(t, bob, request); err != nil {
			t.Fatal(err)
		}
		reviewIs(t, request, v1alpha1.ReviewDone, "reviewed by bob: all is well")
		mustRefuse(t, "append-only", mergeStatus(t.Context(), bob, request, `{"status":{"decisions":[]}}`))
		mustRefuse(t, "append-only", rawStatus(t.Context(), bob, request, types.JSONPatchType, `[{"op":"replace","path":"/status/decisions/1/comment","value":"it was a mess"}]`))
		mustRefuse(t, "reviewed already", look(t, carol, request))
	})
	refused(t, "review forged in the status", "the status is written by the broker alone", func(t *testing.T) error {
		return mergeStatus(t.Context(), alice, over(t, time.Hour, nil), `{"status":{"review":"Done"}}`)
	})
	refused(t, "review forged in the grant", "grants are written by the broker alone", func(t *testing.T) error {
		g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: over(t, time.Hour, nil).Status.GrantName}}
		return e.Admin.Status().Patch(t.Context(), g, client.RawPatch(types.MergePatchType, []byte(`{"status":{"review":"Done"}}`)))
	})
	refused(t, "request deleted before the end", "the request stays until that is done", func(t *testing.T) error {
		return alice.Delete(t.Context(), given(t, time.Hour, nil))
	})
	refused(t, "request deleted before the review", "the request stays until that is done", func(t *testing.T) error {
		return alice.Delete(t.Context(), over(t, time.Hour, nil))
	})
	refused(t, "request given an owner before the review", "only the requester adds an owner to a request", func(t *testing.T) error {
		return merge(t, alice, over(t, time.Hour, nil), `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"00000000-0000-0000-0000-000000000000"}]}}`)
	})
	// blocked asks again, as somebody, once the review is overdue.
	blocked := func(t *testing.T, c client.Client, g *v1alpha1.AccessGrant, what string) {
		t.Helper()
		kit.WaitPast(t, g.Status.EndedTime.Add(g.Spec.ReviewWithin.Duration))
		next := e.Ask(t, c, g.Spec.RequestRef.Namespace, nil)
		mustEnd(t, next, v1alpha1.RequestDenied, what)
		mustNot(t, c, g.Spec.RequestRef.Namespace)
	}
	attack(t, "requester asks again while the review is overdue", func(t *testing.T) {
		request := over(t, time.Second, nil)
		blocked(t, alice, e.GrantOf(t, request), fmt.Sprintf("alice nothing more before what they had is reviewed: request %s/%s", request.Namespace, request.Name))
	})
	attack(t, "the same person asks again under another spelling", func(t *testing.T) {
		request := over(t, time.Second, nil)
		blocked(t, e.Person(t, "Ａlice", "dev"), e.GrantOf(t, request), "request "+request.Namespace+"/"+request.Name)
	})
	attack(t, "request deleted by the owner that it was made with", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, within(time.Second))
		owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "owner"}}
		kit.Create(t, e.Admin, owner)
		request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: "owned", OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
		}, Spec: v1alpha1.AccessRequestSpec{RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}, Reason: "INC-42"}}
		if !e.Stamps {
			t.Skip("the requester is written by hand there, as other tests show")
		}
		kit.Create(t, alice, request)
		request = e.WaitFor(t, request, v1alpha1.RequestActive)
		kit.Delete(t, e.Admin, owner)
		g := e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndRequestDeleted)
		blocked(t, alice, g, "AccessGrant "+g.Name)
	})
	attack(t, "policy asks for no review any more", func(t *testing.T) {
		request := over(t, time.Second, nil)
		g := e.GrantOf(t, request)
		p := &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: g.Spec.PolicyRef.Name}}
		e.Patch(t, p, `{"spec":{"reviewWithin":null}}`)
		blocked(t, alice, g, "before what they had is reviewed")
		if err := look(t, bob, request); err != nil {
			t.Fatal(err)
		}
		kit.Eventually(t, "alice to be given access again", func(context.Context) (bool, error) {
			again := e.WaitUntil(t, e.Ask(t, alice, request.Namespace, nil), "an answer", func(r *v1alpha1.AccessRequest) bool {
				return r.Status.Phase == v1alpha1.RequestActive || r.Status.Phase.Ended()
			})
			return again.Status.Phase == v1alpha1.RequestActive, nil
		})
	})
}
