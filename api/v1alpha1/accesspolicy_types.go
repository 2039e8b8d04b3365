package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ClusterScopeRule says whether a policy allows cluster-wide access.
//
// +kubebuilder:validation:Enum=Allowed;Forbidden
type ClusterScopeRule string

const (
	// ClusterScopeAllowed allows cluster-wide access.
	ClusterScopeAllowed ClusterScopeRule = "Allowed"
	// ClusterScopeForbidden allows access in namespaces only.
	ClusterScopeForbidden ClusterScopeRule = "Forbidden"
)

// SubjectsRule says for whom people may ask for access.
//
// +kubebuilder:validation:Enum=Self;ServiceAccounts;Any
type SubjectsRule string

const (
	// SubjectsSelf allows access for the requester only.
	SubjectsSelf SubjectsRule = "Self"
	// SubjectsServiceAccounts also allows ServiceAccounts of the request's
	// namespace.
	SubjectsServiceAccounts SubjectsRule = "ServiceAccounts"
	// SubjectsAny allows any user, group or ServiceAccount.
	SubjectsAny SubjectsRule = "Any"
)

// TaskRule says whether a request must name a task.
//
// +kubebuilder:validation:Enum=Optional;Required
type TaskRule string

const (
	// TaskOptional allows requests without a task.
	TaskOptional TaskRule = "Optional"
	// TaskRequired allows only requests that end with a task.
	TaskRequired TaskRule = "Required"
)

// OnRoleWidened says what happens to an active grant whose role comes to
// allow more than was approved.
//
// +kubebuilder:validation:Enum=Revoke;Keep
type OnRoleWidened string

const (
	// OnRoleWidenedRevoke ends the grant.
	OnRoleWidenedRevoke OnRoleWidened = "Revoke"
	// OnRoleWidenedKeep lets the grant go on.
	OnRoleWidenedKeep OnRoleWidened = "Keep"
)

// OnSessionsOpen says what happens to an exec session that is still open when its
// access has ended.
//
// +kubebuilder:validation:Enum=Report;EvictPod
type OnSessionsOpen string

const (
	// OnSessionsOpenReport names it in the grant's condition SessionsOpen.
	OnSessionsOpenReport OnSessionsOpen = "Report"
	// OnSessionsOpenEvictPod also evicts the Pod, which ends the session.
	OnSessionsOpenEvictPod OnSessionsOpen = "EvictPod"
)

// SuspiciousAction says what happens when access was used in a suspicious way.
//
// +kubebuilder:validation:Enum=Report;Revoke
type SuspiciousAction string

const (
	// SuspiciousReport tells it in the grant's condition Suspicious.
	SuspiciousReport SuspiciousAction = "Report"
	// SuspiciousRevoke also ends the grant.
	SuspiciousRevoke SuspiciousAction = "Revoke"
)

// CredentialRule says as whom the access is used.
//
// +kubebuilder:validation:Enum=Own;Issued
type CredentialRule string

const (
	// CredentialOwn gives the access to the requester's own identity.
	CredentialOwn CredentialRule = "Own"
	// CredentialIssued gives it to a ServiceAccount of the grant alone, whose token
	// the requester gets.
	CredentialIssued CredentialRule = "Issued"
)

