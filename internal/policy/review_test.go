package policy

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func review(username, comment string, groups ...string) v1alpha1.Decision {
	return v1alpha1.Decision{Username: username, Groups: groups, Verdict: v1alpha1.VerdictReview, Comment: comment}
}

func TestReviewed(t *testing.T) {
	t.Parallel()
	another := review("bob", "fine", "sre")
	another.RequestUID = "another"
	ours := review("bob", "fine", "sre")
	ours.RequestUID = thisRequest
	approval := v1alpha1.Decision{Username: "bob", Groups: []string{"sre"}, Verdict: v1alpha1.VerdictApprove, Comment: "fine"}
	for name, test := range map[string]struct {
		decisions []v1alpha1.Decision
		by        string
		ignored   string
	}{
		"nobody":                            {nil, "", ""},
		"an approval is no review":          {[]v1alpha1.Decision{approval}, "", ""},
		"somebody of the stage":             {[]v1alpha1.Decision{ours}, "bob", ""},
		"somebody whose approval was asked": {[]v1alpha1.Decision{approval, ours}, "bob", ""},
		"somebody of a stage with count 0":  {[]v1alpha1.Decision{review("olivia", "fine")}, "olivia", ""},
		"the first of two":                  {[]v1alpha1.Decision{ours, review("olivia", "fine")}, "bob", ""},
		"of another request":                {[]v1alpha1.Decision{another}, "", "another request"},
		"the requester":                     {[]v1alpha1.Decision{review("alice", "fine", "sre")}, "", "alice benefited"},
		"the requester, spelt otherwise":    {[]v1alpha1.Decision{review("Al\u200bICE", "fine", "sre")}, "", "benefited"},
		"the requester in full width":       {[]v1alpha1.Decision{review("ａｌｉｃｅ", "fine", "sre")}, "", "benefited"},
		"a subject":                         {[]v1alpha1.Decision{review("DAVE", "fine", "sre")}, "", "benefited"},
		"a member of a subject group":       {[]v1alpha1.Decision{review("bob", "fine", "sre", "team")}, "", "benefited"},
		"a ServiceAccount that got it":      {[]v1alpha1.Decision{review("system:serviceaccount:payments:migrator", "fine", "sre")}, "", "benefited"},
		"a stranger":                        {[]v1alpha1.Decision{review("mallory", "fine")}, "", "mallory is no approver"},
		"an issued credential":              {[]v1alpha1.Decision{review("system:serviceaccount:access-broker-grants:x", "fine", "sre")}, "", "issued credential"},
		"without a word":                    {[]v1alpha1.Decision{review("bob", "", "sre")}, "", "does not say"},
		"with white space":                  {[]v1alpha1.Decision{review("bob", " \t\u00a0", "sre")}, "", "does not say"},
		"a stranger, then bob":              {[]v1alpha1.Decision{review("mallory", "fine"), ours}, "bob", "mallory"},
	} {
		got := Reviewed(Ballot{
			RequestUID: thisRequest, Requester: v1alpha1.UserInfo{Username: "alice"},
			Subjects: []v1alpha1.Subject{{Kind: "User", Name: "dave"}, {Kind: "Group", Name: "team"}, {Kind: "ServiceAccount", Namespace: "payments", Name: "migrator"}},
			Stages: []v1alpha1.StageApproval{
				{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}, Count: ptr.To[int32](1)},
				{Name: "audit", From: []v1alpha1.PolicySubject{{Kind: "User", Name: "olivia"}}, Count: ptr.To[int32](0)},
			},
			Decisions: test.decisions,
		})
		if got.By != test.by || (got.By != "") != (got.Comment == "fine") || !strings.Contains(strings.Join(got.Ignored, "; "), test.ignored) || (test.ignored == "") != (len(got.Ignored) == 0) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A review decides nothing: before the end it neither approves nor denies.
func TestReviewDecidesNothing(t *testing.T) {
	t.Parallel()
	b := Ballot{RequestUID: thisRequest, RulesHash: rulesNow, Requester: v1alpha1.UserInfo{Username: "alice"}, Subjects: []v1alpha1.Subject{{Kind: "User", Name: "alice"}}, Stages: []v1alpha1.StageApproval{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}, Count: ptr.To[int32](1)}}}
	with := b
	with.Decisions = []v1alpha1.Decision{review("bob", "fine", "sre"), review("alice", "fine")}
	if a, b := Weigh(b), Weigh(with); a.Message != b.Message || b.Approved || b.Denied || b.Revoked || b.Withdrawn || len(b.Approvers) > 0 {
		t.Errorf("with reviews %+v, without %+v", b, a)
	}
}

// Nobody gets access that has to be reviewed and that nobody could review.
func TestUnreviewable(t *testing.T) {
	t.Parallel()
	within := func(p *v1alpha1.AccessPolicySpec) { p.ReviewWithin = &metav1.Duration{Duration: time.Hour} }
	none := func(p *v1alpha1.AccessPolicySpec) { p.Approvals = []v1alpha1.ApprovalStage{} }
	from := func(subjects ...v1alpha1.PolicySubject) ofPolicy {
		return func(p *v1alpha1.AccessPolicySpec) {
			p.Approvals = []v1alpha1.ApprovalStage{{Name: "look", From: subjects, Count: ptr.To[int32](0)}}
		}
	}
	if p := compiled("p", within, none); p.Err() == nil || !strings.Contains(p.Err().Error(), "nobody who could review") {
		t.Errorf("a policy that names nobody: %v", p.Err())
	}
	if p := compiled("p", none); p.Err() != nil {
		t.Errorf("a policy without a review: %v", p.Err())
	}
	self, sre := v1alpha1.PolicySubject{Kind: "User", Name: "ALICE"}, v1alpha1.PolicySubject{Kind: "Group", Name: "sre"}
	for name, test := range map[string]struct {
		edits  []ofPolicy
		answer Answer
	}{
		"somebody else":                  {[]ofPolicy{within, from(self, sre)}, Allowed},
		"the requester alone":            {[]ofPolicy{within, from(self)}, NotAllowed},
		"the requester alone, unasked":   {[]ofPolicy{from(self)}, Allowed},
		"the group that gets the access": {[]ofPolicy{within, forSubjects(v1alpha1.SubjectsAny), from(sre)}, NotAllowed},
	} {
		r := newRequest()
		if strings.Contains(name, "group") {
			r = newRequest(subjects(v1alpha1.Subject{Kind: "Group", Name: "sre"}))
		}
		if m := Find(t.Context(), []*Policy{compiled("p", test.edits...)}, r, noon); m.Answer != test.answer || (m.Answer == NotAllowed && !strings.Contains(m.Message, "nobody could give")) {
			t.Errorf("%s: %s %s", name, m.Answer, m.Message)
		}
	}
}
