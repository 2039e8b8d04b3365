package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// AccessRequestSpec is what somebody asks for. It never changes: to ask for
// something else, make another request.
//
// +kubebuilder:validation:XValidation:rule="[has(self.roleRef), has(self.rules), has(self.extends)].filter(x, x).size() == 1",message="exactly one of roleRef, rules and extends is required"
// +kubebuilder:validation:XValidation:rule="!has(self.extends) || [has(self.subjects), has(self.scope), has(self.policyName), has(self.startTime), has(self.task), has(self.credentialKey)].filter(x, x).size() == 0",message="extends takes subjects, role, scope, policy and task from the request that it names: write only duration, reason and ticket"
// +kubebuilder:validation:XValidation:rule="!has(self.credentialKey) || !has(self.subjects)",message="credentialKey and subjects exclude each other: only the requester gets an issued credential"
type AccessRequestSpec struct {
	// requester is the user who asks. The API server stamps it from the
	// authenticated user when it is left out, and refuses anybody else's name.
	// +required
	Requester UserInfo `json:"requester,omitzero"`
	// subjects get the access; by default the requester does.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(s, s.kind == 'ServiceAccount' || !s.name.startsWith('system:'))",message="users and groups whose name begins with system: belong to Kubernetes and cannot be given access"
	// +kubebuilder:validation:XValidation:rule="self.all(s, s.kind != 'User' || !s.name.startsWith('spiffe://') || s.name.matches('^spiffe://[a-z0-9._-]+(/([.]{0,2}[a-zA-Z0-9_-][a-zA-Z0-9._-]*|[.]{3}[a-zA-Z0-9._-]*))+$'))",message="a user whose name begins with spiffe:// must be one workload by its exact SPIFFE ID, such as spiffe://example.org/ns/payments/sa/deployer"
	Subjects []Subject `json:"subjects,omitempty"`
	// roleRef names the existing role that is asked for.
	// +optional
	RoleRef *RoleRef `json:"roleRef,omitempty"`
	// extends names a request in the same namespace whose access is held, and asks for
	// more time of the same. All but duration, reason and ticket is taken from there.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')`,message="extends must be the name of an AccessRequest in this namespace"
	Extends string `json:"extends,omitempty"`
	// rules ask for exactly these permissions instead of an existing role.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Rules []PolicyRule `json:"rules,omitempty"`
	// scope is where the access holds; by default the request's namespace.
	// +optional
	Scope *Scope `json:"scope,omitempty"`
	// policyName picks one policy and no other, such as a break-glass policy.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')`,message="policyName must be the name of an AccessPolicy, such as break-glass: lower-case letters, digits, - and ."
	PolicyName string `json:"policyName,omitempty"`
	// duration of the access from the moment it is granted, such as 30m or
	// 1h30m; by default the policy's. Between 1s and 720h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0`,message="duration must be written like 90s, 30m or 1h30m: whole hours, minutes and seconds, in this order; a day is 24h"
	// +kubebuilder:validation:XValidation:rule=`!(self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0) || (duration(self) >= duration('1s') && duration(self) <= duration('720h'))`,message="duration must be between 1s and 720h"
	Duration *metav1.Duration `json:"duration,omitempty"`
	// startTime is the moment before which the broker grants nothing, such as
	// 2026-05-04T22:00:00Z.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$')`,message="startTime must be a time with its zone, such as 2026-05-04T22:00:00Z or 2026-05-04T22:00:00+02:00"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$') || (timestamp(self) >= timestamp('2000-01-01T00:00:00Z') && timestamp(self) < timestamp('3000-01-01T00:00:00Z'))`,message="startTime must be in the years 2000 to 2999"
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// reason says why the access is needed, in one line in any language.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="size(self.trim()) > 0",message="reason must not be blank"
	Reason Line `json:"reason"`
	// ticket is an external reference, such as INC-42 or a URL.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Ticket Line `json:"ticket,omitempty"`
	// task ends the access when the task is complete, failed, gone or replaced.
	// +optional
	Task *TaskRef `json:"task,omitempty"`
	// credentialKey asks for a credential of the grant's own instead of access for the
	// requester's identity. It is the X25519 public key of the requester, 32 bytes in
	// base64, to which the broker seals the credential.
	// +optional
	// +kubebuilder:validation:MaxLength=44
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$')`,message="credentialKey must be an X25519 public key: 32 bytes in base64"
	CredentialKey string `json:"credentialKey,omitempty"`
}

// Scope is where access holds: exactly one of its fields.
//
// +kubebuilder:validation:XValidation:rule="[has(self.namespaces), has(self.namespaceSelector), has(self.cluster)].filter(x, x).size() == 1",message="exactly one of namespaces, namespaceSelector and cluster is required"
type Scope struct {
	// namespaces by name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Namespaces []NamespaceName `json:"namespaces,omitempty"`
	// namespaceSelector selects namespaces by label, once, at the grant.
	// +optional
	NamespaceSelector *NamespaceSelector `json:"namespaceSelector,omitempty"`
	// cluster asks for the whole cluster.
	// +optional
	Cluster *ClusterScope `json:"cluster,omitempty"`
}

