package notify

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

var start = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

func at(seconds int) metav1.Time {
	return metav1.NewTime(start.Add(time.Duration(seconds) * time.Second))
}

// request is one in a phase, with conditions.
func request(phase v1alpha1.RequestPhase, matched bool, conditions ...metav1.Condition) *v1alpha1.AccessRequest {
	r := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "fix", UID: "r1", CreationTimestamp: at(0)},
		Spec: v1alpha1.AccessRequestSpec{
			Requester: v1alpha1.UserInfo{Username: "alice"}, Reason: "why not",
			RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"},
		},
		Status: v1alpha1.AccessRequestStatus{Phase: phase, Conditions: conditions},
	}
	if matched {
		r.Status.Policy = &v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "on-call", UID: "p1"}, Generation: 1}
		r.Status.Approvals = []v1alpha1.StageApproval{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}}}
	}
	return r
}

func is(kind string, status metav1.ConditionStatus, seconds int) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, LastTransitionTime: at(seconds), Reason: "Because", Message: "it is so"}
}

func TestOfRequest(t *testing.T) {
	t.Parallel()
	const yes, no = metav1.ConditionTrue, metav1.ConditionFalse
	matched := is(v1alpha1.ConditionPolicyMatched, yes, 1)
	waiting, approved := is(v1alpha1.ConditionApproved, no, 1), is(v1alpha1.ConditionApproved, yes, 5)
	active, over := is(v1alpha1.ConditionGranted, yes, 6), is(v1alpha1.ConditionGranted, no, 9)
	ended := is(v1alpha1.ConditionEnded, yes, 9)
	given := &v1alpha1.AccessGrant{}
	given.Spec.RequestRef.UID = "r1"
	granted := at(6)
	automatic := func(r *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
		r.Status.Approvals = nil
		return r
	}
	given.Status.GrantedTime = &granted
	stranger := given.DeepCopy()
	stranger.Spec.RequestRef.UID = "r2"

	for name, tc := range map[string]struct {
		request *v1alpha1.AccessRequest
		given   *v1alpha1.AccessGrant
		want    []string
	}{
		"new":                      {request("", false), nil, nil},
		"no policy is ready":       {request("Pending", false, is(v1alpha1.ConditionPolicyMatched, no, 1)), nil, nil},
		"waits":                    {request("Pending", true, matched, waiting), nil, []string{"r1.pending.1"}},
		"waits again":              {request("Pending", true, matched, is(v1alpha1.ConditionApproved, no, 7)), nil, []string{"r1.pending.7"}},
		"approved for later":       {request("Approved", true, matched, approved), nil, []string{"r1.pending.1", "r1.approved.5"}},
		"active":                   {request("Active", true, matched, approved, active), given, []string{"r1.pending.1", "r1.approved.5", "r1.active.6"}},
		"over, all untold":         {request("Expired", true, matched, approved, over, ended), given, []string{"r1.pending.1", "r1.approved.5", "r1.active.6", "r1.expired.9"}},
		"over, the grant is gone":  {request("Revoked", true, matched, approved, over, ended), nil, []string{"r1.pending.1", "r1.approved.5", "r1.active.9", "r1.revoked.9"}},
		"the grant is another's":   {request("Revoked", true, matched, approved, over, ended), stranger, []string{"r1.pending.1", "r1.approved.5", "r1.active.9", "r1.revoked.9"}},
		"needs nobody":             {automatic(request("Pending", true, matched, approved)), nil, []string{"r1.approved.5"}},
		"needed nobody, over":      {automatic(request("Expired", true, matched, approved, over, ended)), given, []string{"r1.approved.5", "r1.active.6", "r1.expired.9"}},
		"denied at once":           {request("Denied", false, is(v1alpha1.ConditionPolicyMatched, no, 1), ended), nil, []string{"r1.denied.9"}},
		"denied by somebody":       {request("Denied", true, matched, waiting, ended), nil, []string{"r1.pending.1", "r1.denied.9"}},
		"ended without conditions": {request("Failed", true), nil, []string{"r1.pending.0", "r1.failed.0"}},
	} {
		var got []string
		for _, tr := range ofRequest(tc.request, tc.given) {
			if tr.isEnd() != (string(tc.request.Status.Phase) == tr.phase && tc.request.Status.Phase.Ended()) {
				t.Errorf("%s: %s is the end: %v", name, tr.phase, tr.isEnd())
			}
			if !slices.Contains(Types, tr.eventType) {
				t.Errorf("%s: unknown type %s", name, tr.eventType)
			}
			short := newTransition("r1", tr.eventType, tr.phase, time.Unix(int64(tr.at.Sub(start).Seconds()), 0))
			if tr.id != newTransition("r1", tr.eventType, tr.phase, tr.at).id {
				t.Errorf("%s: id %s", name, tr.id)
			}
			got = append(got, short.id)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

func TestOfGrant(t *testing.T) {
	t.Parallel()
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{UID: "g1"}}
	steps := func() (out []string) {
		for _, tr := range ofGrant(g) {
			out = append(out, tr.eventType)
		}
		return out
	}
	if got := steps(); got != nil {
		t.Errorf("pending: %v", got)
	}
	granted, ended := at(1), at(2)
	g.Status.Phase, g.Status.GrantedTime = v1alpha1.GrantActive, &granted
	if got := steps(); !slices.Equal(got, []string{"dev.accessbroker.grant.active"}) {
		t.Errorf("active: %v", got)
	}
	g.Status.Conditions = []metav1.Condition{is(v1alpha1.ConditionExpiresSoon, metav1.ConditionTrue, 2)}
	if got := steps(); !slices.Equal(got, []string{"dev.accessbroker.grant.active", "dev.accessbroker.grant.expiring"}) {
		t.Errorf("expires soon: %v", got)
	}
	g.Status.Conditions = nil
	g.Status.Phase, g.Status.EndedTime = v1alpha1.GrantEnded, &ended
	if got := steps(); !slices.Equal(got, []string{"dev.accessbroker.grant.active", "dev.accessbroker.grant.ended"}) {
		t.Errorf("ended: %v", got)
	}
	// What was found of its use, in order of its moment.
	g.Status.EndReason = v1alpha1.EndIdle
	g.Status.Conditions = []metav1.Condition{
		is(v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, 9), is(v1alpha1.ConditionLeftBehind, metav1.ConditionTrue, 5),
		is(v1alpha1.ConditionUsed, metav1.ConditionTrue, 5), is(v1alpha1.ConditionSuspicious, metav1.ConditionTrue, 1),
	}
	want := []string{
		"dev.accessbroker.grant.active", "dev.accessbroker.usage.suspicious", "dev.accessbroker.usage.idle", "dev.accessbroker.grant.ended",
		"dev.accessbroker.usage.leftbehind", "dev.accessbroker.usage.sessionsopen",
	}
	if got := steps(); !slices.Equal(got, want) {
		t.Errorf("used: %v", got)
	}
	for _, tr := range ofGrant(g) {
		if !slices.Contains(Types, tr.eventType) {
			t.Errorf("%s is no type", tr.eventType)
		}
	}
	for _, tr := range ofGrant(g) {
		if tr.isEnd() != (tr.eventType == "dev.accessbroker.grant.ended") {
			t.Errorf("%s is the end: %v", tr.eventType, tr.isEnd())
		}
	}
	// Each state of the review is a moment of its own; where nobody can look back any
	// more, it is overdue at once.
	looked := g.DeepCopy()
	for _, step := range []struct {
		state  v1alpha1.ReviewState
		reason string
		want   string
	}{
		{v1alpha1.ReviewWaiting, v1alpha1.ReasonWaitingForReview, "dev.accessbroker.review.waiting"},
		{v1alpha1.ReviewOverdue, v1alpha1.ReasonReviewOverdue, "dev.accessbroker.review.overdue"},
		{v1alpha1.ReviewDone, v1alpha1.ReasonReviewed, "dev.accessbroker.review.done"},
		{v1alpha1.ReviewWaiting, v1alpha1.ReasonRequestGone, "dev.accessbroker.review.overdue"},
	} {
		c := is(v1alpha1.ConditionReviewed, metav1.ConditionFalse, 12)
		c.Reason = step.reason
		looked.Status.Review, looked.Status.Conditions = step.state, append(slices.Clone(g.Status.Conditions), c)
		all := ofGrant(looked)
		if last := all[len(all)-1]; last.eventType != step.want || last.isEnd() || !slices.Contains(Types, last.eventType) || grantData(looked, last).Message != c.Message {
			t.Errorf("%s: %+v", step.reason, last)
		}
	}
	// What was found in the second of the end was found before it.
	together := g.DeepCopy()
	together.Status.Conditions[3].LastTransitionTime = ended
	if got := ofGrant(together); got[1].eventType != "dev.accessbroker.usage.suspicious" || got[3].eventType != "dev.accessbroker.grant.ended" {
		t.Errorf("within a second: %v", got)
	}
	again := g.DeepCopy()
	again.Status.Conditions[3].LastTransitionTime = at(3)
	if before, after := ofGrant(g)[1], ofGrant(again); has(after, before) {
		t.Error("another finding is taken for the first")
	}
	for i := range g.Status.Conditions {
		g.Status.Conditions[i].Status = metav1.ConditionUnknown
	}
	g.Status.EndReason = v1alpha1.EndExpired
	if got := steps(); !slices.Equal(got, []string{"dev.accessbroker.grant.active", "dev.accessbroker.grant.ended"}) {
		t.Errorf("nothing is known of its use: %v", got)
	}
	g.Status.Conditions = nil
	// It never came to be Active.
	g.Status.GrantedTime = nil
	if got := steps(); !slices.Equal(got, []string{"dev.accessbroker.grant.ended"}) {
		t.Errorf("ended at once: %v", got)
	}
}
