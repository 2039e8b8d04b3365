package v1alpha1

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Subject kinds, as RBAC names them.
const (
	UserKind           = rbacv1.UserKind
	GroupKind          = rbacv1.GroupKind
	ServiceAccountKind = rbacv1.ServiceAccountKind
)

// SPIFFEKind is the kind of a PolicySubject that stands for workloads by a pattern
// over their SPIFFE IDs. RBAC does not have it.
const SPIFFEKind = "SPIFFE"

// Role kinds, as RBAC names them.
const (
	RoleKind        = "Role"
	ClusterRoleKind = "ClusterRole"
)

// Subject is an RBAC subject with bounds: a user, a group or a
// ServiceAccount. Its fields are those of rbacv1.Subject, in the same order,
// so that one converts to the other.
//
// +structType=atomic
// +kubebuilder:validation:XValidation:rule="(self.kind == 'ServiceAccount') == has(self.__namespace__)",message="namespace is required for a ServiceAccount and not allowed for a User or Group"
// +kubebuilder:validation:XValidation:rule="!has(self.apiGroup) || (self.kind == 'ServiceAccount' ? size(self.apiGroup) == 0 : self.apiGroup == 'rbac.authorization.k8s.io')",message="apiGroup must be rbac.authorization.k8s.io for a User or Group, and empty for a ServiceAccount"
// +kubebuilder:validation:XValidation:rule="self.kind != 'ServiceAccount' || (size(self.name) <= 253 && self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",message="the name of a ServiceAccount must be a DNS subdomain"
type Subject struct {
	// kind of the subject: User, Group or ServiceAccount.
	// +required
	// +kubebuilder:validation:Enum=User;Group;ServiceAccount
	Kind string `json:"kind"`
	// apiGroup may be given as RBAC writes it; it follows from the kind.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	APIGroup string `json:"apiGroup,omitempty"`
	// name of the user, group or ServiceAccount.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Name Name `json:"name"`
	// namespace of a ServiceAccount.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace NamespaceName `json:"namespace,omitempty"`
}

// PolicySubject is somebody whom a policy names: a user, a group, a
// ServiceAccount, or all workloads whose SPIFFE ID matches a pattern. Its fields
// are those of Subject, in the same order, so that one converts to the other.
// The package identity says whom it stands for.
//
// +structType=atomic
// +kubebuilder:validation:XValidation:rule="(self.kind == 'ServiceAccount') == has(self.__namespace__)",message="namespace is required for a ServiceAccount and not allowed for others"
// +kubebuilder:validation:XValidation:rule="!has(self.apiGroup) || (self.kind in ['User', 'Group'] ? self.apiGroup == 'rbac.authorization.k8s.io' : size(self.apiGroup) == 0)",message="apiGroup must be rbac.authorization.k8s.io for a User or Group, and empty for others"
// +kubebuilder:validation:XValidation:rule="self.kind != 'ServiceAccount' || (size(self.name) <= 253 && self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",message="the name of a ServiceAccount must be a DNS subdomain"
// +kubebuilder:validation:XValidation:rule="self.kind != 'SPIFFE' || (size(self.name) <= 512 && self.name.matches('^spiffe://[a-z0-9._-]+(/([*]|[.]{0,2}[a-zA-Z0-9_-][a-zA-Z0-9._-]*|[.]{3}[a-zA-Z0-9._-]*)){0,15}/([*]{1,2}|[.]{0,2}[a-zA-Z0-9_-][a-zA-Z0-9._-]*|[.]{3}[a-zA-Z0-9._-]*)$'))",message="the name of a SPIFFE subject must be a SPIFFE ID with a path, such as spiffe://example.org/ns/payments/sa/deployer: at most 16 segments and 512 characters, where * stands for a whole segment and /** at the end for one or more"
// +kubebuilder:validation:XValidation:rule="self.kind != 'User' || !self.name.startsWith('spiffe://') || !self.name.contains('*')",message="a User is named exactly: for all workloads that match a pattern, write kind: SPIFFE"
type PolicySubject struct {
	// kind of the subject: User, Group, ServiceAccount or SPIFFE.
	// +required
	// +kubebuilder:validation:Enum=User;Group;ServiceAccount;SPIFFE
	Kind string `json:"kind"`
	// apiGroup may be given as RBAC writes it; it follows from the kind.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	APIGroup string `json:"apiGroup,omitempty"`
	// name of the user, group or ServiceAccount. For SPIFFE it is a SPIFFE ID with a
	// path, in which * stands for one whole segment, and /** at the end for one or
	// more: spiffe://example.org/ns/*/sa/deployer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Name Name `json:"name"`
	// namespace of a ServiceAccount.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace NamespaceName `json:"namespace,omitempty"`
}

