package e2e

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

func users(names ...string) (out []v1alpha1.PolicySubject) {
	for _, name := range names {
		out = append(out, v1alpha1.PolicySubject{Kind: "User", Name: name})
	}
	return out
}

// deciders makes the approvers of a policy, and how many of them must approve.
func deciders(required int32, approvers ...v1alpha1.PolicySubject) func(*v1alpha1.AccessPolicySpec) {
	return func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].From, s.Approvals[0].Count, s.Subjects = approvers, ptr.To(required), v1alpha1.SubjectsAny
	}
}

// Nobody waits for an approval that nobody may give: it is said at once.
func TestNobodyCouldEverApprove(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		policy func(*v1alpha1.AccessPolicySpec)
		edit   func(*v1alpha1.AccessRequestSpec)
		says   string
	}{
		"the only approver asks": {deciders(1, users("alice")...), nil, "it needs 1 of alice, and alice is the requester"},
		"one of two asks":        {deciders(2, users("alice", "bob")...), nil, "it needs 2 of alice, bob, and alice is the requester"},
		"the only approver gets the access": {
			deciders(1, users("bob")...),
			func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "bob"}} }, "it needs 1 of bob, and bob would get the access",
		},
		"the approving group gets the access": {
			deciders(1, v1alpha1.PolicySubject{Kind: "Group", Name: "sre"}),
			func(s *v1alpha1.AccessRequestSpec) {
				s.Subjects = []v1alpha1.Subject{{Kind: "Group", APIGroup: "rbac.authorization.k8s.io", Name: "sre"}}
			}, "group:sre would get the access",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			p := e.NewPolicy(t, ns, tc.policy)
			request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
				s.PolicyName = p.Name
				if tc.edit != nil {
					tc.edit(s)
				}
			})
			denied := e.WaitFor(t, request, v1alpha1.RequestDenied)
			if !kit.HasReason(denied.Status.Conditions, v1alpha1.ReasonNoPolicy) || !kit.HasMessage(denied.Status.Conditions, "could never be met for this request: ") || !kit.HasMessage(denied.Status.Conditions, tc.says) {
				t.Errorf("nobody can tell why: %s", kit.Describe(denied.Status.Conditions))
			}
		})
	}
}

// Of two policies the more careful one decides, if it can.
func TestPolicyThatCouldBeMetDecides(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	careful := e.NewPolicy(t, ns, deciders(2, users("alice", "carol")...))
	other := e.NewPolicy(t, ns, deciders(1, users("alice", "bob")...))
	request := e.Ask(t, alice, ns, nil)
	matched := e.WaitMatched(t, request)
	if matched.Status.Policy.Name != other.Name {
		t.Errorf("policy %s decides, want %s", matched.Status.Policy.Name, other.Name)
	}
	if !kit.HasMessage(matched.Status.Conditions, "0 of 1 approvals; 1 more of bob") {
		t.Errorf("not only who may decide is asked: %s", kit.Describe(matched.Status.Conditions))
	}
	// The same policy is the more careful one for somebody else.
	if theirs := e.WaitMatched(t, e.Ask(t, dave, ns, nil)); theirs.Status.Policy.Name != careful.Name {
		t.Errorf("policy %s decides for dave, want %s", theirs.Status.Policy.Name, careful.Name)
	}
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
}

// A policy that changes so that nobody could meet it any more is told at once.
func TestPolicyThatCanNoLongerBeMet(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = p.Name })
	e.WaitMatched(t, request)
	e.Patch(t, p, `{"spec":{"approvals":[{"name":"sre","from":[{"kind":"User","name":"alice"}]}]}}`)
	denied := e.WaitFor(t, request, v1alpha1.RequestDenied)
	if want := fmt.Sprintf("policy %q does not let alice", p.Name); !kit.HasMessage(denied.Status.Conditions, want) || !strings.Contains(kit.Describe(denied.Status.Conditions), "alice is the requester") {
		t.Errorf("nobody can tell why: %s", kit.Describe(denied.Status.Conditions))
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice has access")
	}
}
