package plugin

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s, -want +got:\n%s", name, diff)
	}
}

// aRequest of alice for edit that waits for sre.
func aRequest() *v1alpha1.AccessRequest {
	r := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "payments", Name: "edit-x7k2p", UID: "u1", ResourceVersion: "42",
			CreationTimestamp: metav1.NewTime(now.Add(-2 * time.Minute)),
		},
		Spec: v1alpha1.AccessRequestSpec{
			Requester: v1alpha1.UserInfo{Username: "alice", Groups: []string{"dev", "system:authenticated"}},
			RoleRef:   &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"},
			Duration:  &metav1.Duration{Duration: time.Hour},
			Reason:    "INC-42: stuck consumers",
		},
		Status: v1alpha1.AccessRequestStatus{
			Phase:     v1alpha1.RequestPending,
			Policy:    &v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "payments-on-call"}},
			Approvals: []v1alpha1.StageApproval{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}, Count: ptr.To[int32](1)}},
			RulesHash: "h1",
			Rules: []string{
				"get,list,watch pods,pods/log,services,deployments.apps,deployments.apps/scale",
				"delete secrets tmp",
				"get /metrics",
			},
			Risks: []v1alpha1.Risk{{Kind: "RunPods", Message: "run pods as any ServiceAccount of the namespace"}},
		},
	}
	condition(r, v1alpha1.ConditionPolicyMatched, "True", "Matched", `policy "payments-on-call" allows it`)
	condition(r, v1alpha1.ConditionApproved, "False", "WaitingForApproval", "0 of 1 approvals; 1 more of group:sre")
	return r
}

func condition(r *v1alpha1.AccessRequest, kind string, status metav1.ConditionStatus, reason, message string) {
	for i := range r.Status.Conditions {
		if r.Status.Conditions[i].Type == kind {
			r.Status.Conditions = append(r.Status.Conditions[:i], r.Status.Conditions[i+1:]...)
			break
		}
	}
	r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
}

// anActiveRequest is one that bob approved.
func anActiveRequest() *v1alpha1.AccessRequest {
	r := aRequest()
	r.Status.Phase = v1alpha1.RequestActive
	r.Status.GrantName = "edit-x7k2p-2c41d5d7b1a0c9e3"
	r.Status.ExpirationTime = &metav1.Time{Time: now.Add(59 * time.Minute)}
	r.Status.Decisions = []v1alpha1.Decision{{Username: "bob", Groups: []string{"sre"}, Verdict: "Approve", Comment: "go ahead", RulesHash: "h1"}}
	condition(r, v1alpha1.ConditionApproved, "True", "Approved", "approved by bob")
	condition(r, v1alpha1.ConditionGranted, "True", "Granted", "ClusterRole/edit in payments for alice until 2026-05-04T10:59:00Z")
	condition(r, v1alpha1.ConditionStandingAccess, "True", "OtherBindings", "held without this request: get pods: by RoleBinding old")
	return r
}

// aHostileRequest tries to lie to whoever looks at it.
func aHostileRequest() *v1alpha1.AccessRequest {
	r := aRequest()
	r.Spec.Reason = "harmless\x1b[2K\r\nRisks: none\u202e"
	r.Spec.RoleRef.Name = "vie\u200bw"
	r.Spec.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "j", CompleteWhen: "true\n\nPolicy none"}
	r.Spec.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: "payments", Name: "migrator"}, {Kind: "User", Name: "al\u0456ce"}}
	r.Spec.Scope = &v1alpha1.Scope{Namespaces: []string{"billing", "payments"}}
	r.Spec.StartTime = &metav1.Time{Time: now.Add(time.Hour)}
	r.Status.Rules[0] = "get,list,watch pods\x07"
	r.Status.Decisions = []v1alpha1.Decision{{Username: "carol", Verdict: "Approve", Comment: "\u2066ok", RulesHash: "h0"}}
	return r
}

