package view

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// aCard is a request with these kinds of risks that was made so many minutes ago.
func aCard(name string, minutes int, risks ...string) *v1alpha1.AccessRequest {
	r := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{
		Namespace: "payments", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(noon.Add(-time.Duration(minutes) * time.Minute)),
	}}
	r.Spec = v1alpha1.AccessRequestSpec{
		Requester: v1alpha1.UserInfo{Username: "alice"}, Reason: "INC-42", RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"},
	}
	r.Status.Phase, r.Status.RulesHash = v1alpha1.RequestPending, "h"
	for _, kind := range risks {
		r.Status.Risks = append(r.Status.Risks, v1alpha1.Risk{Kind: kind, Message: "do " + kind})
	}
	return r
}

// What is most dangerous comes first; no known risk, and one of a later version, last.
func TestWorstFirst(t *testing.T) {
	requests := []*v1alpha1.AccessRequest{
		aCard("none", 50, "NoneKnown"), aCard("unknown", 60, "FromTheFuture"), aCard("secrets", 5, "ReadSecrets", "Persist"),
		aCard("secrets-only", 7, "ReadSecrets"), aCard("secrets-older", 8, "ReadSecrets", "Persist"), aCard("pods", 1, "RunPods"), aCard("not-looked", 2), aCard("anything", 0, "DoAnything"),
	}
	slices.SortFunc(requests, WorstFirst)
	names := Each(requests, func(r *v1alpha1.AccessRequest) string { return r.Name })
	if got := strings.Join(names, " "); got != "anything pods secrets-older secrets secrets-only unknown none not-looked" {
		t.Errorf("got %s", got)
	}
	slices.SortFunc(requests, NewestFirst)
	if requests[0].Name != "anything" || requests[len(requests)-1].Name != "unknown" {
		t.Errorf("newest first: %s … %s", requests[0].Name, requests[len(requests)-1].Name)
	}
}

func TestCard(t *testing.T) {
	r := aCard("fix", 3, "RunPods", "NoneKnown")
	r.Spec.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "dave"}}
	r.Status.Approvals = []v1alpha1.StageApproval{
		{Name: "owners", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "pay"}}, Count: ptr.To[int32](1), Approved: []string{"carol"}},
		{Name: "security", From: []v1alpha1.PolicySubject{{Kind: "User", Name: "bob"}}, Count: ptr.To[int32](1)},
	}
	c := CardOf(r, noon)
	if c.ForWhom != "dave" || c.What != "ClusterRole/edit" || c.Where != "namespace payments" || !c.Looked {
		t.Errorf("%+v", c)
	}
	if len(c.Risks) != 1 || c.Risks[0] != "do RunPods" {
		t.Errorf("risks: %q", c.Risks)
	}
	if got := strings.Join(c.Waits, " | "); got != "owners: 1 of group:pay; carol approved | security: 1 of bob" {
		t.Errorf("waits for %s", got)
	}
	if !c.Until.IsZero() {
		t.Errorf("nothing was given, and it lasts until %s", c.Until)
	}
	r.Status.Phase, r.Status.ExpirationTime = v1alpha1.RequestActive, ptr.To(metav1.NewTime(noon.Add(time.Hour)))
	r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionGranted, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon)}}
	c = CardOf(r, noon)
	if len(c.Waits) > 0 || !c.From.Equal(noon) || !c.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("active: %+v", c)
	}
}

// Somebody is the same person under another spelling of their name, and a request is not
// among the others of itself.
func TestSameRequester(t *testing.T) {
	a, b := aCard("a", 1), aCard("b", 2)
	b.Spec.Requester.Username = "Alice"
	if !SameRequester(a, b) || SameRequester(a, a) {
		t.Error("the same person, and another request")
	}
	if b.Spec.Requester.Username = "alicia"; SameRequester(a, b) {
		t.Error("alicia is not alice")
	}
}
