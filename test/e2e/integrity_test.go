package e2e

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// Several approvers use the very same plain patch, one after another, and
// nobody's decision is lost.
func TestApproversPatchOneAfterAnother(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { three := int32(3); s.Approvals[0].Count = &three })
	request := e.Ask(t, alice, ns, nil)
	e.WaitMatched(t, request)
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove) // again: changes nothing
	kit.MustDecide(t, carol, request, v1alpha1.VerdictApprove)
	waiting := e.WaitUntil(t, request, "the count", func(r *v1alpha1.AccessRequest) bool {
		return strings.Contains(kit.Describe(r.Status.Conditions), "2 of 3 approvals")
	})
	if got := len(waiting.Status.Decisions); got != 2 {
		t.Fatalf("%d decisions, want bob's and carol's", got)
	}
	if kit.Can(t, alice, ns) {
		t.Fatal("two of three approvals gave access")
	}
	kit.MustDecide(t, erin, request, v1alpha1.VerdictApprove)
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	for i, want := range []string{"bob", "carol", "erin"} {
		d := active.Status.Decisions[i]
		if d.Username != want || d.Groups[0] != "sre" || d.RulesHash == "" {
			t.Errorf("decision %d is %+v, want one stamped as %s", i, d, want)
		}
	}
	if g := e.GrantOf(t, request); g.Spec.Summary.Approvers != "bob,carol,erin" {
		t.Errorf("the grant records %q", g.Spec.Summary.Approvers)
	}
}

func TestRequesterIsStamped(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	request := e.Ask(t, alice, ns, nil)
	if r := request.Spec.Requester; r.Username != "alice" || len(r.Groups) != 2 || r.Groups[0] != "dev" {
		t.Errorf("requester is %+v", r)
	}
}

