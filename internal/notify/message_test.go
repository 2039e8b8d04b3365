package notify

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

func pending() *v1alpha1.AccessRequest {
	r := request(v1alpha1.RequestPending, true,
		is(v1alpha1.ConditionPolicyMatched, metav1.ConditionTrue, 1), is(v1alpha1.ConditionApproved, metav1.ConditionFalse, 1))
	r.Status.Approvals = []v1alpha1.StageApproval{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}, Count: ptr.To[int32](1)}}
	r.Status.Risks = []v1alpha1.Risk{{Kind: "ReadsSecrets", Message: "reads Secrets"}}
	return r
}

func TestCloudEvent(t *testing.T) {
	t.Parallel()
	r := pending()
	body, err := cloudEvent("https://prod.example.com", r, ofRequest(r, nil)[0])
	if err != nil {
		t.Fatal(err)
	}
	var e event.Event
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	if e.ID() != "r1.pending.1777888801" || e.Source() != "https://prod.example.com" || e.Type() != "dev.accessbroker.request.pending" ||
		e.Subject() != "namespaces/payments/accessrequests/fix" || !e.Time().Equal(at(1).Time) || e.SpecVersion() != "1.0" {
		t.Errorf("%s", body)
	}
	var d Data
	if err := e.DataAs(&d); err != nil {
		t.Fatal(err)
	}
	if d.Phase != "Pending" || d.Requester != "alice" || d.Role != "ClusterRole/edit" || d.Scope != "payments" || d.Approvers[0] != "group:sre" ||
		*d.RequiredApprovals != 1 || d.Risks[0] != "reads Secrets" || d.Reason != "why not" || d.Request != (Ref{"payments", "fix", "r1"}) ||
		d.Command != "kubectl access ui areq/fix -n payments" {
		t.Errorf("%+v", d)
	}
}

func TestSlack(t *testing.T) {
	t.Parallel()
	evil := pending()
	evil.Spec.Reason = "a & b <!channel> <https://evil.example|click>"
	evil.Spec.Requester.Username = "al\u202eice\n"
	evil.Spec.Rules, evil.Spec.RoleRef = []v1alpha1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods/log"}}}, nil
	message := slackText(evil, ofRequest(evil, nil)[0])
	for _, want := range []string{
		`*al\u202eice\n* asks for *rules (get pods/log)* in *payments*`,
		"> a &amp; b &lt;!channel&gt; &lt;https://evil.example|click&gt;",
		"risk: reads Secrets",
		"\nTo look at it, and to act: `kubectl access ui areq/fix -n payments`\nPolicy on-call needs 1 of group:sre (sre). To approve:\n",
		"```" + `kubectl patch areq fix -n payments --subresource=status --type=merge -p '{"status":{"decisions":[{"verdict":"Approve","requestUID":"r1"}]}}'` + "```",
	} {
		if !strings.Contains(message, want) {
			t.Errorf("no %q in\n%s", want, message)
		}
	}

	harmless := pending()
	harmless.Status.Risks = []v1alpha1.Risk{{Kind: rules.NoneKnown.Kind, Message: rules.NoneKnown.Message}}
	if message := slackText(harmless, ofRequest(harmless, nil)[0]); !strings.Contains(message, "\nno risk is known, which does not mean that there is none\n") {
		t.Errorf("no risk reads as none:\n%s", message)
	}

	automatic := pending()
	automatic.Status.Approvals = nil
	if told := ofRequest(automatic, nil); len(told) > 0 {
		t.Errorf("nobody is to approve this: %v", told)
	}
	// The same, as one that was told before nobody was needed any more.
	if message := slackText(automatic, ofRequest(pending(), nil)[0]); strings.Contains(message, "kubectl") {
		t.Errorf("nobody is to approve this:\n%s", message)
	}

	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: "fix-1", UID: "g1"}}
	g.Spec = v1alpha1.AccessGrantSpec{
		Requester: v1alpha1.UserInfo{Username: "alice"}, Reason: "why not", Ticket: "INC-1", ExpirationTime: at(60),
		Summary: v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "*"},
	}
	granted, ended := at(1), at(2)
	g.Status = v1alpha1.AccessGrantStatus{
		Phase: v1alpha1.GrantEnded, GrantedTime: &granted, EndedTime: &ended, EndReason: v1alpha1.EndRevoked, EndedBy: "bob",
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionAccessGiven, Status: metav1.ConditionFalse, Message: "revoked by bob"}},
	}
	for i, want := range []string{
		"*Access given*: alice has ClusterRole/edit in * until 2026-05-04T10:01:00Z\n> why not (INC-1)",
		"*Access ended* (Revoked): alice, ClusterRole/edit in *\n> why not (INC-1)\nrevoked by bob",
	} {
		if got := slackText(g, ofGrant(g)[i]); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// Whoever has something to do is told the command that opens the page there.
func TestPageCommand(t *testing.T) {
	t.Parallel()
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: "fix-1", UID: "g1"}}
	g.Spec.RequestRef.Namespace, g.Spec.RequestRef.Name = "payments", "fix"
	granted, ended := at(1), at(4)
	g.Status = v1alpha1.AccessGrantStatus{
		Phase: v1alpha1.GrantEnded, GrantedTime: &granted, EndedTime: &ended, EndReason: v1alpha1.EndExpired, Review: v1alpha1.ReviewWaiting,
		Conditions: []metav1.Condition{
			is(v1alpha1.ConditionExpiresSoon, metav1.ConditionTrue, 2), is(v1alpha1.ConditionSuspicious, metav1.ConditionTrue, 3),
			is(v1alpha1.ConditionLeftBehind, metav1.ConditionTrue, 5), is(v1alpha1.ConditionReviewed, metav1.ConditionFalse, 6),
		},
	}
	told := func() (types []string) {
		for _, tr := range ofGrant(g) {
			command := dataOf(g, tr).Command
			if strings.Contains(slackText(g, tr), "`kubectl access ui areq/fix -n payments`") != (command != "") {
				t.Errorf("%s: in chat it is another than %q", tr.eventType, command)
			}
			switch command {
			case "kubectl access ui areq/fix -n payments":
				types = append(types, strings.TrimPrefix(tr.eventType, "dev.accessbroker."))
			case "":
			default:
				t.Errorf("%s: %s", tr.eventType, command)
			}
		}
		return types
	}
	if got := strings.Join(told(), " "); got != "grant.expiring usage.suspicious review.waiting" {
		t.Errorf("told in %s", got)
	}
	g.Status.Review = v1alpha1.ReviewDone
	if got := strings.Join(told(), " "); got != "grant.expiring usage.suspicious" {
		t.Errorf("after the review told in %s", got)
	}
	// There is no page of a request that is gone.
	g.Status.Review = v1alpha1.ReviewOverdue
	g.Status.Conditions[3].Reason = v1alpha1.ReasonRequestGone
	if got := told(); got != nil {
		t.Errorf("without its request told in %q", got)
	}
}