func TestPage(t *testing.T) {
	golden(t, "pending.txt", page(view.PageOf(aRequest(), now), term.Style{}))
	golden(t, "active.txt", page(view.PageOf(anActiveRequest(), now), term.Style{}))
	golden(t, "colours.txt", page(view.PageOf(anActiveRequest(), now), term.Style{Terminal: true, Colour: true}))
	golden(t, "hostile.txt", page(view.PageOf(aHostileRequest(), now), term.Style{}))

	fresh := aRequest()
	fresh.Status = v1alpha1.AccessRequestStatus{}
	fresh.Spec.RoleRef, fresh.Spec.Duration, fresh.Spec.PolicyName = nil, nil, "break-glass"
	fresh.Spec.Scope = &v1alpha1.Scope{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "a"}}}
	fresh.Spec.Rules = []v1alpha1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}
	golden(t, "fresh.txt", page(view.PageOf(fresh, now), term.Style{}))

	over := anActiveRequest()
	over.Status.Phase, over.Status.Review = v1alpha1.RequestExpired, v1alpha1.ReviewWaiting
	condition(over, v1alpha1.ConditionEnded, "True", "Expired", "the time was up")
	condition(over, v1alpha1.ConditionReviewed, "False", "WaitingForReview", "to be reviewed by one of group:sre by 2026-05-05T10:59:00Z: kubectl access review edit-x7k2p -n payments --comment …")
	var table strings.Builder
	write(&table, view.Reviews([]v1alpha1.AccessRequest{*over}, now, true, false), true)
	write(&table, view.Reviews([]v1alpha1.AccessRequest{*over}, now, false, true), false)
	golden(t, "review.txt", page(view.PageOf(over, now), term.Style{})+next(over, v1alpha1.UserInfo{Username: "bob", Groups: []string{"sre"}})+"\n"+table.String())

	// What those who decide are asked about is what the names came to.
	fresh.Spec.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
	fresh.Status.Pins = &v1alpha1.Pins{Namespaces: []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: "a-1"}}, {ObjectRef: v1alpha1.ObjectRef{Name: "a-2"}}}, Task: &v1alpha1.TaskPin{}}
	for _, want := range []string{"namespaces with team=a, now a-1, a-2", "Job migrate runs, which is not there yet: the first of that name counts"} {
		if got := page(view.PageOf(fresh, now), term.Style{}); !strings.Contains(got, want) {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
}

// write lays a table out, with headers.
func write(w io.Writer, t view.Table, terminal bool) {
	term.Style{Terminal: terminal}.WriteTable(w, t.Header, t.Rows, true)
}

func TestRequestTable(t *testing.T) {
	older := anActiveRequest()
	older.CreationTimestamp = metav1.NewTime(now.Add(-time.Hour))
	requests := []v1alpha1.AccessRequest{*aRequest(), *older}
	show := func(everywhere, toApprove, wide bool) string {
		var b strings.Builder
		write(&b, view.Requests(requests, now, everywhere, toApprove, wide), true)
		return b.String()
	}
	golden(t, "list.txt", show(false, false, false)+"\n"+show(true, true, false)+"\n"+show(false, false, true)+"\n"+show(true, true, true))
}

func TestPolicyTable(t *testing.T) {
	day := func(day int) time.Time { return time.Date(2026, time.November, day, 22, 0, 0, 0, time.UTC) }
	policies := []v1alpha1.AccessPolicy{
		{
			ObjectMeta: metav1.ObjectMeta{Name: "on-call"},
			Spec: v1alpha1.AccessPolicySpec{
				Requesters: v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "dev"}), Approvals: []v1alpha1.ApprovalStage{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}, {Kind: "User", Name: "carol"}}, Count: ptr.To[int32](2)}}, MaxDuration: metav1.Duration{Duration: time.Hour},
				Roles:      []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "edit"}, {Kind: "Role", Name: "deployer"}},
				Namespaces: &v1alpha1.PolicyNamespaces{Names: []string{"payments", "billing"}, Selector: &v1alpha1.NamespaceSelector{}},
				Conditions: []v1alpha1.PolicyCondition{{Name: "hours", Message: "Monday to Friday"}, {Name: "ticket"}},
				Subjects:   "Self", Task: "Optional",
			},
			Status: v1alpha1.AccessPolicyStatus{Conditions: []metav1.Condition{{Type: "Ready", Status: "True"}}},
		},
		{
			ObjectMeta: metav1.ObjectMeta{Name: "rules"},
			Spec: v1alpha1.AccessPolicySpec{
				Approvals: []v1alpha1.ApprovalStage{}, MaxDuration: metav1.Duration{Duration: 30 * time.Minute}, ClusterScope: "Allowed",
				Rules: []v1alpha1.PolicyRule{{Verbs: []string{"get"}}},
			},
			Status: v1alpha1.AccessPolicyStatus{Conditions: []metav1.Condition{{Type: "Ready", Status: "False", Message: "does not compile"}}},
		},
		{ObjectMeta: metav1.ObjectMeta{Name: "new"}},
		{
			ObjectMeta: metav1.ObjectMeta{Name: "contractor", UID: "u", Generation: 2, Annotations: map[string]string{v1alpha1.AnnotationChangedBy: "anna\nboris"}},
			Spec: v1alpha1.AccessPolicySpec{
				Requesters: []v1alpha1.PolicyRequester{{PolicySubject: v1alpha1.PolicySubject{Kind: "User", Name: "chris"}, Until: &metav1.Time{Time: day(30)}}},
				Approvals:  []v1alpha1.ApprovalStage{}, MaxDuration: metav1.Duration{Duration: time.Hour}, ReviewBy: &metav1.Time{Time: day(12)},
			},
			Status: v1alpha1.AccessPolicyStatus{
				Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: v1alpha1.ReasonPolicyReviewSoon}},
				Confirmed:  &v1alpha1.PolicyConfirmation{Username: "clara", UID: "u", Generation: 2},
			},
		},
	}
	var b strings.Builder
	write(&b, view.Policies(policies, false), true)
	write(&b, view.Policies(policies, true), false)
	golden(t, "policies.txt", b.String())
}
