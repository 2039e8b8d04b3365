package e2e

import (
	"bufio"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What people write in their language, and with the line break that YAML puts
// at the end, is asked, decided and recorded.
func TestTextsOfPeople(t *testing.T) {
	t.Parallel()
	const (
		reason  = "INC-42: \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩\u200d🚒 ❤\ufe0f"
		comment = "\u0915\u094d\u200d\u0937, go ahead"
	)
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Reason, s.Ticket = reason+"\n", "INC-42\n" })
	e.WaitMatched(t, request)
	if err := kit.PatchDecisions(t, bob, request, map[string]any{"verdict": "Approve", "comment": comment + "\n"}); err != nil {
		t.Fatal(err)
	}
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if active.Spec.Reason != reason+"\n" {
		t.Errorf("stored %q", active.Spec.Reason)
	}
	given := e.GrantOf(t, active)
	if given.Spec.Reason != reason || given.Spec.Ticket != "INC-42" || given.Spec.Decisions[0].Comment != comment {
		t.Errorf("recorded %q, %q, %q", given.Spec.Reason, given.Spec.Ticket, given.Spec.Decisions[0].Comment)
	}
	if err := kit.PatchDecisions(t, carol, request, map[string]any{"verdict": "Revoke", "comment": "enough\n"}); err != nil {
		t.Fatal(err)
	}
	over := e.WaitFor(t, request, v1alpha1.RequestRevoked)
	if !kit.HasMessage(over.Status.Conditions, "revoked by carol: enough") {
		t.Error(kit.Describe(over.Status.Conditions))
	}
}

// Durations are written as people write them, wherever they are shown.
func TestDurationsInMessages(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.MaxDuration = metav1.Duration{Duration: time.Minute}
		s.PendingTimeout = &metav1.Duration{Duration: time.Second}
	})
	denied := e.WaitFor(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: time.Hour} }), v1alpha1.RequestDenied)
	if !kit.HasMessage(denied.Status.Conditions, "allows at most 1m") || kit.HasMessage(denied.Status.Conditions, "1m0s") {
		t.Error(kit.Describe(denied.Status.Conditions))
	}
	lapsed := e.WaitFor(t, e.Ask(t, alice, ns, nil), v1alpha1.RequestLapsed)
	if !kit.HasMessage(lapsed.Status.Conditions, "not decided within 1s; ask again") {
		t.Error(kit.Describe(lapsed.Status.Conditions))
	}
}

// A namespace that is being deleted takes no Events: that is no error.
func TestNoErrorsFromANamespaceThatGoes(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
	// Its request stays while the namespace goes, so that the broker has
	// something to tell of.
	kit.Create(t, e.Admin, keepRequests(ns))
	kit.Create(t, e.Admin, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "test-keep-" + ns},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "test-keep-" + ns, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	})
	t.Cleanup(func() {
		_ = e.Admin.Delete(context.WithoutCancel(t.Context()), keepRequests(ns))
	})
	kit.Eventually(t, "the request to be kept", func(ctx context.Context) (bool, error) {
		return e.Admin.Delete(ctx, request.DeepCopy(), client.DryRunAll) != nil, nil
	})
	kit.Delete(t, e.Admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	// The broker may end it before bob does: either way there is something to tell.
	if err := kit.Decide(t, bob, request, v1alpha1.VerdictDeny); err != nil && !strings.Contains(err.Error(), "the request is over (Failed)") {
		t.Fatal(err)
	}
	e.WaitUntil(t, request, "an end", func(r *v1alpha1.AccessRequest) bool { return r.Status.Phase.Ended() })

	// The broker writes Events when it has time: one of the two lines comes.
	kit.Eventually(t, "a word of the event", func(context.Context) (bool, error) {
		log, err := os.Open(e.Log("broker"))
		if err != nil {
			return false, err
		}
		defer log.Close()
		lines := bufio.NewScanner(log)
		lines.Buffer(nil, 1<<24)
		for lines.Scan() {
			line := lines.Text()
			if strings.Contains(line, ns) && strings.Contains(line, "Server rejected event") {
				t.Fatalf("logged as an error: %s", line)
			}
			if strings.Contains(line, `"`+ns+`"`) && strings.Contains(line, "no event into a namespace that is being deleted") {
				return true, nil
			}
		}
		return false, lines.Err()
	})
}

func keepRequests(ns string) *admissionregistrationv1.ValidatingAdmissionPolicy {
	return &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "test-keep-" + ns},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: ptr.To(admissionregistrationv1.Fail),
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: ns}},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Delete},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{v1alpha1.GroupVersion.Group}, APIVersions: []string{"*"}, Resources: []string{"accessrequests"}},
				}}},
			},
			Validations: []admissionregistrationv1.Validation{{Expression: "false", Message: "kept by a test"}},
		},
	}
}