// AccessPolicySpec says who may ask for what and who decides.
//
// +kubebuilder:validation:XValidation:rule="has(self.roles) || has(self.rules)",message="at least one of roles and rules is required"
// +kubebuilder:validation:XValidation:rule="has(self.namespaces) || self.clusterScope == 'Allowed'",message="at least one of namespaces and clusterScope: Allowed is required"
// +kubebuilder:validation:XValidation:rule="!has(self.defaultDuration) || ![self.defaultDuration, self.maxDuration].all(d, size(d) > 0 && d.matches('^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$')) || duration(self.defaultDuration) <= duration(self.maxDuration)",message="defaultDuration must not be above maxDuration"
type AccessPolicySpec struct {
	// requesters may use the policy, each for ever or until a moment.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Requesters []PolicyRequester `json:"requesters"`
	// approvals are the stages of a decision. All must be met, each by people of its
	// own. An empty list, or one in which no stage needs anybody, grants automatically;
	// it must be written down, so that nobody gets there by a field that is missing.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.map(s, has(s.count) ? s.count : 1).sum() <= 16",message="the counts of all stages together are at most 16"
	// +kubebuilder:validation:XValidation:rule="self.map(s, has(s.from) ? size(s.from) : 1).sum() <= 64",message="all stages together name at most 64 approvers"
	Approvals []ApprovalStage `json:"approvals"`
	// roles that may be asked for.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Roles []RoleRef `json:"roles,omitempty"`
	// rules are the ceiling for requests with rules of their own.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Rules []PolicyRule `json:"rules,omitempty"`
	// namespaces in which access may be asked for.
	// +optional
	Namespaces *PolicyNamespaces `json:"namespaces,omitempty"`
	// clusterScope alone decides on cluster-wide requests.
	// +optional
	// +kubebuilder:default=Forbidden
	ClusterScope ClusterScopeRule `json:"clusterScope,omitempty"`
	// subjects for whom access may be asked.
	// +optional
	// +kubebuilder:default=Self
	Subjects SubjectsRule `json:"subjects,omitempty"`
	// credential that the access is used with. Own gives the access to the requester
	// themselves. Issued gives it to a ServiceAccount of the grant alone: its token is
	// sealed to the credentialKey of the request, ends with the grant, and dies by
	// itself even when no broker runs.
	// +optional
	// +kubebuilder:default=Own
	Credential CredentialRule `json:"credential,omitempty"`
	// maxDuration of the access. A request for more is denied, never shortened.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0`,message="maxDuration must be written like 90s, 30m or 1h30m: whole hours, minutes and seconds, in this order; a day is 24h"
	// +kubebuilder:validation:XValidation:rule=`!(self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0) || (duration(self) >= duration('1s') && duration(self) <= duration('720h'))`,message="maxDuration must be between 1s and 720h"
	MaxDuration metav1.Duration `json:"maxDuration"`
	// defaultDuration of the access when the request names none; by default
	// maxDuration.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0`,message="defaultDuration must be written like 90s, 30m or 1h30m: whole hours, minutes and seconds, in this order; a day is 24h"
	// +kubebuilder:validation:XValidation:rule=`!(self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0) || (duration(self) >= duration('1s'))`,message="defaultDuration must be at least 1s"
	DefaultDuration *metav1.Duration `json:"defaultDuration,omitempty"`
	// maxExtensions of an access one after another, each decided anew; 0 allows none.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MaxExtensions int32 `json:"maxExtensions,omitempty"`
	// reviewWithin of the end of an access, somebody who may decide and did not benefit
	// looks back at it, with the verdict Review. Past that, its requester gets nothing
	// more under this policy until it is done.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0`,message="reviewWithin must be written like 90s, 30m or 1h30m: whole hours, minutes and seconds, in this order; a day is 24h"
	// +kubebuilder:validation:XValidation:rule=`!(self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0) || (duration(self) >= duration('1s') && duration(self) <= duration('2160h'))`,message="reviewWithin must be between 1s and 2160h"
	ReviewWithin *metav1.Duration `json:"reviewWithin,omitempty"`
	// reviewBy is the moment by which people look at the policy itself again. Past it
	// the policy is not Ready: nothing is given by it, and nothing is taken.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$')`,message="reviewBy must be a time with its zone, such as 2026-05-04T22:00:00Z or 2026-05-04T22:00:00+02:00"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$') || (timestamp(self) >= timestamp('2000-01-01T00:00:00Z') && timestamp(self) < timestamp('3000-01-01T00:00:00Z'))`,message="reviewBy must be in the years 2000 to 2999"
	ReviewBy *metav1.Time `json:"reviewBy,omitempty"`
	// pendingTimeout after which an undecided request lapses.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0`,message="pendingTimeout must be written like 90s, 30m or 1h30m: whole hours, minutes and seconds, in this order; a day is 24h"
	// +kubebuilder:validation:XValidation:rule=`!(self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0) || (duration(self) >= duration('1s') && duration(self) <= duration('720h'))`,message="pendingTimeout must be between 1s and 720h"
	PendingTimeout *metav1.Duration `json:"pendingTimeout,omitempty"`
	// maxPendingPerRequester bounds how many requests of one requester may wait
	// for decisions under this policy at a time. A request that needs none, or
	// has them, does not count.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxPendingPerRequester *int32 `json:"maxPendingPerRequester,omitempty"`
	// task says whether a request must name one.
	// +optional
	// +kubebuilder:default=Optional
	Task TaskRule `json:"task,omitempty"`
	// onRoleWidened says what happens when the role comes to allow more.
	// +optional
	// +kubebuilder:default=Revoke
	OnRoleWidened OnRoleWidened `json:"onRoleWidened,omitempty"`
	// idleTimeout after which a grant ends that is not used. Only time counts in
	// which usage was observed, so it needs an observer; without one, access lasts to
	// its deadline.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0`,message="idleTimeout must be written like 90s, 30m or 1h30m: whole hours, minutes and seconds, in this order; a day is 24h"
	// +kubebuilder:validation:XValidation:rule=`!(self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0) || (duration(self) >= duration('1m') && duration(self) <= duration('720h'))`,message="idleTimeout must be between 1m and 720h"
	IdleTimeout *metav1.Duration `json:"idleTimeout,omitempty"`
	// suspicious uses of the access, in CEL. They need an observer.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Suspicious []SuspiciousUse `json:"suspicious,omitempty"`
	// onSessionsOpen says what happens to exec sessions that outlive the access.
	// They need an observer to be seen.
	// +optional
	// +kubebuilder:default=Report
	OnSessionsOpen OnSessionsOpen `json:"onSessionsOpen,omitempty"`
	// conditions that must all hold, in CEL.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Conditions []PolicyCondition `json:"conditions,omitempty"`
}