// PolicyRule is an RBAC rule with bounds. Its fields are those of
// rbacv1.PolicyRule, in the same order, so that one converts to the other.
//
// +structType=atomic
type PolicyRule struct {
	// verbs that the rule allows.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	Verbs []string `json:"verbs"`
	// apiGroups of the resources; "" is the core group.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	APIGroups []string `json:"apiGroups,omitempty"`
	// resources, in the plural, with subresources as pods/log.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=256
	Resources []string `json:"resources,omitempty"`
	// resourceNames narrows the rule to objects of these names.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=256
	ResourceNames []string `json:"resourceNames,omitempty"`
	// nonResourceURLs are paths such as /metrics; cluster-wide only.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	NonResourceURLs []string `json:"nonResourceURLs,omitempty"`
}

// RBACRules are the rules in RBAC's own type. Both share their lists.
func RBACRules(rules []PolicyRule) []rbacv1.PolicyRule {
	out := make([]rbacv1.PolicyRule, len(rules))
	for i, rule := range rules {
		out[i] = rbacv1.PolicyRule(rule)
	}
	return out
}

// RoleRef names an existing role. A Role is looked up in each namespace of
// the scope.
//
// +structType=atomic
type RoleRef struct {
	// kind of the role: Role or ClusterRole.
	// +required
	// +kubebuilder:validation:Enum=Role;ClusterRole
	Kind string `json:"kind"`
	// name of the role.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[^\p{C}\p{Z}/%*]*$')`,message="name must be that of one role, such as edit: without spaces, invisible characters, /, % and wildcards"
	// +kubebuilder:validation:XValidation:rule="!(self in ['.', '..'])",message="name must not be . or .."
	Name string `json:"name"`
}

// UserInfo is the user whom a request came from, in the shape of
// authentication.k8s.io/v1 UserInfo, with bounds. It is a copy. Nobody chooses
// what it leaves out (internal/identity has the rule): that is counted or named,
// and the audit log of the API server has all of it.
type UserInfo struct {
	// username that the API server authenticated.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Username Name `json:"username"`
	// uid that the authenticator gave, if any; a uid of more than 1024 characters
	// is left out.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	UID string `json:"uid,omitempty"`
	// groups of the user, in the order of the authenticator: the first 1024, of
	// at most 2048 characters each and 131072 together.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=2048
	Groups []string `json:"groups,omitempty"`
	// omittedGroups counts the groups that are left out of this copy.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	OmittedGroups int32 `json:"omittedGroups,omitempty"`
	// extra is what else the authenticator said of the user: only the keys that
	// the admission policies keep (keptExtra), with values of at most 1024
	// characters.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256)",message="keys must not be longer than 256 characters"
	Extra map[string]ExtraValue `json:"extra,omitempty"`
	// omittedExtra names the keys of extra that are left out of this copy, at
	// most 64. Their values are stored nowhere.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	OmittedExtra []string `json:"omittedExtra,omitempty"`
}

// ExtraValue is one entry of UserInfo's extra.
//
// +listType=atomic
// +kubebuilder:validation:MaxItems=64
// +kubebuilder:validation:items:MaxLength=1024
type ExtraValue []string

