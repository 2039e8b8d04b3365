package policy

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// noon is a Wednesday, 12:00 in UTC and 14:00 in Berlin.
var noon = time.Date(2026, time.July, 15, 12, 0, 0, 0, time.UTC)

func user(name string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: name}
}

func group(name string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.GroupKind, Name: name}
}

func account(namespace, name string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.ServiceAccountKind, Namespace: namespace, Name: name}
}

func clusterRole(name string) v1alpha1.RoleRef {
	return v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: name}
}

func role(name string) v1alpha1.RoleRef {
	return v1alpha1.RoleRef{Kind: v1alpha1.RoleKind, Name: name}
}

// matching stands for the workloads that match a pattern.
func matching(pattern string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.SPIFFEKind, Name: pattern}
}

// named are subjects as a policy names them.
func named(subjects ...v1alpha1.Subject) []v1alpha1.PolicySubject {
	out := make([]v1alpha1.PolicySubject, len(subjects))
	for i, s := range subjects {
		out[i] = v1alpha1.PolicySubject(s)
	}
	return out
}

func list[T any](items ...T) []T { return items }

// ofPolicy changes a policy from the usual one.
type ofPolicy func(*v1alpha1.AccessPolicySpec)

// newPolicy lets group dev request view and edit in payments for an hour at
// most, with one approval by group sre.
func newPolicy(name string, changes ...ofPolicy) *v1alpha1.AccessPolicy {
	p := &v1alpha1.AccessPolicy{Spec: v1alpha1.AccessPolicySpec{
		Requesters:  v1alpha1.RequestersFor(named(group("dev"))...),
		Approvals:   list(v1alpha1.ApprovalStage{Name: "sre", From: named(group("sre")), Count: ptr.To[int32](1)}),
		Roles:       list(clusterRole("view"), clusterRole("edit")),
		Namespaces:  &v1alpha1.PolicyNamespaces{Names: list("payments")},
		MaxDuration: metav1.Duration{Duration: time.Hour},
	}}
	p.Name, p.UID = name, types.UID(name)
	for _, change := range changes {
		change(&p.Spec)
	}
	return p
}

func compiled(name string, changes ...ofPolicy) *Policy { return Compile(newPolicy(name, changes...)) }

func approvals(n int32) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = &n }
}

func requesters(subjects ...v1alpha1.Subject) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Requesters = v1alpha1.RequestersFor(named(subjects...)...) }
}

func approvers(subjects ...v1alpha1.Subject) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].From = named(subjects...) }
}

// stages replaces the one stage of the usual policy.
func stages(stages ...v1alpha1.ApprovalStage) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Approvals = stages }
}

func from(name string, count int32, people ...v1alpha1.Subject) v1alpha1.ApprovalStage {
	return v1alpha1.ApprovalStage{Name: name, From: named(people...), Count: &count}
}

// byLabel is a stage of the group that a label of the namespace names, one approval.
func byLabel(name, key string) v1alpha1.ApprovalStage {
	return v1alpha1.ApprovalStage{Name: name, FromNamespaceLabel: &v1alpha1.NamespaceLabel{Key: key, Prefix: "team-", Suffix: ":owners"}}
}

func roles(refs ...v1alpha1.RoleRef) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Roles = refs }
}

func adhoc(rules ...v1alpha1.PolicyRule) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Rules = rules }
}

func namespaces(names ...string) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Namespaces = &v1alpha1.PolicyNamespaces{Names: names} }
}

func selecting(selector v1alpha1.NamespaceSelector) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) {
		s.Namespaces = &v1alpha1.PolicyNamespaces{Selector: &selector}
	}
}

func labelled(key, value string) v1alpha1.NamespaceSelector {
	return v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{key: v1alpha1.LabelValue(value)}}
}

// unreadable is a selector that cannot be compared with any labels.
var unreadable = v1alpha1.NamespaceSelector{MatchExpressions: list(v1alpha1.NamespaceSelectorRequirement{Key: "team", Operator: "Near"})}

var clusterWide ofPolicy = func(s *v1alpha1.AccessPolicySpec) { s.ClusterScope = v1alpha1.ClusterScopeAllowed }

var anyNamespace ofPolicy = func(s *v1alpha1.AccessPolicySpec) { selecting(v1alpha1.NamespaceSelector{})(s) }

var noNamespaces ofPolicy = func(s *v1alpha1.AccessPolicySpec) { s.Namespaces = nil }

func forSubjects(rule v1alpha1.SubjectsRule) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Subjects = rule }
}