// PolicyRequester is somebody who may use a policy.
type PolicyRequester struct {
	PolicySubject `json:",inline"`
	// until is the moment at which they may not any more. No access goes past it.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$')`,message="until must be a time with its zone, such as 2026-05-04T22:00:00Z or 2026-05-04T22:00:00+02:00"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$') || (timestamp(self) >= timestamp('2000-01-01T00:00:00Z') && timestamp(self) < timestamp('3000-01-01T00:00:00Z'))`,message="until must be in the years 2000 to 2999"
	Until *metav1.Time `json:"until,omitempty"`
}

// ApprovalStage is one of the approvals that a policy asks for, such as that of the
// owners of the namespace.
//
// +kubebuilder:validation:XValidation:rule="has(self.from) != has(self.fromNamespaceLabel)",message="exactly one of from and fromNamespaceLabel is required"
// +kubebuilder:validation:XValidation:rule="!has(self.from) || self.from.exists(a, a.kind == 'Group' || (a.kind == 'SPIFFE' && a.name.contains('*'))) || !has(self.count) || self.count <= size(self.from)",message="count is more than the people in from can give"
type ApprovalStage struct {
	// name of the stage.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="name must be one word, such as owners: lower-case letters, digits and -"
	Name string `json:"name"`
	// from whom the approvals are. They may also deny, revoke and review.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.kind == b.kind && a.name == b.name && (a.kind != 'ServiceAccount' || a.__namespace__ == b.__namespace__)))",message="name each approver only once"
	From []PolicySubject `json:"from,omitempty"`
	// fromNamespaceLabel names the group whose approvals are needed after a label of
	// the namespace. With several namespaces, the group of each must approve.
	// +optional
	FromNamespaceLabel *NamespaceLabel `json:"fromNamespaceLabel,omitempty"`
	// count of approvals by different people, 1 by default. With 0 nobody is waited
	// for: the people of the stage may deny, revoke and review.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16
	Count *int32 `json:"count,omitempty"`
}

// NamespaceLabel names a group after a label of a namespace: prefix, the value of the
// label, suffix. Whoever may write that label decides who approves there.
type NamespaceLabel struct {
	// key of the label, such as team or example.com/owner.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')`,message="key must be the key of a label, such as team or example.com/owner"
	Key string `json:"key"`
	// prefix of the group's name, such as oidc:.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('system:')",message="groups whose name begins with system: belong to Kubernetes and approve nothing by a label"
	Prefix Line `json:"prefix,omitempty"`
	// suffix of the group's name, such as -owners.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Suffix Line `json:"suffix,omitempty"`
}

