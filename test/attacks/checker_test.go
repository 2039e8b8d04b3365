package attacks

import (
	"fmt"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// machine is the account that checks.
var machine = v1alpha1.PolicySubject{Kind: v1alpha1.ServiceAccountKind, Namespace: lab.BrokerNamespace, Name: lab.CheckerServiceAccount}

// checked asks for an approval of the machine, and one of a person.
func checked(s *v1alpha1.AccessPolicySpec) {
	s.Approvals = append(s.Approvals, v1alpha1.ApprovalStage{Name: "ticket", From: []v1alpha1.PolicySubject{machine}, Count: ptr.To[int32](1)})
}

// decideAs writes a decision of some account as JSON.
func decideAs(t *testing.T, c client.Client, request *v1alpha1.AccessRequest, decision string) error {
	t.Helper()
	return mergeStatus(t.Context(), c, request, fmt.Sprintf(`{"status":{"decisions":[%s]}}`, decision))
}

func TestStolenChecker(t *testing.T) {
	t.Parallel()
	refused(t, "approval of a request that waits for others", "is not among the approvers in status.approvals", func(t *testing.T) error {
		_, request := matched(t, nil)
		return kit.Decide(t, checker, request, v1alpha1.VerdictApprove)
	})
	refused(t, "denial of a request that waits for others", "is not among the approvers in status.approvals", func(t *testing.T) error {
		_, request := matched(t, nil)
		return kit.Decide(t, checker, request, v1alpha1.VerdictDeny)
	})
	refused(t, "approval in a person's name by the checker", "decisions are made in one's own name", func(t *testing.T) error {
		_, request := matched(t, checked)
		return decideAs(t, checker, request, `{"username":"bob","groups":["sre"],"verdict":"Approve"}`)
	})
	refused(t, "approval in the checker's name by a person", "decisions are made in one's own name", func(t *testing.T) error {
		_, request := matched(t, checked)
		return decideAs(t, bob, request, fmt.Sprintf(`{"username":%q,"verdict":"Approve"}`, lab.Checker))
	})
	refused(t, "approval by a checker of another namespace", "is not among the approvers in status.approvals", func(t *testing.T) error {
		ns, request := matched(t, checked)
		kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: lab.CheckerServiceAccount}})
		kit.Create(t, e.Admin, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "other-checker"}, RoleRef: clusterRole("access-checker"),
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: lab.CheckerServiceAccount}},
		})
		other, err := e.AsServiceAccount(t.Context(), ns, lab.CheckerServiceAccount)
		if err != nil {
			t.Fatal(err)
		}
		return kit.Decide(t, other, request, v1alpha1.VerdictApprove)
	})
	attack(t, "both stages met by the checker alone", func(t *testing.T) {
		ns, request := matched(t, func(s *v1alpha1.AccessPolicySpec) {
			checked(s)
			s.Approvals[0].From = append(s.Approvals[0].From, machine)
		})
		kit.MustDecide(t, checker, request, v1alpha1.VerdictApprove)
		says(t, request, "1 of 2 approvals")
		mustNot(t, alice, ns)
	})
	refused(t, "end of approved access put off by the checker", "append-only", func(t *testing.T) error {
		_, request := matched(t, checked)
		first := decideAs(t, checker, request, `{"verdict":"Approve","notAfter":"2999-01-01T00:00:00Z"}`)
		if first != nil {
			t.Fatal(first)
		}
		current := &v1alpha1.AccessRequest{}
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(request), current); err != nil {
			t.Fatal(err)
		}
		current.Status.Decisions[0].NotAfter = nil
		return checker.Status().Patch(t.Context(), current, client.RawPatch("application/json-patch+json", []byte(`[{"op":"remove","path":"/status/decisions/0/notAfter"}]`)))
	})
	attack(t, "more than was asked for, given by the checker", func(t *testing.T) {
		_, request := matched(t, checked)
		if err := decideAs(t, checker, request, `{"verdict":"Approve","maxDuration":"720h","notAfter":"2999-01-01T00:00:00Z"}`); err != nil {
			t.Fatal(err)
		}
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		current := e.WaitFor(t, request, v1alpha1.RequestActive)
		if current.Status.ExpirationTime.After(time.Now().Add(time.Hour)) {
			t.Errorf("it lasts until %s", current.Status.ExpirationTime)
		}
	})
	refused(t, "phase written by the checker", "the status is written by the broker alone", func(t *testing.T) error {
		_, request := matched(t, checked)
		return mergeStatus(t.Context(), checker, request, `{"status":{"phase":"Active"}}`)
	})
	refused(t, "stages written by the checker", "the status is written by the broker alone", func(t *testing.T) error {
		_, request := matched(t, nil)
		return mergeStatus(t.Context(), checker, request, fmt.Sprintf(`{"status":{"approvals":[{"name":"sre","count":1,"from":[{"kind":"ServiceAccount","namespace":%q,"name":%q}]}]}}`, machine.Namespace, machine.Name))
	})
	refused(t, "request made by the checker", "forbidden", func(t *testing.T) error {
		return checker.Create(t.Context(), lab.NewRequest(e.NewNamespace(t, nil), nil))
	})
	refused(t, "request deleted by the checker", "forbidden", func(t *testing.T) error {
		_, request := matched(t, checked)
		return checker.Delete(t.Context(), request)
	})
	refused(t, "grants read by the checker", "forbidden", func(t *testing.T) error {
		return checker.List(t.Context(), &v1alpha1.AccessGrantList{})
	})
	refused(t, "Secrets read by the checker", "forbidden", func(t *testing.T) error {
		return checker.List(t.Context(), &corev1.SecretList{}, client.InNamespace(lab.BrokerNamespace))
	})
	attack(t, "anything else by the checker", func(t *testing.T) {
		rights := func(c client.Client) map[string]bool {
			rules := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: lab.BrokerNamespace}}
			if err := c.Create(t.Context(), rules); err != nil {
				t.Fatal(err)
			}
			may := map[string]bool{}
			for _, r := range rules.Status.ResourceRules {
				for _, group := range r.APIGroups {
					for _, resource := range r.Resources {
						for _, verb := range r.Verbs {
							may[verb+" "+resource+"."+group] = true
						}
					}
				}
			}
			return may
		}
		nobody, err := e.AsServiceAccount(t.Context(), lab.BrokerNamespace, "default")
		if err != nil {
			t.Fatal(err)
		}
		may := rights(checker)
		for everybodys := range rights(nobody) {
			delete(may, everybodys)
		}
		for _, known := range []string{
			"get accessrequests.jit.accessbroker.dev", "list accessrequests.jit.accessbroker.dev", "watch accessrequests.jit.accessbroker.dev",
			"patch accessrequests/status.jit.accessbroker.dev", "create events.events.k8s.io", "patch events.events.k8s.io",
			"create tokenreviews.authentication.k8s.io", "create subjectaccessreviews.authorization.k8s.io",
		} {
			if !may[known] {
				t.Errorf("it may not %s", known)
			}
			delete(may, known)
		}
		if len(may) > 0 {
			t.Errorf("it may also %v", may)
		}
	})
}
