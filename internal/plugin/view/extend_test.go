package view

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// What a request for more time says is what the broker found: the spec has no role.
func TestViewOfAnExtension(t *testing.T) {
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	r := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "more"}}
	r.Spec = v1alpha1.AccessRequestSpec{
		Requester: v1alpha1.UserInfo{Username: "alice"}, Extends: "fix", Reason: "not done",
		Duration: &metav1.Duration{Duration: 30 * time.Minute},
	}
	facts := func() map[string]string {
		out := map[string]string{}
		for _, f := range PageOf(r, now).Facts {
			for _, item := range f.Items {
				out[f.Title] = item.Text
			}
		}
		return out
	}
	if got := facts(); got["What"] != "more of fix" || got["Extends"] != "fix" || got["How long"] != "30m more" {
		t.Errorf("before the broker has looked: %v", got)
	}
	r.Status.Extended = &v1alpha1.Extended{
		RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}, Scope: &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}},
		Subjects: []v1alpha1.Subject{{Kind: "User", Name: "dave"}}, PolicyName: "on-call", ExpirationTime: metav1.NewTime(now.Add(20 * time.Minute)),
	}
	for fact, want := range map[string]string{
		"What": "ClusterRole/edit", "Where": "the whole cluster", "For whom": "dave", "Extends": "fix, until 2026-05-04T10:20:00Z",
		"How long": "30m more, until 2026-05-04T10:50:00Z", "Policy": "on-call",
	} {
		if got := facts()[fact]; got != want {
			t.Errorf("%s is %q, want %q", fact, got, want)
		}
	}
	if got := RequestLine(r); got != "alice, ClusterRole/edit in *, Pending" {
		t.Errorf("in one line: %q", got)
	}
	dave := v1alpha1.UserInfo{Username: "dave"}
	if !Mine(r, dave) {
		t.Error("it is not dave's, who gets the access")
	}
	r.Status.Phase = v1alpha1.RequestActive
	if Extendable(r, dave) || !Extendable(r, v1alpha1.UserInfo{Username: "alice"}) {
		t.Error("only the requester extends")
	}
}