// A message can be made of every transition of every object that is stored,
// however little is in it: a panic would end the broker.
func TestBareObjects(t *testing.T) {
	t.Parallel()
	for _, phase := range []v1alpha1.RequestPhase{"", "Pending", "Approved", "Active", "Completed", "Expired", "Revoked", "Denied", "Lapsed", "Failed"} {
		for _, status := range []metav1.ConditionStatus{"True", "False", "Unknown"} {
			r := &v1alpha1.AccessRequest{Status: v1alpha1.AccessRequestStatus{Phase: phase, Policy: &v1alpha1.PolicyRef{}}}
			for _, kind := range []string{v1alpha1.ConditionPolicyMatched, v1alpha1.ConditionApproved, v1alpha1.ConditionGranted, v1alpha1.ConditionEnded} {
				r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: kind, Status: status})
			}
			for _, tr := range ofRequest(r, &v1alpha1.AccessGrant{}) {
				if _, err := cloudEvent("x", r, tr); err != nil {
					t.Error(err)
				}
				if _, err := slackMessage(r, tr); err != nil {
					t.Error(err)
				}
			}
		}
	}
	zero := metav1.Time{}
	g := &v1alpha1.AccessGrant{Status: v1alpha1.AccessGrantStatus{Phase: v1alpha1.GrantEnded, GrantedTime: &zero, EndedTime: &zero}}
	for _, tr := range ofGrant(g) {
		if _, err := cloudEvent("x", g, tr); err != nil {
			t.Error(err)
		}
		if _, err := slackMessage(g, tr); err != nil {
			t.Error(err)
		}
	}
}

