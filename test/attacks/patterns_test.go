package attacks

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// workload is a SPIFFE ID of this trust domain.
const workload = "spiffe://example.org/ns/payments/sa/deployer"

// byPattern is a request of a workload under a policy whose requesters and approvers
// are patterns.
func byPattern(t *testing.T) (string, *v1alpha1.AccessRequest) {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "SPIFFE", Name: "spiffe://example.org/ns/*/sa/deployer"})
		s.Approvals[0].From = s.RequesterSubjects()
	})
	return ns, e.WaitMatched(t, e.Ask(t, e.Person(t, workload, "dev"), ns, nil))
}

// The attackers have client certificates with these names: whoever lets a workload in
// under its SPIFFE ID, by a token or otherwise, gives it this name.
func TestPatterns(t *testing.T) {
	t.Parallel()
	const stranger = "is not among the approvers"
	approve := func(username string) func(*testing.T) error {
		return func(t *testing.T) error {
			_, request := byPattern(t)
			return kit.Decide(t, e.Person(t, username, "dev"), request, v1alpha1.VerdictApprove)
		}
	}
	refused(t, "workload approves its own request, which the pattern of the approvers matches", "would benefit", approve(workload))
	refused(t, "workload whose name differs in capitals approves", "would benefit", approve("spiffe://example.org/ns/Payments/sa/deployer"))
	refused(t, "workload of another trust domain approves", stranger, approve("spiffe://other.test/ns/a/sa/deployer"))
	refused(t, "workload of a trust domain that begins as this one does approves", stranger, approve("spiffe://example.org.other.test/ns/a/sa/deployer"))
	refused(t, "workload whose path goes on behind the pattern approves", stranger, approve("spiffe://example.org/ns/a/sa/deployer/x"))
	refused(t, "workload with two segments in place of a star approves", stranger, approve("spiffe://example.org/ns/a/b/sa/deployer"))
	refused(t, "name with .. that leads to a workload approves", stranger, approve("spiffe://example.org/ns/a/sa/x/../deployer"))
	refused(t, "name with an empty segment approves", stranger, approve("spiffe://example.org/ns//sa/deployer"))
	refused(t, "name with percent-encoding approves", stranger, approve("spiffe://example.org/ns/a%2Fb/sa/deployer"))
	refused(t, "name with a query approves", stranger, approve("spiffe://example.org/ns/a/sa/deployer?x"))
	refused(t, "name with a port approves", stranger, approve("spiffe://example.org:443/ns/a/sa/deployer"))
	refused(t, "name with a user approves", stranger, approve("spiffe://example.org@other.test/ns/a/sa/deployer"))
	refused(t, "name in full-width letters approves", stranger, approve("spiffe://example.org/ns/ａ/sa/deployer"))
	refused(t, "name that is the pattern itself approves", stranger, approve("spiffe://example.org/ns/*/sa/deployer"))
	refused(t, "member of a group named like the pattern approves", stranger, func(t *testing.T) error {
		_, request := byPattern(t)
		return kit.Decide(t, e.Person(t, "mallory", "dev", "spiffe://example.org/ns/*/sa/deployer"), request, v1alpha1.VerdictApprove)
	})
	refused(t, "access asked for all workloads that match a pattern", "spec.subjects[0].kind", func(t *testing.T) error {
		return alice.Create(t.Context(), lab.NewRequest("default", func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "SPIFFE", Name: "spiffe://example.org/**"}}
		}))
	})
	refused(t, "access asked for a user whose name is a pattern", "by its exact SPIFFE ID", func(t *testing.T) error {
		return alice.Create(t.Context(), lab.NewRequest("default", func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "spiffe://example.org/**"}}
		}))
	})
	attack(t, "workload has access that was given to another that matches", func(t *testing.T) {
		ns, request := byPattern(t)
		other := e.Person(t, "spiffe://example.org/ns/a/sa/deployer", "dev")
		kit.MustDecide(t, other, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		mustNot(t, other, ns)
		binding := &rbacv1.RoleBindingList{}
		if err := e.Admin.List(t.Context(), binding, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		for _, b := range binding.Items {
			if len(b.Subjects) != 1 || b.Subjects[0].Kind != "User" || b.Subjects[0].Name != workload {
				t.Errorf("the binding is for %v", b.Subjects)
			}
		}
	})
	attack(t, "approval of a workload that the pattern no longer matches", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].From, s.Approvals[0].Count = []v1alpha1.PolicySubject{{Kind: "SPIFFE", Name: "spiffe://example.org/**"}}, ptr.To[int32](2)
		})
		request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
		kit.MustDecide(t, e.Person(t, workload, "dev"), request, v1alpha1.VerdictApprove)
		says(t, request, "1 of 2 approvals")
		e.Patch(t, p, `{"spec":{"approvals":[{"name":"sre","from":[{"kind":"SPIFFE","name":"spiffe://example.org/gate/*"}]}]}}`)
		says(t, request, "not counted: "+workload+" is not an approver")
		mustNot(t, alice, ns)
		kit.MustDecide(t, e.Person(t, "spiffe://example.org/gate/1", "dev"), request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
	})
}