// What must be refused, by a message that names the rule.
func TestForgeryIsRefused(t *testing.T) {
	e.NeedsStamps(t)
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { two := int32(2); s.Approvals[0].Count = &two })
	request := e.Ask(t, alice, ns, nil)
	request = e.WaitMatched(t, request)
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)

	raw := func(c client.Client, kind types.PatchType, body string) error {
		target := request.DeepCopy()
		return c.Status().Patch(t.Context(), target, client.RawPatch(kind, []byte(body)))
	}
	merge := func(c client.Client, body string) error { return raw(c, types.MergePatchType, body) }
	for _, tc := range []struct {
		name string
		do   func() error
		rule string
	}{
		{"forged requester", func() error {
			return alice.Create(t.Context(), lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) { s.Requester.Username = "bob" }))
		}, "spec.requester must be the authenticated user, alice"},
		{"forged groups", func() error {
			return alice.Create(t.Context(), lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) {
				s.Requester = v1alpha1.UserInfo{Username: "alice", Groups: []string{"sre"}}
			}))
		}, "spec.requester must be the authenticated user, alice"},
		{"forged approver", func() error {
			return merge(mallory, `{"status":{"decisions":[{"username":"carol","groups":["sre"],"verdict":"Approve"}]}}`)
		}, "append-only"},
		{"forged approver beside one's own", func() error {
			return merge(erin, `{"status":{"decisions":[{"verdict":"Approve"},{"username":"carol","groups":["sre"],"verdict":"Approve"}]}}`)
		}, "in one's own name"},
		{"forged groups of the approver", func() error {
			return merge(mallory, `{"status":{"decisions":[{"username":"mallory","groups":["sre"],"verdict":"Approve"}]}}`)
		}, "mallory is not among the approvers"},
		{"no approver", func() error { return merge(mallory, `{"status":{"decisions":[{"verdict":"Approve"}]}}`) }, "mallory is not among the approvers"},
		{"self-approval", func() error { return merge(alice, `{"status":{"decisions":[{"verdict":"Approve"}]}}`) }, "alice would benefit"},
		{"self-denial", func() error { return merge(alice, `{"status":{"decisions":[{"verdict":"Deny"}]}}`) }, "alice would benefit"},
		{"forged phase", func() error { return merge(mallory, `{"status":{"phase":"Active"}}`) }, "the status is written by the broker alone"},
		{"forged phase by an administrator", func() error { return merge(e.Admin, `{"status":{"phase":"Active"}}`) }, "the status is written by the broker alone"},
		{"forged approvers", func() error {
			return merge(mallory, `{"status":{"approvals":[{"name":"sre","from":[{"kind":"User","name":"mallory"}],"count":1}]}}`)
		}, "the status is written by the broker alone"},
		{"fewer approvals", func() error {
			return merge(mallory, `{"status":{"approvals":[{"name":"sre","from":[{"kind":"Group","name":"sre"}],"count":0}]}}`)
		}, "the status is written by the broker alone"},
		{"forged condition", func() error { return merge(mallory, `{"status":{"conditions":null}}`) }, "the status is written by the broker alone"},
		{"wiped decisions, null", func() error { return merge(mallory, `{"status":{"decisions":null}}`) }, "append-only"},
		{"wiped decisions, empty", func() error { return merge(bob, `{"status":{"decisions":[]}}`) }, "append-only"},
		{"wiped status", func() error { return merge(mallory, `{"status":null}`) }, "the status is written by the broker alone"},
		{"somebody's decision removed by JSON patch", func() error {
			return raw(mallory, types.JSONPatchType, `[{"op":"remove","path":"/status/decisions/0"}]`)
		}, "append-only"},
		{"somebody's decision edited", func() error {
			return raw(mallory, types.JSONPatchType, `[{"op":"replace","path":"/status/decisions/0/verdict","value":"Deny"}]`)
		}, "append-only"},
		{"own decision edited", func() error {
			return merge(bob, `{"status":{"decisions":[{"verdict":"Approve","comment":"on second thoughts"}]}}`)
		}, "append-only"},
		{"decision about another request", func() error {
			return merge(carol, `{"status":{"decisions":[{"verdict":"Approve","requestUID":"11111111-2222-3333-4444-555555555555"}]}}`)
		}, "requestUID belongs to another request"},
		{"decision about another role", func() error {
			return merge(carol, `{"status":{"decisions":[{"verdict":"Approve","rulesHash":"0000"}]}}`)
		}, "rulesHash is not the request's status.rulesHash"},
		{"revoke before anything was given", func() error { return merge(carol, `{"status":{"decisions":[{"verdict":"Revoke"}]}}`) }, "nothing to revoke yet"},
		{"release by a stranger", func() error { return merge(carol, `{"status":{"decisions":[{"verdict":"Release"}]}}`) }, "for the requester and the subjects"},
		{"changed spec", func() error {
			return e.Admin.Patch(t.Context(), request.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"duration":"2h"}}`)))
		}, "spec is immutable"},
		{"deleted by a stranger", func() error { return e.Admin.Delete(t.Context(), request.DeepCopy()) }, "only its requester, one of its approvers or the broker deletes a request"},
		{"grant by hand", func() error {
			given := &v1alpha1.AccessGrant{}
			given.Name = "forged"
			given.Spec.RequestRef = v1alpha1.RequestRef{Namespace: ns, ObjectRef: v1alpha1.ObjectRef{Name: request.Name, UID: request.UID}}
			given.Spec.Requester.Username, given.Spec.Reason = "alice", "forged"
			given.Spec.Subjects = []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: "alice"}}}
			given.Spec.PolicyRef = *request.Status.Policy
			given.Spec.NotBefore, given.Spec.ExpirationTime = metav1.Now(), metav1.Now()
			return e.Admin.Create(t.Context(), given)
		}, "grants are written by the broker alone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.do()
			if err == nil || !strings.Contains(err.Error(), tc.rule) {
				t.Errorf("got %v, want a refusal that says %q", err, tc.rule)
			}
		})
	}
	current := e.WaitMatched(t, request)
	if d := current.Status.Decisions; len(d) != 1 || d[0].Username != "bob" || d[0].Verdict != v1alpha1.VerdictApprove {
		t.Errorf("the decisions are %+v, want bob's approval alone", d)
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice has access")
	}
}

func TestDenyEndsIt(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, nil)
	e.WaitMatched(t, request)
	if err := kit.PatchDecisions(t, carol, request, map[string]any{"verdict": "Deny", "comment": "not on a Friday"}); err != nil {
		t.Fatal(err)
	}
	denied := e.WaitFor(t, request, v1alpha1.RequestDenied)
	if !strings.Contains(kit.Describe(denied.Status.Conditions), "denied by carol: not on a Friday") {
		t.Errorf("nobody can tell why: %s", kit.Describe(denied.Status.Conditions))
	}
	if err := kit.Decide(t, bob, request, v1alpha1.VerdictApprove); err == nil || !strings.Contains(err.Error(), "nothing can be decided after the end") {
		t.Errorf("approval after the end: %v", err)
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice has access")
	}
}

func TestWithdrawnWhilePending(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, nil)
	e.WaitMatched(t, request)
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	e.WaitFor(t, request, v1alpha1.RequestCompleted)
}
