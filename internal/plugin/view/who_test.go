package view

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestWho(t *testing.T) {
	user := func(name string, groups ...string) v1alpha1.UserInfo {
		return v1alpha1.UserInfo{Username: name, Groups: groups}
	}
	alice, bob, mallory := user("alice", "dev"), user("bob", "sre"), user("mallory")
	pending := &v1alpha1.AccessRequest{
		Spec: v1alpha1.AccessRequestSpec{Requester: alice},
		Status: v1alpha1.AccessRequestStatus{
			Phase: v1alpha1.RequestPending, Approvals: []v1alpha1.StageApproval{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}}}, RulesHash: "h1",
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionApproved, Status: "False"}},
		},
	}
	active := pending.DeepCopy()
	active.Status.Phase = v1alpha1.RequestActive
	over := pending.DeepCopy()
	over.Status.Phase, over.Status.Review = v1alpha1.RequestExpired, v1alpha1.ReviewOverdue
	reviewed := over.DeepCopy()
	reviewed.Status.Review = v1alpha1.ReviewDone
	for who, want := range map[string]v1alpha1.UserInfo{"Review": bob, "": mallory} {
		if _, verdicts := Next(over, want); len(verdicts) > 0 != (who != "") || (len(verdicts) > 0 && string(verdicts[0]) != who) {
			t.Errorf("%s is offered %v", want.Username, verdicts)
		}
	}
	for name, tc := range map[string]struct{ got, want bool }{
		"it is alice's":                {Mine(pending, alice), true},
		"it is not bob's":              {Mine(pending, bob), false},
		"bob decides":                  {WaitsForMe(pending, bob), true},
		"mallory does not":             {WaitsForMe(pending, mallory), false},
		"alice does not, were she sre": {WaitsForMe(pending, user("alice", "sre")), false},
		"ALICE is alice":               {WaitsForMe(pending, user("ALICE", "sre")), false},
		"active waits for nobody":      {WaitsForMe(active, bob), false},
		"bob may revoke":               {Revocable(active, bob), true},
		"alice may not":                {Revocable(active, alice), false},
		"nothing to revoke":            {Revocable(pending, bob), false},
		"bob may look back":            {ToReview(over, bob), true},
		"alice may not, were she sre":  {ToReview(over, user("Alice", "sre")), false},
		"a stranger may not":           {ToReview(over, mallory), false},
		"nobody while it is held":      {ToReview(active, bob), false},
		"nobody twice":                 {ToReview(reviewed, bob), false},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v", name, tc.got)
		}
	}
	pending.Status.Decisions = []v1alpha1.Decision{{Username: "bob", Verdict: v1alpha1.VerdictApprove, RulesHash: "h1"}}
	if WaitsForMe(pending, bob) {
		t.Error("bob is asked again")
	}
	pending.Status.RulesHash = "h2"
	if !WaitsForMe(pending, bob) {
		t.Error("bob is not asked again when the role has changed")
	}
}