func byDefault(d time.Duration) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.DefaultDuration = &metav1.Duration{Duration: d} }
}

var taskRequired ofPolicy = func(s *v1alpha1.AccessPolicySpec) { s.Task = v1alpha1.TaskRequired }

func onlyIf(name, expression, message string) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) {
		s.Conditions = append(s.Conditions, v1alpha1.PolicyCondition{Name: name, Expression: expression, Message: message})
	}
}

func suspects(name, expression string) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) {
		s.Suspicious = append(s.Suspicious, v1alpha1.SuspiciousUse{Name: name, Expression: expression, Action: v1alpha1.SuspiciousRevoke})
	}
}

// broken makes a policy that does not compile.
var broken ofPolicy = func(s *v1alpha1.AccessPolicySpec) { onlyIf("broken", "nope", "")(s) }

// cannotTell makes a condition that compiles and has no answer.
var cannotTell ofPolicy = func(s *v1alpha1.AccessPolicySpec) {
	onlyIf("unclear", "request.spec.absent == 'x'", "")(s)
}

// ofRequest changes a request from the usual one.
type ofRequest func(*Request)

// newRequest is alice of group dev, who asks for edit in payments.
func newRequest(changes ...ofRequest) Request {
	edit := clusterRole("edit")
	r := Request{
		Object:     map[string]any{"spec": map[string]any{"ticket": "INC-42"}},
		Namespace:  "payments",
		Requester:  v1alpha1.UserInfo{Username: "alice", Groups: list("dev", "system:authenticated")},
		Subjects:   list(user("alice")),
		RoleRef:    &edit,
		Namespaces: list(namespace("payments")),
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func namespace(name string, labels ...string) Namespace {
	ns := Namespace{Name: name, Labels: map[string]string{}}
	object := map[string]any{}
	for i := 0; i < len(labels); i += 2 {
		ns.Labels[labels[i]], object[labels[i]] = labels[i+1], labels[i+1]
	}
	ns.Object = map[string]any{"metadata": map[string]any{"name": name, "labels": object}}
	return ns
}

func asker(username string, groups ...string) ofRequest {
	return func(r *Request) { r.Requester = v1alpha1.UserInfo{Username: username, Groups: groups} }
}

// partly is somebody whose stored copy leaves out some of their groups.
func partly(username string, omitted int32, groups ...string) ofRequest {
	return func(r *Request) {
		r.Requester = v1alpha1.UserInfo{Username: username, Groups: groups, OmittedGroups: omitted, OmittedExtra: r.Requester.OmittedExtra}
		r.Subjects = list(user(username))
	}
}

func withoutExtra(keys ...string) ofRequest {
	return func(r *Request) { r.Requester.OmittedExtra = keys }
}

func wants(ref v1alpha1.RoleRef) ofRequest { return func(r *Request) { r.RoleRef = &ref } }

func wantsRules(rules ...v1alpha1.PolicyRule) ofRequest {
	return func(r *Request) { r.RoleRef, r.Rules = nil, rules }
}

func in(namespaces ...Namespace) ofRequest { return func(r *Request) { r.Namespaces = namespaces } }

var everywhere ofRequest = func(r *Request) { r.Namespaces, r.Cluster = nil, true }

func subjects(subjects ...v1alpha1.Subject) ofRequest {
	return func(r *Request) { r.Subjects = subjects }
}

func lasting(d time.Duration) ofRequest { return func(r *Request) { r.Duration = &d } }

// extendable lets access be extended some times.
func extendable(times int32) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = times }
}

// extending asks for more of access that a policy of this UID gave.
func extending(policy types.UID, number int32) ofRequest {
	return func(r *Request) { r.Extends = &Extension{Policy: policy, Number: number} }
}

func under(policy string) ofRequest { return func(r *Request) { r.PolicyName = policy } }

func withTask(task map[string]any) ofRequest {
	return func(r *Request) { r.HasTask, r.Task = true, task }
}

var (
	issues  ofPolicy  = func(s *v1alpha1.AccessPolicySpec) { s.Credential = v1alpha1.CredentialIssued }
	ownOnly ofPolicy  = func(s *v1alpha1.AccessPolicySpec) { s.Credential = v1alpha1.CredentialOwn }
	keyed   ofRequest = func(r *Request) { r.Issued = true }
	// issuedMay makes an issued credential an approver.
	issuedMay ofBallot = func(b *Ballot) {
		b.Stages[0].From = append(slices.Clone(b.Stages[0].From), named(account(v1alpha1.GrantsNamespace, "fix-1"))...)
	}
)