// NamespaceSelector selects namespaces by their labels: a bounded
// metav1.LabelSelector. An empty one selects all.
//
// +structType=atomic
type NamespaceSelector struct {
	// matchLabels that a namespace must carry.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.indexOf('/') <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="keys must be the keys of labels, such as team or example.com/team"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`
	// matchExpressions that must all hold.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	MatchExpressions []NamespaceSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')`,message="must be the value of a label, such as payments: letters, digits, -, _ and ., with a letter or a digit at either end"
type LabelValue string

// NamespaceSelectorRequirement is one expression of a NamespaceSelector.
//
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",message="values are required for In and NotIn, and not allowed for Exists and DoesNotExist"
type NamespaceSelectorRequirement struct {
	// key of the label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Key Label `json:"key"`
	// operator: In, NotIn, Exists or DoesNotExist.
	// +required
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`
	// values for In and NotIn.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Values []LabelValue `json:"values,omitempty"`
}

// TaskRef names the object whose end ends the access. It is in the request's
// namespace.
type TaskRef struct {
	// apiVersion of the task, such as batch/v1.
	// +required
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+$')`,message="apiVersion must be written like v1 or batch/v1: the group, /, and the version"
	APIVersion string `json:"apiVersion"`
	// kind of the task, such as Job.
	// +required
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[A-Za-z][A-Za-z0-9]*$')`,message="kind must be one word, such as Job: letters and digits"
	Kind string `json:"kind"`
	// name of the task.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[^\p{C}\p{Z}/%]*$')`,message="name must be that of one object, such as migrate: without spaces, invisible characters, / and %"
	// +kubebuilder:validation:XValidation:rule="!(self in ['.', '..'])",message="name must not be . or .."
	Name string `json:"name"`
	// completeWhen is a CEL expression over `object`, `request` and `granted`, the
	// moment of the grant. It is true when the task is over. If given, it alone
	// decides. A kind whose end is not known needs it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	CompleteWhen string `json:"completeWhen,omitempty"`
}

// Moment is a time. The schema alone admits what Go does not decode, so every field
// has a rule; controller-gen does not take it from here.
type Moment = metav1.Time

// ObjectRef pins an object by its UID: the same name with another UID is
// another thing.
type ObjectRef struct {
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// uid of the object.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid"`
}

// PolicyRef is the policy that decided a request.
type PolicyRef struct {
	ObjectRef `json:",inline"`
	// generation of the policy at that moment.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Generation int64 `json:"generation"`
}

// Verdict is what a decision says.
//
// +kubebuilder:validation:Enum=Approve;Deny;Revoke;Release;Review
type Verdict string

const (
	// VerdictApprove counts in one stage of the policy's approvals.
	VerdictApprove Verdict = "Approve"
	// VerdictDeny by one approver ends the request before it is granted.
	VerdictDeny Verdict = "Deny"
	// VerdictRevoke by one approver ends an active grant.
	VerdictRevoke Verdict = "Revoke"
	// VerdictRelease by the requester or a subject gives the access back.
	VerdictRelease Verdict = "Release"
	// VerdictReview by one approver, after the end, says that somebody looked back.
	VerdictReview Verdict = "Review"
)

// ReviewState is where the look back at access that has ended stands.
//
// +kubebuilder:validation:Enum=AfterEnd;Waiting;Overdue;Done
type ReviewState string

const (
	// ReviewAfterEnd means that the access is held, and will be reviewed.
	ReviewAfterEnd ReviewState = "AfterEnd"
	// ReviewWaiting means that the access has ended, and nobody has looked back yet.
	ReviewWaiting ReviewState = "Waiting"
	// ReviewOverdue means that nobody looked back in time.
	ReviewOverdue ReviewState = "Overdue"
	// ReviewDone means that somebody looked back.
	ReviewDone ReviewState = "Done"
)

// Open tells whether somebody has to look back now.
func (s ReviewState) Open() bool { return s == ReviewWaiting || s == ReviewOverdue }

// Decision is what one person decided. The API server stamps who it was, from
// the authenticated user.
type Decision struct {
	// username of the decider; stamped.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Username Name `json:"username"`
	// groups of the decider; stamped. Those that the approvers or the subjects
	// name come first and are never left out. An approval keeps up to 512 others,
	// of 16384 characters together; other verdicts need none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=640
	// +kubebuilder:validation:items:MaxLength=2048
	Groups []string `json:"groups,omitempty"`
	// omittedGroups counts the groups that are left out of an approval.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	OmittedGroups int32 `json:"omittedGroups,omitempty"`
	// verdict: Approve, Deny, Revoke, Release or Review.
	// +required
	Verdict Verdict `json:"verdict"`
	// comment for the record.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Comment Line `json:"comment,omitempty"`
	// maxDuration of the access, given with an approval: no more than this. The
	// smallest of all counts.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0`,message="maxDuration must be written like 90s, 30m or 1h30m: whole hours, minutes and seconds, in this order; a day is 24h"
	// +kubebuilder:validation:XValidation:rule=`!(self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0) || (duration(self) >= duration('1s') && duration(self) <= duration('720h'))`,message="maxDuration must be between 1s and 720h"
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
	// notAfter is the moment, given with an approval, at which the access ends at the
	// latest. The earliest of all counts.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$')`,message="notAfter must be a time with its zone, such as 2026-05-04T22:00:00Z or 2026-05-04T22:00:00+02:00"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$') || (timestamp(self) >= timestamp('2000-01-01T00:00:00Z') && timestamp(self) < timestamp('3000-01-01T00:00:00Z'))`,message="notAfter must be in the years 2000 to 2999"
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
	// requestUID of the request that the decider saw. If given, it must be this
	// request's.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	RequestUID types.UID `json:"requestUID,omitempty"`
	// rulesHash is the request's status.rulesHash at the moment of the decision. It
	// stands for what the role allowed, and for which role, task, subjects and
	// namespaces these were. It is stamped when the decider does not quote it. An
	// approval counts only while all of that is the same.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	RulesHash string `json:"rulesHash,omitempty"`
}

// Risk is one thing that somebody who holds a role could turn it into.
type Risk struct {
	// kind of the risk, one CamelCase word for machines.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Kind string `json:"kind"`
	// message says the risk in plain words.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
}