// FuzzSlack: whatever is stored in a request or a grant, nothing in a message
// for people is dangerous to look at.
func FuzzSlack(f *testing.F) {
	f.Add("\x1b]0;title\x07 \u202e\n\xff\u2028,\t\u200b")
	f.Add("<!channel> 👩\ufe0f\u200d🚒 می\u200cخواهم 1\ufe0f\u20e3 \u3164")
	f.Fuzz(func(t *testing.T, s string) {
		condition := func(kind string, status metav1.ConditionStatus) metav1.Condition {
			return metav1.Condition{Type: kind, Status: status, Reason: s, Message: s}
		}
		r := pending()
		r.Name, r.Namespace, r.UID = s, s, types.UID(s)
		r.Spec = v1alpha1.AccessRequestSpec{
			Requester: v1alpha1.UserInfo{Username: s}, Reason: s, Ticket: s,
			Subjects: []v1alpha1.Subject{{Kind: "User", Name: s}, {Kind: "ServiceAccount", Namespace: s, Name: s}},
			Rules:    []v1alpha1.PolicyRule{{Verbs: []string{s}, APIGroups: []string{s}, Resources: []string{s}, ResourceNames: []string{s}}},
			Scope:    &v1alpha1.Scope{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{s: v1alpha1.LabelValue(s)}}},
		}
		r.Status.Policy.Name, r.Status.Approvals[0].From = s, []v1alpha1.PolicySubject{{Kind: "Group", Name: s}}
		r.Status.Risks = []v1alpha1.Risk{{Message: s}}
		ended := at(2)
		g := &v1alpha1.AccessGrant{Spec: v1alpha1.AccessGrantSpec{
			Requester: r.Spec.Requester, RoleRef: &v1alpha1.RoleRef{}, Reason: s, Ticket: s, Summary: v1alpha1.GrantSummary{Subjects: s, Role: s, Scope: s},
		}, Status: v1alpha1.AccessGrantStatus{
			Phase: v1alpha1.GrantEnded, GrantedTime: &ended, EndedTime: &ended, EndReason: v1alpha1.EndReason(s), EndedBy: s,
			Conditions: []metav1.Condition{condition(v1alpha1.ConditionAccessGiven, "False")},
		}}
		var shown []string
		for _, phase := range []v1alpha1.RequestPhase{"Pending", "Active", "Denied"} {
			r.Status.Phase = phase
			r.Status.Conditions = []metav1.Condition{
				condition(v1alpha1.ConditionApproved, "False"), condition(v1alpha1.ConditionGranted, "True"), condition(v1alpha1.ConditionEnded, "True"),
			}
			for _, step := range ofRequest(r, nil) {
				shown = append(shown, slackText(r, step))
			}
		}
		for _, step := range ofGrant(g) {
			shown = append(shown, slackText(g, step))
		}
		for line := range strings.SplitSeq(strings.Join(shown, "\n"), "\n") {
			if safe := text.Visible(line); safe != line {
				t.Errorf("%q is dangerous: %q", line, safe)
			}
			if strings.ContainsAny(strings.TrimPrefix(line, "> "), "<>") {
				t.Errorf("%q has a link or a mention", line)
			}
		}
	})
}

// What was found of the use of a grant says so in its own words, and what a caller
// chose mentions nobody.
func TestUsageMessages(t *testing.T) {
	t.Parallel()
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: "fix-1", UID: "g1"}}
	g.Spec.Requester.Username, g.Spec.Summary = "alice", v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "payments"}
	g.Spec.Reason, g.Spec.RoleRef = "INC-42", &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}
	granted, ended := at(1), at(4)
	g.Status = v1alpha1.AccessGrantStatus{Phase: v1alpha1.GrantEnded, GrantedTime: &granted, EndedTime: &ended, EndReason: v1alpha1.EndIdle, EndedBy: "nobody"}
	says := func(kind string, status metav1.ConditionStatus, seconds int, message string) {
		c := is(kind, status, seconds)
		c.Message = message
		g.Status.Conditions = append(g.Status.Conditions, c)
	}
	says(v1alpha1.ConditionAccessGiven, metav1.ConditionFalse, 4, "the access was not used for 30m")
	says(v1alpha1.ConditionSuspicious, metav1.ConditionTrue, 2, "agent: <!channel> curl")
	says(v1alpha1.ConditionLeftBehind, metav1.ConditionTrue, 6, "Pod payments/debug-x")
	says(v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, 6, "exec of pod web")
	want := map[string]struct{ phase, message, endReason, slack string }{
		"dev.accessbroker.usage.suspicious":   {"Suspicious", "agent: <!channel> curl", "", "*Suspicious use* of ClusterRole/edit in payments by alice\n> INC-42\nagent: &lt;!channel&gt; curl"},
		"dev.accessbroker.usage.idle":         {"Idle", "the access was not used for 30m", "Idle", "*Access was idle*: alice, ClusterRole/edit in payments\n> INC-42\nthe access was not used for 30m"},
		"dev.accessbroker.usage.leftbehind":   {"LeftBehind", "Pod payments/debug-x", "Idle", "*Left behind* by alice, ClusterRole/edit in payments\n> INC-42\nPod payments/debug-x"},
		"dev.accessbroker.usage.sessionsopen": {"SessionsOpen", "exec of pod web", "Idle", "*Sessions outlive the access* of alice, ClusterRole/edit in payments\n> INC-42\nexec of pod web"},
		"dev.accessbroker.grant.ended":        {"Ended", "the access was not used for 30m", "Idle", "*Access ended* (Idle)"},
		"dev.accessbroker.grant.active":       {"Active", "", "", "*Access given*"},
	}
	for _, tr := range ofGrant(g) {
		w := want[tr.eventType]
		if d := dataOf(g, tr); d.Phase != w.phase || d.Message != w.message || d.EndReason != w.endReason {
			t.Errorf("%s: %+v", tr.eventType, d)
		}
		if got := slackText(g, tr); !strings.HasPrefix(got, w.slack) {
			t.Errorf("%s: %s", tr.eventType, got)
		}
		delete(want, tr.eventType)
	}
	if len(want) > 0 {
		t.Errorf("not told: %v", want)
	}
}