// ClusterScope is the whole cluster; it has no fields yet.
type ClusterScope struct{}

// RequestPhase is where a request stands.
//
// +kubebuilder:validation:Enum=Pending;Approved;Active;Completed;Expired;Revoked;Denied;Lapsed;Failed
type RequestPhase string

const (
	// RequestPending waits for decisions, for its task to appear, or, at first, for
	// something else that is not there yet.
	RequestPending RequestPhase = "Pending"
	// RequestApproved is approved and waits for its startTime.
	RequestApproved RequestPhase = "Approved"
	// RequestActive means that the access is held now.
	RequestActive RequestPhase = "Active"
	// RequestCompleted means that the task is over, or somebody gave the access
	// back or withdrew the request.
	RequestCompleted RequestPhase = "Completed"
	// RequestExpired means that the time was up.
	RequestExpired RequestPhase = "Expired"
	// RequestRevoked means that the access was taken away early.
	RequestRevoked RequestPhase = "Revoked"
	// RequestDenied means that an approver or the policies said no.
	RequestDenied RequestPhase = "Denied"
	// RequestLapsed means that nobody decided in time.
	RequestLapsed RequestPhase = "Lapsed"
	// RequestFailed means that it cannot be granted.
	RequestFailed RequestPhase = "Failed"
)

// RequestPhases are all phases.
var RequestPhases = []RequestPhase{
	RequestPending, RequestApproved, RequestActive,
	RequestCompleted, RequestExpired, RequestRevoked, RequestDenied, RequestLapsed, RequestFailed,
}

// Ended tells whether the phase is final.
func (p RequestPhase) Ended() bool {
	switch p {
	case RequestCompleted, RequestExpired, RequestRevoked, RequestDenied, RequestLapsed, RequestFailed:
		return true
	case "", RequestPending, RequestApproved, RequestActive:
	}
	return false
}

