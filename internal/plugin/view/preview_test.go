package view

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
)

// aPolicy lets alice ask for edit in payments for an hour; bob approves.
func aPolicy(name string, edit ...func(*v1alpha1.AccessPolicySpec)) v1alpha1.AccessPolicy {
	p := v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.AccessPolicySpec{
		Requesters:  []v1alpha1.PolicyRequester{{PolicySubject: v1alpha1.PolicySubject{Kind: v1alpha1.UserKind, Name: "alice"}}},
		Roles:       []v1alpha1.RoleRef{{Kind: v1alpha1.ClusterRoleKind, Name: "edit"}},
		Namespaces:  &v1alpha1.PolicyNamespaces{Names: []string{"payments"}},
		MaxDuration: metav1.Duration{Duration: 4 * time.Hour}, DefaultDuration: &metav1.Duration{Duration: time.Hour},
		Approvals: []v1alpha1.ApprovalStage{{Name: "owner", From: []v1alpha1.PolicySubject{{Kind: v1alpha1.UserKind, Name: "bob"}}}},
	}}
	for _, e := range edit {
		e(&p.Spec)
	}
	return p
}

func byLabel(s *v1alpha1.AccessPolicySpec) {
	s.Namespaces = &v1alpha1.PolicyNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "pay"}}}
}

func byOwners(s *v1alpha1.AccessPolicySpec) {
	s.Approvals = []v1alpha1.ApprovalStage{{Name: "owners", FromNamespaceLabel: &v1alpha1.NamespaceLabel{Key: "team", Prefix: "team-"}}}
}

func holds(expression string) func(*v1alpha1.AccessPolicySpec) {
	return func(s *v1alpha1.AccessPolicySpec) {
		s.Conditions = []v1alpha1.PolicyCondition{{Name: "rule", Expression: expression}}
	}
}

// payments is the namespace as somebody sees it who may read it.
func payments(labels map[string]string) SeenNamespace {
	object := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	object.Name, object.Labels = "payments", labels
	return SeenNamespace{Name: "payments", Object: object}
}

var (
	team   = map[string]string{"team": "pay"}
	unseen = SeenNamespace{Name: "payments"}
)

