package attacks

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// Somebody tries to meet stages that are not theirs, or to have more than an approver
// gave. Everybody here is in sre, so that RBAC lets them write decisions.
func TestStages(t *testing.T) {
	t.Parallel()
	inSRE := func(t *testing.T, name string, groups ...string) client.Client {
		t.Helper()
		return e.Person(t, name, append(groups, "sre")...)
	}
	// twoStages asks group left and group right, for alice or whoever edit says.
	twoStages := func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals = []v1alpha1.ApprovalStage{
			{Name: "left", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "left"}}},
			{Name: "right", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "right"}}},
		}
	}
	approves := func(t *testing.T, who client.Client, request *v1alpha1.AccessRequest, more string) error {
		t.Helper()
		return who.Status().Patch(t.Context(), request.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status":{"decisions":[{"verdict":"Approve"`+more+`}]}}`)))
	}

	attack(t, "one person meets two stages", func(t *testing.T) {
		ns, request := matched(t, twoStages)
		kit.MustDecide(t, inSRE(t, "lara", "left", "right"), request, v1alpha1.VerdictApprove)
		says(t, request, "1 of 2 approvals; 1 more of group:right for right")
		mustNot(t, alice, ns)
	})
	attack(t, "one person meets two stages under two spellings", func(t *testing.T) {
		ns, request := matched(t, twoStages)
		kit.MustDecide(t, inSRE(t, "lars", "left"), request, v1alpha1.VerdictApprove)
		kit.MustDecide(t, inSRE(t, "Lars", "right"), request, v1alpha1.VerdictApprove)
		says(t, request, "Lars has approved already")
		mustNot(t, alice, ns)
	})
	refused(t, "subject meets a stage", "would benefit from the access", func(t *testing.T) error {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { twoStages(s); s.Subjects = v1alpha1.SubjectsAny })
		request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "lotta"}} }))
		return kit.Decide(t, inSRE(t, "lotta", "left"), request, v1alpha1.VerdictApprove)
	})
	attack(t, "stage met by its group, which gets the access", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { twoStages(s); s.Subjects = v1alpha1.SubjectsAny })
		mustEnd(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{{Kind: "Group", Name: "left"}} }),
			v1alpha1.RequestDenied, `it needs 1 of group:left in stage "left", and group:left would get the access`)
	})
	refused(t, "decision by somebody who is in no stage", "is not among the approvers in status.approvals", func(t *testing.T) error {
		_, request := matched(t, twoStages)
		return kit.Decide(t, bob, request, v1alpha1.VerdictApprove)
	})
	attack(t, "two of one stage stand for both", func(t *testing.T) {
		ns, request := matched(t, twoStages)
		kit.MustDecide(t, inSRE(t, "linn", "left"), request, v1alpha1.VerdictApprove)
		kit.MustDecide(t, inSRE(t, "lund", "left"), request, v1alpha1.VerdictApprove)
		says(t, request, "1 of 2 approvals; 1 more of group:right for right")
		mustNot(t, alice, ns)
	})
	attack(t, "policy from before, whose approvals are not there", func(t *testing.T) {
		// The API server refuses it, so it is one that was stored before: an approval that
		// is not written down is not taken for one that nobody needs.
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, nil)
		err := e.Admin.Patch(t.Context(), p, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"approvals":null}}`)))
		mustRefuse(t, "spec.approvals: Required value", err)
	})

	attack(t, "cap raised by a later decision of another", func(t *testing.T) {
		_, request := matched(t, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
		for who, limit := range map[client.Client]string{bob: `,"maxDuration":"10m0s"`, carol: `,"maxDuration":"1h0m0s"`} {
			if err := approves(t, who, request, limit); err != nil {
				t.Fatal(err)
			}
		}
		g := e.GrantOf(t, e.WaitFor(t, request, v1alpha1.RequestActive))
		if lasts := g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time); lasts.Minutes() > 10.1 || g.Spec.ShortenedBy != "bob" {
			t.Errorf("it lasts %s, by %q", lasts, g.Spec.ShortenedBy)
		}
	})
	raised := func(limit string) func(*testing.T) error {
		return func(t *testing.T) error {
			_, request := matched(t, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
			if err := approves(t, bob, request, `,"maxDuration":"10m0s"`); err != nil {
				t.Fatal(err)
			}
			return approves(t, bob, request, limit)
		}
	}
	const appendOnly = "append-only: nobody may change or remove a decision"
	refused(t, "cap raised by its author", appendOnly, raised(`,"maxDuration":"50m0s"`))
	refused(t, "moment in place of a duration", appendOnly, raised(`,"notAfter":"2999-01-01T00:00:00Z"`))
	refused(t, "cap raised by its author, in silence", appendOnly, raised(`,"username":"bob","maxDuration":"50m0s"`))
	attack(t, "cap dropped by approving again", func(t *testing.T) {
		_, request := matched(t, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
		if err := approves(t, bob, request, `,"maxDuration":"10m0s"`); err != nil {
			t.Fatal(err)
		}
		if err := approves(t, bob, request, ""); err != nil && e.Stamps {
			t.Fatalf("the same again is refused: %v", err)
		}
		kit.MustDecide(t, carol, request, v1alpha1.VerdictApprove)
		g := e.GrantOf(t, e.WaitFor(t, request, v1alpha1.RequestActive))
		if lasts := g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time); lasts.Minutes() > 10.1 {
			t.Errorf("it lasts %s", lasts)
		}
	})
	refused(t, "cap without an approval", "maxDuration and notAfter go with the verdict Approve alone", func(t *testing.T) error {
		_, request := matched(t, nil)
		return bob.Status().Patch(t.Context(), request.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status":{"decisions":[{"verdict":"Deny","maxDuration":"10m0s"}]}}`)))
	})
	refused(t, "who approved, written into the status", "the status is written by the broker alone", func(t *testing.T) error {
		_, request := matched(t, twoStages)
		forged := request.DeepCopy()
		forged.Status.Approvals[0].Approved = []string{"bob"}
		return mallory.Status().Patch(t.Context(), forged, client.MergeFrom(request))
	})
}
