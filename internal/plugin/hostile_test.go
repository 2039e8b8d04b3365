package plugin

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
)

// FuzzShown: whatever is stored in a request, a policy or a grant, or comes in
// an error or a warning, nothing that a command prints of it is dangerous to
// look at.
func FuzzShown(f *testing.F) {
	f.Add("\x1b]0;title\x07 \u202e\n\xff\u2028,\t\u200b", uint8(0))
	f.Add("=👩\ufe0f\u200d🚒 می\u200cخواهم 1\ufe0f\u20e3 \u3164", uint8(3))
	f.Fuzz(func(t *testing.T, s string, width uint8) {
		for name, shown := range printed(t, s, int(width)) {
			for line := range strings.SplitSeq(shown, "\n") {
				if safe := text.Visible(line); safe != line {
					t.Errorf("%s: %q is dangerous: %q", name, line, safe)
				}
			}
		}
	})
}

// printed is all that the commands print of a text, by what prints it.
func printed(t *testing.T, s string, width int) map[string]string {
	t.Helper()
	subjects := []v1alpha1.Subject{{Kind: "User", Name: s}, {Kind: "Group", Name: s}, {Kind: "ServiceAccount", Namespace: s, Name: s}}
	approvers := []v1alpha1.PolicySubject{{Kind: "User", Name: s}, {Kind: "Group", Name: s}, {Kind: "ServiceAccount", Namespace: s, Name: s}, {Kind: "SPIFFE", Name: s}}
	decisions := []v1alpha1.Decision{{Username: s, Groups: []string{s, s}, Verdict: v1alpha1.Verdict(s), Comment: s}}
	conditions := []metav1.Condition{
		{Type: v1alpha1.ConditionStandingAccess, Status: "True", Message: s},
		{Type: s, Status: metav1.ConditionStatus(s), Reason: s, Message: s},
		{Type: v1alpha1.ConditionApproved, Status: "False", Reason: s, Message: s},
	}
	r := aRequest()
	r.Name, r.Namespace = s, s
	r.Spec = v1alpha1.AccessRequestSpec{
		Requester: v1alpha1.UserInfo{Username: s, Groups: []string{s}}, Subjects: subjects,
		RoleRef: &v1alpha1.RoleRef{Kind: s, Name: s}, Reason: s, Ticket: s, PolicyName: s, CredentialKey: s,
		Scope: &v1alpha1.Scope{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{s: v1alpha1.LabelValue(s)}}},
		Task:  &v1alpha1.TaskRef{APIVersion: s, Kind: s, Name: s, CompleteWhen: s},
	}
	r.Status = v1alpha1.AccessRequestStatus{
		Phase: v1alpha1.RequestPhase(s), Policy: &v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: s}}, Approvals: []v1alpha1.StageApproval{{Name: s, From: approvers, Approved: []string{s}}, {Name: s, From: approvers}}, GrantName: s,
		Rules: []string{s + " " + s, s, "get " + s + " " + s}, Risks: []v1alpha1.Risk{{Kind: s, Message: s}, {Kind: s, Message: s}, {Message: s}, {Message: s}},
		Decisions: decisions, Conditions: conditions,
		Pins: &v1alpha1.Pins{Namespaces: []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: s}}}},
	}
	active := r.DeepCopy()
	active.Status.Phase, active.Status.Credential = v1alpha1.RequestActive, &v1alpha1.SealedCredential{GrantUID: types.UID(s), Sealed: s}
	named := r.DeepCopy()
	named.Spec.Scope = &v1alpha1.Scope{Namespaces: []string{s, s}}
	named.Status.Phase = v1alpha1.RequestPending
	over := named.DeepCopy()
	over.Status.Review = v1alpha1.ReviewState(s)
	over.Status.Conditions = append(over.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReviewed, Status: "False", Message: s})
	mine := over.DeepCopy()
	mine.Status.Phase, mine.Status.Review, mine.Spec.Requester, mine.Spec.Subjects = v1alpha1.RequestExpired, v1alpha1.ReviewWaiting, v1alpha1.UserInfo{Username: "alice"}, nil
	p := v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: s}, Spec: v1alpha1.AccessPolicySpec{
		Requesters: v1alpha1.RequestersFor(approvers...), Approvals: []v1alpha1.ApprovalStage{{Name: s, From: approvers}, {Name: s, FromNamespaceLabel: &v1alpha1.NamespaceLabel{Key: s, Prefix: s, Suffix: s}}}, Roles: []v1alpha1.RoleRef{*r.Spec.RoleRef}, Subjects: v1alpha1.SubjectsRule(s), Task: v1alpha1.TaskRule(s),
		Namespaces: &v1alpha1.PolicyNamespaces{Names: []string{s}, Selector: r.Spec.Scope.NamespaceSelector},
		Conditions: []v1alpha1.PolicyCondition{{Name: s, Message: s}},
	}, Status: v1alpha1.AccessPolicyStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: "False", Message: s}}}}
	g := someGrants()[0]
	g.Spec.CredentialKey = s
	g.Name, g.Spec.Requester, g.Spec.Decisions, g.Spec.PolicyRef.Name, g.Spec.Reason, g.Spec.Ticket = s, r.Spec.Requester, decisions, s, s, s
	g.Spec.RequestRef.Namespace, g.Spec.RequestRef.Name, g.Status.EndedBy, g.Status.EndReason, g.Status.Conditions = s, s, s, v1alpha1.EndReason(s), conditions
	g.Spec.Summary = v1alpha1.GrantSummary{Subjects: s, Role: s, Scope: s, Approvers: s}
	for _, subject := range subjects {
		g.Spec.Subjects = append(g.Spec.Subjects, v1alpha1.GrantSubject{Subject: subject})
	}

	used := map[string]view.Use{s: {Calls: 1, Suspicious: []string{s}}}
	out := map[string]string{
		"page": page(view.PageOf(r, now), term.Style{}), "page of names": page(view.PageOf(named, now), term.Style{Terminal: true}),
		"next":     next(named, v1alpha1.UserInfo{Username: "bob", Groups: []string{s}}) + next(named, v1alpha1.UserInfo{Username: s}),
		"review":   page(view.PageOf(over, now), term.Style{}) + next(mine, v1alpha1.UserInfo{Username: "bob", Groups: []string{s}}),
		"issued":   page(view.PageOf(active, now), term.Style{}) + next(active, v1alpha1.UserInfo{Username: s}) + page(view.PageOfGrant(&g, now), term.Style{}),
		"question": term.Clean(view.Question(r, now)), "nothing": nothing(s, true),
	}
	for _, terminal := range []bool{false, true} {
		var b strings.Builder
		write(&b, view.Requests([]v1alpha1.AccessRequest{*r, *named}, now, true, false, true), terminal)
		write(&b, view.Reviews([]v1alpha1.AccessRequest{*over, *mine}, now, true, true), terminal)
		write(&b, view.Policies([]v1alpha1.AccessPolicy{p}, true), terminal)
		write(&b, view.Grants([]v1alpha1.AccessGrant{g}, used, now, true), terminal)
		tables := b.String()
		if !terminal {
			tables = strings.ReplaceAll(tables, "\t", " ")
		}
		out["tables"] += tables

		b.Reset()
		line := &term.LiveLine{Out: &b, Style: term.Style{Terminal: terminal, Width: width}}
		line.Show(view.Progress(named, now))
		line.End()
		out["progress"] += strings.ReplaceAll(b.String(), "\r\x1b[K", "")
	}
	for _, args := range [][]string{{"--all"}, {"--user", "alice"}, {"--grant", ofGrant}, {"--user", s + "x"}, {"--binding", s + "x"}} {
		_, stdout, stderr := run(t, anAuditLog(t, s), append([]string{"usage", "--audit-log", "-"}, args...)...)
		out["usage"] += strings.ReplaceAll(stdout, "\t", " ") + stderr
	}
	maps.Copy(out, observedTexts(t, s))
	var csv strings.Builder
	if err := view.WriteCSV(&csv, view.Refs([]v1alpha1.AccessGrant{g}), used, true); err != nil {
		t.Fatal(err)
	}
	out["csv"] = csv.String()

	resource := schema.GroupResource{Resource: "accessrequests"}
	for _, err := range []error{
		errors.New(s), unusable(active, now), unusable(r, now), notYours(r), &ended{exitOver, s}, hintf("Do this.", "%s", s), apierrors.NewNotFound(resource, s), apierrors.NewUnauthorized(s),
		apierrors.NewForbidden(resource, s, errors.New("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "+s)),
		apierrors.NewForbidden(resource, s, errors.New(s)),
		apierrors.NewInvalid(schema.GroupKind{Kind: "AccessRequest"}, s, field.ErrorList{field.Invalid(field.NewPath("spec", s), s, s)}),
		apierrors.NewGenericServerResponse(500, "get", resource, s, s, int(time.Second), true),
	} {
		out["errors"] += explain(err, "access-requester") + "\n"
	}
	var warnings strings.Builder
	warn(&warnings).HandleWarningHeader(299, "-", s)
	out["warnings"] = warnings.String()
	return out
}
