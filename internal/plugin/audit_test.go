package plugin

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

// grants are one that has ended and one that is held.
func someGrants() []v1alpha1.AccessGrant {
	ended := v1alpha1.AccessGrant{
		ObjectMeta: metav1.ObjectMeta{Name: "fix-1"},
		Spec: v1alpha1.AccessGrantSpec{
			RequestRef: v1alpha1.RequestRef{Namespace: "payments", ObjectRef: v1alpha1.ObjectRef{Name: "fix"}},
			Requester:  v1alpha1.UserInfo{Username: "alice"},
			Subjects:   []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: "alice"}}},
			RoleRef:    &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"},
			Namespaces: []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: "payments"}}},
			PolicyRef:  v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "on-call"}},
			Decisions:  []v1alpha1.Decision{{Username: "bob"}, {Username: "carol"}},
			Reason:     `=HYPERLINK("http://evil","click")`, Ticket: "INC-42",
			NotBefore: metav1.NewTime(now.Add(-2 * time.Hour)), ExpirationTime: metav1.NewTime(now.Add(-time.Hour)),
			Summary: v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "payments", Approvers: "bob,carol"},
		},
		Status: v1alpha1.AccessGrantStatus{
			Phase: v1alpha1.GrantEnded, EndReason: v1alpha1.EndReleased, EndedBy: "alice",
			GrantedTime: &metav1.Time{Time: now.Add(-2*time.Hour + time.Second)}, EndedTime: &metav1.Time{Time: now.Add(-90 * time.Minute)},
			Conditions: []metav1.Condition{{Type: "AccessRemoved", Status: "True"}, {Type: "StandingAccess", Status: "True", Message: "get pods,\nby old"}},
		},
	}
	ended.Spec.ReviewWithin, ended.Status.Review = &metav1.Duration{Duration: time.Hour}, v1alpha1.ReviewDone
	ended.Status.Conditions = append(ended.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReviewed, Status: "True", Message: "reviewed by carol: =restarted,\nnothing else"})
	held := v1alpha1.AccessGrant{
		ObjectMeta: metav1.ObjectMeta{Name: "migrate-1"},
		Spec: v1alpha1.AccessGrantSpec{
			RequestRef: v1alpha1.RequestRef{Namespace: "payments", ObjectRef: v1alpha1.ObjectRef{Name: "migrate"}},
			Requester:  v1alpha1.UserInfo{Username: "system:serviceaccount:payments:migrator"},
			Subjects:   []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "ServiceAccount", Namespace: "payments", Name: "migrator"}}},
			Cluster:    true, Reason: "schema 42",
			PolicyRef: v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "jobs"}},
			NotBefore: metav1.NewTime(now.Add(-time.Hour)), ExpirationTime: metav1.NewTime(now.Add(time.Hour)),
			Summary: v1alpha1.GrantSummary{Subjects: "sa:payments/migrator", Role: "rules", Scope: "*"},
		},
		Status: v1alpha1.AccessGrantStatus{Phase: v1alpha1.GrantActive},
	}
	return []v1alpha1.AccessGrant{ended, held}
}

func TestAuditFormats(t *testing.T) {
	var b strings.Builder
	write(&b, view.Grants(someGrants(), nil, now, false), true)
	b.WriteString("\n")
	write(&b, view.Grants(someGrants(), nil, now, true), false)
	b.WriteString("\n")
	if err := view.WriteCSV(&b, view.Refs(someGrants()), nil, true); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	if err := writeLines(&b, someGrants(), nil); err != nil {
		t.Fatal(err)
	}
	golden(t, "audit.txt", b.String())
}