// PolicyNamespaces selects namespaces by name, by label, or both: a namespace
// that either of the two selects is in.
//
// +kubebuilder:validation:XValidation:rule="has(self.names) || has(self.selector)",message="at least one of names and selector is required"
type PolicyNamespaces struct {
	// names of namespaces.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Names []NamespaceName `json:"names,omitempty"`
	// selector of namespaces by label; an empty one selects all.
	// +optional
	Selector *NamespaceSelector `json:"selector,omitempty"`
}

// PolicyCondition is a CEL expression over request, namespaceObject, task, cluster
// and now that must be true. With several namespaces it must be true for each.
type PolicyCondition struct {
	// name of the condition.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="name must be one word, such as working-hours: lower-case letters, digits and -"
	Name string `json:"name"`
	// expression in CEL, true or false.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Expression string `json:"expression"`
	// message that the requester gets when the expression is false.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message Line `json:"message,omitempty"`
}

// SuspiciousUse is a CEL expression over event, grant, usage and known that is true
// for a call that nobody should make with the access.
type SuspiciousUse struct {
	// name of the use.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="name must be one word, such as second-address: lower-case letters, digits and -"
	Name string `json:"name"`
	// expression in CEL, true or false.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Expression string `json:"expression"`
	// message for people, when the expression is true.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message Line `json:"message,omitempty"`
	// action: Report or Revoke.
	// +optional
	// +kubebuilder:default=Report
	Action SuspiciousAction `json:"action,omitempty"`
}

// AccessPolicyStatus says whether the policy can be used, and who confirmed it.
type AccessPolicyStatus struct {
	// approvals that are asked for in one line, for kubectl get, such as
	// "owners 1, security 2", or none.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Approvals string `json:"approvals,omitempty"`
	// conditions: Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('2000-01-01T00:00:00Z') && c.lastTransitionTime < timestamp('3000-01-01T00:00:00Z'))",message="lastTransitionTime must be in the years 2000 to 2999"
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// confirmed is the second person who saw the policy and agreed. Only people write
	// it, with config/components/four-eyes, each in their own name.
	// +optional
	Confirmed *PolicyConfirmation `json:"confirmed,omitempty"`
}

// PolicyConfirmation says who agreed to a policy, and to which state of it.
type PolicyConfirmation struct {
	// username of the person who agreed. The API server checks that it is theirs, and
	// that they did not change the policy themselves.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Username Name `json:"username"`
	// uid of the policy that they saw.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid"`
	// generation of the policy that they saw. It counts only while it is the policy's.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Generation int64 `json:"generation"`
}

// AccessPolicy says who may ask for what, and who decides. Policies are
// additive, each a permission of its own.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=apol,categories=access
// +kubebuilder:printcolumn:name="Approvals",type=string,JSONPath=`.status.approvals`
// +kubebuilder:printcolumn:name="Max",type=string,JSONPath=`.spec.maxDuration`
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterScope`,priority=1
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Review by",type=string,JSONPath=`.spec.reviewBy`,priority=1
// +kubebuilder:printcolumn:name="Confirmed by",type=string,JSONPath=`.status.confirmed.username`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AccessPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is who may ask for what and who decides.
	// +required
	Spec AccessPolicySpec `json:"spec"`
	// status says whether the policy can be used.
	// +optional
	Status AccessPolicyStatus `json:"status,omitempty"`
}

// AccessPolicyList is a list of AccessPolicies.
//
// +kubebuilder:object:root=true
type AccessPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AccessPolicy `json:"items"`
}

// RequesterSubjects are the requesters without the moments until which they are it.
func (s *AccessPolicySpec) RequesterSubjects() []PolicySubject {
	subjects := make([]PolicySubject, len(s.Requesters))
	for i, r := range s.Requesters {
		subjects[i] = r.PolicySubject
	}
	return subjects
}

// RequestersFor are requesters for ever.
func RequestersFor(subjects ...PolicySubject) []PolicyRequester {
	requesters := make([]PolicyRequester, len(subjects))
	for i, s := range subjects {
		requesters[i].PolicySubject = s
	}
	return requesters
}