func TestPreview(t *testing.T) {
	someRules := []rbacv1.PolicyRule{{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"pods/exec", "pods"}}}
	for name, tc := range map[string]struct {
		policies []v1alpha1.AccessPolicy
		edit     func(*v1alpha1.AccessRequest)
		in       SeenNamespace
		unread   string
		answer   policy.Answer
		policy   string
		says     string
		warns    string
		facts    []string
		untold   []string
	}{
		"one approval": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p")}, in: payments(team), answer: policy.Allowed, policy: "p",
			says:  "Policy p decides, with 1 approval.",
			facts: []string{"How long: 1h from the grant on", "Who decides: bob", "Where: namespace payments", "What: ClusterRole/edit", "Can change: writes pods, pods/exec"},
		},
		"as long as was asked": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p")}, in: payments(team), answer: policy.Allowed, policy: "p",
			edit:  func(r *v1alpha1.AccessRequest) { r.Spec.Duration = &metav1.Duration{Duration: 2 * time.Hour} },
			facts: []string{"How long: 2h from the grant on"},
		},
		"the most careful decides": {
			policies: []v1alpha1.AccessPolicy{aPolicy("b"), aPolicy("a", func(s *v1alpha1.AccessPolicySpec) { s.Approvals = []v1alpha1.ApprovalStage{} })},
			in:       payments(team), answer: policy.Allowed, policy: "b", says: "Policy b decides, with 1 approval.",
		},
		"no approval": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", func(s *v1alpha1.AccessPolicySpec) { s.Approvals = []v1alpha1.ApprovalStage{} })},
			in:       payments(team), answer: policy.Allowed, policy: "p", says: "Policy p gives it at once: no approval is needed.",
		},
		"the group that a label names": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", byOwners)}, in: payments(team), answer: policy.Allowed, policy: "p",
			facts: []string{"Who decides: group:team-pay"},
		},
		"a label that is missing": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", byOwners)}, in: payments(nil), answer: policy.NotAllowed,
			says: "namespace payments has no such label",
		},
		"a label that may not be read": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", byOwners)}, in: unseen, answer: policy.Allowed, policy: "p",
			facts: []string{"Who decides: group:team-<label team>"}, untold: []string{`Which group decides in stage "owners": the label team of namespace payments, whose labels you may not read`},
		},
		"labels that fit": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", byLabel)}, in: payments(team), answer: policy.Allowed, policy: "p",
		},
		"labels that do not": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", byLabel)}, in: payments(nil), answer: policy.NotAllowed, says: "does not cover namespace payments",
		},
		"labels that may not be read": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", byLabel)}, in: unseen, answer: policy.Allowed, policy: "p",
			untold: []string{"Whether policy p is for namespace payments, whose labels you may not read: it wants team=pay."},
		},
		"labels that need not be read": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p")}, in: unseen, answer: policy.Allowed, policy: "p", says: "Policy p decides",
		},
		"too long": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p")}, in: payments(team), answer: policy.NotAllowed,
			edit: func(r *v1alpha1.AccessRequest) { r.Spec.Duration = &metav1.Duration{Duration: 5 * time.Hour} },
			says: `closest is "p", which allows at most 4h`, facts: []string{"How long: 5h from the grant on"},
		},
		"nobody else may approve": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].From[0].Name = "alice" })},
			in:       payments(team), answer: policy.NotAllowed, says: "could never be met for this request",
		},
		"a condition that holds": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", holds("namespaceObject.metadata.labels.team == 'pay' && request.spec.reason != ''"))}, in: payments(team),
			answer: policy.Allowed, policy: "p",
		},
		"a condition that does not": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", holds("has(request.spec.ticket)"))}, in: payments(team), answer: policy.NotAllowed, says: "does not hold",
			edit: func(r *v1alpha1.AccessRequest) { r.Spec.Ticket = "" },
		},
		"a condition on what may not be read": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", holds("namespaceObject.metadata.labels.team == 'x'"))}, in: unseen, answer: policy.Allowed, policy: "p",
			untold: []string{`Whether the condition "rule" of policy p holds`},
		},
		"a condition on a task": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", holds("task != null"))}, in: payments(team), answer: policy.Allowed, policy: "p",
			edit: func(r *v1alpha1.AccessRequest) {
				r.Spec.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
			},
			facts: []string{"How long: 1h from the grant on; no longer than Job migrate runs"}, untold: []string{`Whether the condition "rule" of policy p holds`},
		},
		"a role that may not be read": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p")}, in: payments(team), unread: "you may not read ClusterRole edit", answer: policy.Allowed, policy: "p",
			untold: []string{"What it allows, and what its holder could turn it into: you may not read ClusterRole edit. Whoever decides sees it."},
		},
		"no policy at all": {in: payments(team), answer: policy.NotAllowed, says: "there are no policies yet"},
		"nobody has confirmed it": {
			policies: []v1alpha1.AccessPolicy{func() v1alpha1.AccessPolicy {
				p := aPolicy("p")
				p.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: "carol"}
				p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotConfirmed}}
				return p
			}()}, in: payments(team), answer: policy.Unknown, says: "gives nothing until a second person confirms it",
		},
		"the broker may not bind the role": {
			policies: []v1alpha1.AccessPolicy{func() v1alpha1.AccessPolicy {
				p := aPolicy("p")
				p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "MayNotBind", Message: "the broker may not bind it"}}
				return p
			}()}, in: payments(team), answer: policy.Allowed, policy: "p", warns: "Nothing comes of policy p now: the broker may not bind it.",
		},
		"one that is being deleted": {
			policies: []v1alpha1.AccessPolicy{func() v1alpha1.AccessPolicy {
				p := aPolicy("p")
				p.DeletionTimestamp = ptr.To(metav1.NewTime(noon))
				return p
			}()}, in: payments(team), answer: policy.NotAllowed, says: "there are no policies yet",
		},
		"what nobody is given": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", func(s *v1alpha1.AccessPolicySpec) {
				s.Rules = []v1alpha1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}
			})}, in: payments(team), answer: policy.NotAllowed, says: "These permissions are given to nobody: ",
			edit: func(r *v1alpha1.AccessRequest) {
				r.Spec.RoleRef, r.Spec.Rules = nil, []v1alpha1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"pods"}}}
			},
		},
		"a Role in the whole cluster": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p")}, answer: policy.NotAllowed, says: "name a ClusterRole",
			edit: func(r *v1alpha1.AccessRequest) {
				r.Spec.RoleRef.Kind, r.Spec.Scope = v1alpha1.RoleKind, &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
			},
		},
		"only until": {
			policies: []v1alpha1.AccessPolicy{aPolicy("p", func(s *v1alpha1.AccessPolicySpec) {
				s.Requesters[0].Until = ptr.To(metav1.NewTime(noon.Add(3 * time.Hour)))
			})},
			in: payments(team), answer: policy.Allowed, policy: "p", untold: []string{"it can begin no later than 2026-05-04T14:00:00Z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "payments", GenerateName: "edit-"}, Spec: v1alpha1.AccessRequestSpec{
				Requester: v1alpha1.UserInfo{Username: "alice"}, RoleRef: &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "edit"}, Reason: "INC-42",
			}}
			if tc.edit != nil {
				tc.edit(r)
			}
			seen := Seen{Rules: someRules, Unread: tc.unread}
			if tc.in.Name != "" {
				seen.Namespaces = []SeenNamespace{tc.in}
			}
			got, err := PreviewOf(context.Background(), tc.policies, r, seen, noon)
			if err != nil {
				t.Fatal(err)
			}
			if got.Answer != tc.answer || got.Policy != tc.policy || !strings.Contains(got.Says, tc.says) {
				t.Errorf("%s by %q: %s", got.Answer, got.Policy, got.Says)
			}
			if warns := strings.Join(got.Warns, " "); warns != tc.warns {
				t.Errorf("it warns: %q", warns)
			}
			var facts []string
			for _, part := range got.Facts {
				facts = append(facts, part.Title+": "+strings.Join(Each(part.Items, func(i Item) string { return i.Text }), " | "))
			}
			for _, want := range tc.facts {
				if !slices.Contains(facts, want) {
					t.Errorf("no %q in\n%s", want, strings.Join(facts, "\n"))
				}
			}
			if len(got.Untold) != len(tc.untold) {
				t.Errorf("untold: %q", got.Untold)
			}
			for _, want := range tc.untold {
				if !slices.ContainsFunc(got.Untold, func(line string) bool { return strings.Contains(line, want) }) {
					t.Errorf("no %q in %q", want, got.Untold)
				}
			}
			if known := len(got.Allows) > 0; known != (tc.unread == "") {
				t.Errorf("what it allows is told: %t", known)
			}
			if dangerous := len(got.Risks) > 0 && got.Risks[0].Danger; dangerous != (tc.unread == "") {
				t.Errorf("what it could be turned into is told: %t", dangerous)
			}
		})
	}
}
