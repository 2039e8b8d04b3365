package plugin

import (
	"errors"
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

func TestProgressAndOutcome(t *testing.T) {
	over := func(phase v1alpha1.RequestPhase, message string) *v1alpha1.AccessRequest {
		r := anActiveRequest()
		r.Status.Phase = phase
		condition(r, v1alpha1.ConditionEnded, "True", "x", message)
		return r
	}
	fresh := aRequest()
	fresh.Status = v1alpha1.AccessRequestStatus{}
	stuck := aRequest()
	stuck.Status.Conditions = nil
	condition(stuck, v1alpha1.ConditionPolicyMatched, "False", "PolicyNotReady", `policy "p" cannot be used`)
	silent := aRequest()
	silent.Status.Conditions = nil
	starts := aRequest()
	starts.Status.Phase = v1alpha1.RequestApproved
	condition(starts, v1alpha1.ConditionApproved, "True", "WaitingForStartTime", "approved; waits for 2026-05-04T22:00:00Z")
	for _, tc := range []struct {
		request *v1alpha1.AccessRequest
		want    string
		status  int
	}{
		{fresh, "Pending: waiting for the broker", exitOver},
		{stuck, `Pending: policy "p" cannot be used`, exitOver},
		{silent, "Pending: waiting for the broker", exitOver},
		{aRequest(), "Pending: waiting for approval, 0 of 1 approvals; 1 more of group:sre", exitOver},
		{starts, "Approved: approved; waits for 2026-05-04T22:00:00Z", exitOver},
		{anActiveRequest(), "Active: ClusterRole/edit in payments for alice until 2026-05-04T10:59:00Z (59m left)", 0},
		{over(v1alpha1.RequestDenied, "denied by bob: no"), "Denied: denied by bob: no", exitDenied},
		{over(v1alpha1.RequestLapsed, "not decided"), "Lapsed: not decided", exitLapsed},
		{over(v1alpha1.RequestFailed, "no such role"), "Failed: no such role", exitFailed},
		{over(v1alpha1.RequestRevoked, "revoked by bob"), "Revoked: revoked by bob", exitOver},
		{over(v1alpha1.RequestCompleted, "released by alice"), "Completed: released by alice", exitOver},
		{over(v1alpha1.RequestExpired, ""), "Expired: nothing more is known", exitOver},
	} {
		if got := view.Progress(tc.request, now); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
		err := outcome(tc.request, now)
		if (err == nil) != (tc.status == 0) || err != nil && exitStatus(err) != tc.status {
			t.Errorf("%s: %v, want status %d", tc.want, err, tc.status)
		}
		if err != nil && explain(err, "role") != tc.want {
			t.Errorf("%q is not told as it is: %q", tc.want, explain(err, "role"))
		}
	}
}

func TestExitStatus(t *testing.T) {
	if got := exitStatus(errors.New("x")); got != exitError {
		t.Error(got)
	}
	if got := exitStatus(errors.Join(&ended{exitTimeout, "x"}, errors.New("y"))); got != exitTimeout {
		t.Error(got)
	}
}