// AccessRequestStatus is where a request stands. The broker writes it, except
// the decisions, which people add.
type AccessRequestStatus struct {
	// phase sums the conditions up.
	// +optional
	Phase RequestPhase `json:"phase,omitempty"`
	// decisions of approvers and of the requester; append-only, each in its
	// author's name.
	// +optional
	// +listType=map
	// +listMapKey=username
	// +listMapKey=verdict
	// +kubebuilder:validation:MaxItems=64
	Decisions []Decision `json:"decisions,omitempty"`
	// policy that decides the request.
	// +optional
	Policy *PolicyRef `json:"policy,omitempty"`
	// extended is the access that a request with spec.extends asks more time of, and
	// what was asked for there.
	// +optional
	Extended *Extended `json:"extended,omitempty"`
	// approvals that the policy asks for, stage by stage: from whom, how many, and who
	// has given one that counts. A stage whose group follows from a label of the
	// namespace is there once for each group.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Approvals []StageApproval `json:"approvals,omitempty"`
	// rules say what the role allows, expanded, for those who decide. Each is a
	// line of verbs, resources and, if it is for some objects only, their names,
	// such as "get,list pods,pods/log,deployments.apps". When the role is too long
	// for that, the most dangerous lines come first, and the last one begins with
	// "... and" and says how many permissions are left out; rulesHash is over all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MaxLength=1024
	Rules []string `json:"rules,omitempty"`
	// pins are the objects that the names of the request stood for when the broker
	// last looked.
	// +optional
	Pins *Pins `json:"pins,omitempty"`
	// rulesHash identifies the rules and the pins. An approval counts only while
	// this is the hash that its author saw.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	RulesHash string `json:"rulesHash,omitempty"`
	// risks say what somebody who holds the rules could turn them into, the most
	// dangerous first. NoneKnown stands for none: the list is never empty once a
	// policy is matched.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Risks []Risk `json:"risks,omitempty"`
	// grantName of the AccessGrant.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	GrantName string `json:"grantName,omitempty"`
	// expirationTime of the grant.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="expirationTime must be in the years 2000 to 2999"
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`
	// credential that was issued, sealed to spec.credentialKey.
	// +optional
	Credential *SealedCredential `json:"credential,omitempty"`
	// review of the access after its end, where the policy asks for one: as on the
	// grant. While it is Waiting or Overdue, those in status.approvals may add the
	// verdict Review.
	// +optional
	Review ReviewState `json:"review,omitempty"`
	// conditions: PolicyMatched, Approved, Granted, Ended, StandingAccess,
	// TaskWatched, ExpiresSoon, Reviewed.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('2000-01-01T00:00:00Z') && c.lastTransitionTime < timestamp('3000-01-01T00:00:00Z'))",message="lastTransitionTime must be in the years 2000 to 2999"
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Extended is the access of which a request asks for more time, and all that was
// asked for there but the reason and the time.
type Extended struct {
	// requestUID of the request that spec.extends named when the broker looked.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	RequestUID types.UID `json:"requestUID"`
	// grant of that request, which holds the access.
	// +required
	Grant ObjectRef `json:"grant"`
	// expirationTime of that grant. The time that is asked for begins there.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="expirationTime must be in the years 2000 to 2999"
	ExpirationTime metav1.Time `json:"expirationTime"`
	// policyName of the policy that decided there. It decides here too.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PolicyName string `json:"policyName"`
	// subjects who get the access; by default the requester does.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Subjects []Subject `json:"subjects,omitempty"`
	// roleRef is the role that was asked for.
	// +optional
	RoleRef *RoleRef `json:"roleRef,omitempty"`
	// rules that were asked for instead of a role.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Rules []PolicyRule `json:"rules,omitempty"`
	// scope is where the access holds; by default the request's namespace.
	// +optional
	Scope *Scope `json:"scope,omitempty"`
	// task that ends the access.
	// +optional
	Task *TaskRef `json:"task,omitempty"`
}

// Asked is what a request asks for: its spec and, when that extends another request,
// what the broker found to be asked for there. It shares memory with the request.
// Whoever wants to know of the subjects, role, rules, scope, task or policy of a
// request reads it here: the spec alone does not tell.
func (r *AccessRequest) Asked() *AccessRequestSpec {
	from := r.Status.Extended
	if r.Spec.Extends == "" || from == nil {
		return &r.Spec
	}
	asked := r.Spec
	asked.Subjects, asked.RoleRef, asked.Rules, asked.Scope, asked.Task, asked.PolicyName = from.Subjects, from.RoleRef, from.Rules, from.Scope, from.Task, from.PolicyName
	return &asked
}

// StageApproval is a stage of the approvals of one request.
type StageApproval struct {
	// name of the stage.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// from whom the approvals are: who may also deny, revoke and review.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	From []PolicySubject `json:"from"`
	// count of approvals that are needed.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16
	Count *int32 `json:"count"`
	// approved are those whose approval counts in this stage.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=2048
	Approved []string `json:"approved,omitempty"`
}

// Approvers are all who may decide, of every stage.
func (s *AccessRequestStatus) Approvers() []PolicySubject {
	var approvers []PolicySubject
	for _, stage := range s.Approvals {
		approvers = append(approvers, stage.From...)
	}
	return approvers
}

// Required is how many approvals a matched request needs, in all stages together.
func (s *AccessRequestStatus) Required() int { return RequiredBy(s.Approvals) }

// RequiredBy is how many approvals the stages ask for together.
func RequiredBy(stages []StageApproval) int {
	required := 0
	for _, stage := range stages {
		required += int(ptr.Deref(stage.Count, 1))
	}
	return required
}

// Pins are what the names of a request stood for at a moment, each by its UID.
// Another object of the same name is another thing, and nobody approved it.
type Pins struct {
	// roleUID of a ClusterRole; a Role is pinned in each namespace.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	RoleUID types.UID `json:"roleUID,omitempty"`
	// namespaces in which the access would hold; none for the whole cluster.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=1024
	Namespaces []GrantNamespace `json:"namespaces,omitempty"`
	// subjects that have a UID: the ServiceAccounts.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Subjects []GrantSubject `json:"subjects,omitempty"`
	// task, if the request names one.
	// +optional
	Task *TaskPin `json:"task,omitempty"`
}

// TaskPin is what the task of a request stood for at a moment.
type TaskPin struct {
	// uid of the task; left out while it is not there yet.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid,omitempty"`
	// hashBefore is the rulesHash from before the task was there. Approvals with
	// this hash count: they are for the first task of that name, which this is.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	HashBefore string `json:"hashBefore,omitempty"`
}

// HashBefore is the rulesHash from before the task was there. It is empty when
// there is none, and when the pins are nil.
func (p *Pins) HashBefore() string {
	if p == nil || p.Task == nil {
		return ""
	}
	return p.Task.HashBefore
}

// AccessRequest asks for a role for a while, or for as long as a task lasts.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=areq,categories=access
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:selectablefield:JSONPath=`.status.review`
// +kubebuilder:printcolumn:name="Requester",type=string,JSONPath=`.spec.requester.username`
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.roleRef.name`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expirationTime`
// +kubebuilder:printcolumn:name="Rules",type=string,JSONPath=`.spec.rules`,priority=1
// +kubebuilder:printcolumn:name="Extends",type=string,JSONPath=`.spec.extends`,priority=1
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.status.policy.name`,priority=1
// +kubebuilder:printcolumn:name="Review",type=string,JSONPath=`.status.review`,priority=1
// +kubebuilder:printcolumn:name="Ticket",type=string,JSONPath=`.spec.ticket`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`,priority=1
// +kubebuilder:printcolumn:name="Ended",type=string,JSONPath=`.status.conditions[?(@.type=="Ended")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AccessRequest struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is asked for; immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: create another request"
	Spec AccessRequestSpec `json:"spec"`
	// status is where the request stands.
	// +optional
	Status AccessRequestStatus `json:"status,omitempty"`
}

// AccessRequestList is a list of AccessRequests.
//
// +kubebuilder:object:root=true
type AccessRequestList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AccessRequest `json:"items"`
}
