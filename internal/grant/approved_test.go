package grant

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
)

// approval is the approval of whole().
func approval() Approval {
	g := whole(func(s *v1alpha1.AccessGrantSpec) { s.NotBefore = metav1.NewTime(deadline.Add(-2 * time.Hour)) })
	return Approval{
		Request: &v1alpha1.AccessRequest{
			ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(deadline.Add(-3 * time.Hour))},
			Spec:       v1alpha1.AccessRequestSpec{Task: &g.Spec.Task.TaskRef}, Status: v1alpha1.AccessRequestStatus{Phase: v1alpha1.RequestPending},
		},
		PolicyUID: "policy", Match: policy.Match{Answer: policy.Allowed}, Outcome: policy.Outcome{Approved: true}, Grant: g,
	}
}

// forgeries are the ways in which a grant is not what was approved, each with its
// message.
var forgeries = map[string]struct {
	forge func(*v1alpha1.AccessGrant, *Approval)
	says  string
}{
	"the policy does not allow it": {func(_ *v1alpha1.AccessGrant, a *Approval) {
		a.Match = policy.Match{Answer: policy.NotAllowed, Message: "no policy allows it"}
		a.Grant = nil
	}, "no policy allows it"},
	"nobody approved":        {func(_ *v1alpha1.AccessGrant, a *Approval) { a.Outcome = policy.Outcome{Message: "0 of 1 approvals"} }, "0 of 1 approvals"},
	"the name":               {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Name = "another" }, "its name"},
	"a policy of the name":   {func(_ *v1alpha1.AccessGrant, a *Approval) { a.PolicyUID = "another" }, "its policy was replaced"},
	"a request that is over": {func(_ *v1alpha1.AccessGrant, a *Approval) { a.Request.Status.Phase = v1alpha1.RequestDenied }, "the request is over (Denied)"},
	"before its time":        {func(_ *v1alpha1.AccessGrant, a *Approval) { a.Request.Spec.StartTime = &metav1.Time{Time: deadline} }, "before the startTime"},
	"before the request":     {func(_ *v1alpha1.AccessGrant, a *Approval) { a.Request.CreationTimestamp = metav1.NewTime(deadline) }, "it lasts from"},
	"for longer": {func(g *v1alpha1.AccessGrant, _ *Approval) {
		g.Spec.ExpirationTime = metav1.NewTime(deadline.Add(time.Second))
	}, "it lasts from"},
	"from some time to come":  {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.NotBefore = metav1.NewTime(deadline) }, "it lasts from"},
	"without its task":        {func(_ *v1alpha1.AccessGrant, a *Approval) { a.Grant.Spec.Task = nil }, "its task does not exist"},
	"another task":            {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Task.UID = "another" }, "requester, subjects or task"},
	"another subject":         {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Subjects = list(user("mallory")) }, "requester, subjects or task"},
	"one subject more":        {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Subjects = append(g.Spec.Subjects, user("mallory")) }, "requester, subjects or task"},
	"another requester":       {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Requester.Username = "mallory" }, "requester, subjects or task"},
	"groups of the requester": {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Requester.Groups = []string{"admins"} }, "requester, subjects or task"},
	"another key":             {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.CredentialKey = "another" }, "its credential is for another key"},
	"no review": {func(_ *v1alpha1.AccessGrant, a *Approval) {
		a.Grant.Spec.ReviewWithin = &metav1.Duration{Duration: time.Hour}
	}, "asks for a review after the end"},
	"a later review": {func(g *v1alpha1.AccessGrant, a *Approval) {
		g.Spec.ReviewWithin, a.Grant.Spec.ReviewWithin = &metav1.Duration{Duration: 2 * time.Hour}, &metav1.Duration{Duration: time.Hour}
	}, "asks for a review after the end"},
	"another role": {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.RoleRef.Name = "admin" }, "its role"},
	"rules of one's own": {func(g *v1alpha1.AccessGrant, _ *Approval) {
		g.Spec.Rules = []v1alpha1.PolicyRule{{Verbs: []string{"*"}}}
	}, "its role"},
	"what the role allows":      {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.RoleRules = nil }, "its role"},
	"the fingerprint":           {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.RulesHash = "another" }, "its role"},
	"the whole cluster":         {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Cluster = true }, "its scope"},
	"another namespace":         {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Namespaces = list(namespace("kube-system")) }, "its scope"},
	"what it extends":           {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Extends.Name = "another" }, "it extends another grant"},
	"how often it was extended": {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Extends.Extensions = 2 }, "it extends another grant"},
	"more than it extends": {func(_ *v1alpha1.AccessGrant, a *Approval) {
		a.Before = approvedGrant()
		a.Before.Spec.RoleUID = "another"
	}, "the role would not be the same"},
	"a namespace of that name": {func(g *v1alpha1.AccessGrant, _ *Approval) { g.Spec.Namespaces[0].UID = "another" }, "its scope"},
}

func approvedGrant() *v1alpha1.AccessGrant { return approval().Grant }

func TestNotApproved(t *testing.T) {
	if end := NotApproved(approvedGrant(), approval(), before); end != nil {
		t.Fatalf("what was approved is refused: %s", end.Message)
	}
	shorter := approvedGrant()
	shorter.Spec.ExpirationTime = metav1.NewTime(deadline.Add(-time.Hour))
	shorter.Spec.Namespaces = shorter.Spec.Namespaces[:1]
	if end := NotApproved(shorter, approval(), before); end != nil {
		t.Errorf("less than was approved is refused: %s", end.Message)
	}
	for name, test := range forgeries {
		t.Run(name, func(t *testing.T) {
			g, a := approvedGrant(), approval()
			test.forge(g, &a)
			if end := NotApproved(g, a, before); end == nil || end.Reason != v1alpha1.EndNotApproved || !strings.Contains(end.Message, test.says) {
				t.Errorf("got %+v, want %q", end, test.says)
			}
		})
	}
	for verdict, outcome := range map[v1alpha1.EndReason]policy.Outcome{
		v1alpha1.EndDenied: {Denied: true, By: "bob"}, v1alpha1.EndRevoked: {Revoked: true, By: "bob"}, v1alpha1.EndReleased: {Withdrawn: true, By: "alice"},
	} {
		a := approval()
		a.Outcome = outcome
		if end := NotApproved(approvedGrant(), a, before); end == nil || end.Reason != verdict || end.By != outcome.By {
			t.Errorf("%s: got %+v", verdict, end)
		}
	}
}

// FuzzNotApproved: a grant that differs from what was approved in one way or several
// is not approved.
func FuzzNotApproved(f *testing.F) {
	names := slices.Sorted(maps.Keys(forgeries))
	f.Add(uint64(0))
	f.Add(uint64(5))
	f.Fuzz(func(t *testing.T, which uint64) {
		g, a := approvedGrant(), approval()
		forged := false
		for i, name := range names {
			if which>>i&1 == 0 || a.Grant == nil {
				continue
			}
			forgeries[name].forge(g, &a)
			forged = true
		}
		if end := NotApproved(g, a, before); (end != nil) != forged {
			t.Errorf("%b: got %+v", which, end)
		}
	})
}
