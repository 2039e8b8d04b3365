package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// AccessGrantSpec is what was approved, and all that the bindings are made
// from. It never changes.
type AccessGrantSpec struct {
	// requestRef is the request that was approved.
	// +required
	RequestRef RequestRef `json:"requestRef"`
	// requester is the user who asked.
	// +required
	Requester UserInfo `json:"requester"`
	// subjects who get the access.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Subjects []GrantSubject `json:"subjects"`
	// roleRef is the role that is bound.
	// +optional
	RoleRef *RoleRef `json:"roleRef,omitempty"`
	// roleUID pins a ClusterRole; a Role is pinned in each namespace.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	RoleUID types.UID `json:"roleUID,omitempty"`
	// namespaces in which the access holds, resolved and pinned.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=1024
	Namespaces []GrantNamespace `json:"namespaces,omitempty"`
	// cluster is true when the access holds in the whole cluster.
	// +optional
	Cluster bool `json:"cluster,omitempty"`
	// policyRef is the policy that allowed it.
	// +required
	PolicyRef PolicyRef `json:"policyRef"`
	// decisions that the grant is based on.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Decisions []Decision `json:"decisions,omitempty"`
	// reason that the requester gave.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
	// ticket that the requester gave.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Ticket string `json:"ticket,omitempty"`
	// rules of a grant without a roleRef, as approved. The broker makes a role of
	// them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=512
	Rules []PolicyRule `json:"rules,omitempty"`
	// roleRules say what the role allowed when it was approved, line by line, like
	// the status.rules of the request, and cut like them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MaxLength=1024
	RoleRules []string `json:"roleRules,omitempty"`
	// rulesHash of what was approved: the rules, and the UIDs of the role, the
	// task, the subjects and the namespaces.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	RulesHash string `json:"rulesHash,omitempty"`
	// notBefore is the moment of the grant.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="notBefore must be in the years 2000 to 2999"
	NotBefore metav1.Time `json:"notBefore"`
	// expirationTime is the moment at which the access ends, whatever happens.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="expirationTime must be in the years 2000 to 2999"
	ExpirationTime metav1.Time `json:"expirationTime"`
	// shortenedBy is the approver who gave less time than was asked for.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	ShortenedBy string `json:"shortenedBy,omitempty"`
	// extends is the grant of which this one is more time.
	// +optional
	Extends *GrantExtended `json:"extends,omitempty"`
	// reviewWithin of its end, somebody who may decide and did not benefit looks back.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0`,message="reviewWithin must be written like 90s, 30m or 1h30m: whole hours, minutes and seconds, in this order; a day is 24h"
	// +kubebuilder:validation:XValidation:rule=`!(self.matches(r'^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$') && size(self) > 0) || (duration(self) >= duration('1s') && duration(self) <= duration('2160h'))`,message="reviewWithin must be between 1s and 2160h"
	ReviewWithin *metav1.Duration `json:"reviewWithin,omitempty"`
	// task whose end ends the access.
	// +optional
	Task *GrantTask `json:"task,omitempty"`
	// credentialKey is the key that the issued credential is sealed to. With it, the
	// bindings name a ServiceAccount of this grant alone, and not the subjects.
	// +optional
	// +kubebuilder:validation:MaxLength=44
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$')`,message="credentialKey must be an X25519 public key: 32 bytes in base64"
	CredentialKey string `json:"credentialKey,omitempty"`
	// summary holds lists of the spec as one line each, for kubectl get.
	// +optional
	Summary GrantSummary `json:"summary,omitzero"`
}

// GrantExtended pins the grant that another one gives more time to.
type GrantExtended struct {
	ObjectRef `json:",inline"`
	// extensions that there are with this one, from the first grant on.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Extensions int32 `json:"extensions"`
	// first is the grant that the first extension gave more time to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	First string `json:"first"`
	// expirationTime of the grant that this one gives more time to. The time that is
	// added begins there.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="expirationTime must be in the years 2000 to 2999"
	ExpirationTime metav1.Time `json:"expirationTime"`
}

// RequestRef pins an AccessRequest.
type RequestRef struct {
	// namespace of the request.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	ObjectRef `json:",inline"`
}

// GrantSubject is a subject, a ServiceAccount pinned by its UID.
type GrantSubject struct {
	Subject `json:",inline"`
	// uid of a ServiceAccount.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid,omitempty"`
}

// GrantNamespace is a namespace, pinned by its UID.
type GrantNamespace struct {
	ObjectRef `json:",inline"`
	// roleUID pins the Role of this namespace, if a Role is granted.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	RoleUID types.UID `json:"roleUID,omitempty"`
}

// GrantTask is a task, pinned by its UID.
type GrantTask struct {
	TaskRef `json:",inline"`
	// uid of the task.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid"`
}

// GrantSummary holds what kubectl get prints and JSONPath cannot join.
type GrantSummary struct {
	// subjects, such as alice or sa:payments/migrate.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Subjects string `json:"subjects,omitempty"`
	// role, such as ClusterRole/edit.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Role string `json:"role,omitempty"`
	// scope: the namespaces, or * for the cluster.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Scope string `json:"scope,omitempty"`
	// approvers on whose decisions the grant is based.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Approvers string `json:"approvers,omitempty"`
}

// GrantPhase is where a grant stands.
//
// +kubebuilder:validation:Enum=Pending;Active;Ended
type GrantPhase string

const (
	// GrantPending means that not all of its bindings exist yet.
	GrantPending GrantPhase = "Pending"
	// GrantActive means that all of its bindings exist.
	GrantActive GrantPhase = "Active"
	// GrantEnded means that none of its bindings is left.
	GrantEnded GrantPhase = "Ended"
)

// EndReason says why a grant ended.
//
// +kubebuilder:validation:MaxLength=64
type EndReason string

const (
	// EndExpired: the time was up.
	EndExpired EndReason = "Expired"
	// EndTaskCompleted: the task completed.
	EndTaskCompleted EndReason = "TaskCompleted"
	// EndTaskFailed: the task failed.
	EndTaskFailed EndReason = "TaskFailed"
	// EndTaskGone: the task was deleted, or replaced by another of its name.
	EndTaskGone EndReason = "TaskGone"
	// EndReleased: the requester or a subject gave the access back.
	EndReleased EndReason = "Released"
	// EndRevoked: an approver took the access away.
	EndRevoked EndReason = "Revoked"
	// EndDenied: a Deny came in while the broker was making the grant.
	EndDenied EndReason = "Denied"
	// EndRequestDeleted: the request was deleted.
	EndRequestDeleted EndReason = "RequestDeleted"
	// EndGrantDeleted: somebody deleted the grant itself.
	EndGrantDeleted EndReason = "GrantDeleted"
	// EndPolicyGone: the policy was deleted.
	EndPolicyGone EndReason = "PolicyGone"
	// EndPolicyChanged: the policy no longer allows it.
	EndPolicyChanged EndReason = "PolicyChanged"
	// EndBindingTouched: a binding was changed, deleted or recreated.
	EndBindingTouched EndReason = "BindingTouched"
	// EndRoleWidened: the role came to allow more than was approved.
	EndRoleWidened EndReason = "RoleWidened"
	// EndRoleGone: the role was deleted, or replaced by another of its name.
	EndRoleGone EndReason = "RoleGone"
	// EndSubjectGone: a ServiceAccount was deleted, or replaced.
	EndSubjectGone EndReason = "SubjectGone"
	// EndNamespaceGone: a namespace was deleted, or replaced.
	EndNamespaceGone EndReason = "NamespaceGone"
	// EndNotApproved: the grant is not what its request and the decisions come
	// to; somebody other than the broker wrote it.
	EndNotApproved EndReason = "NotApproved"
	// EndNameTaken: an object that is not the broker's has the binding's name.
	EndNameTaken EndReason = "NameTaken"
	// EndNotGrantable: the API server refused the binding for good.
	EndNotGrantable EndReason = "NotGrantable"
	// EndIdle: the access was seen to be unused for the policy's idleTimeout.
	EndIdle EndReason = "Idle"
	// EndSuspicious: it was used in a way that the policy calls suspicious.
	EndSuspicious EndReason = "Suspicious"
	// EndExtended: a grant that gives it more time has taken its place.
	EndExtended EndReason = "Extended"
	// EndLocked: an AccessLock is in force for somebody who holds it or asked for it.
	EndLocked EndReason = "Locked"
)

// AccessGrantStatus is what became of a grant.
type AccessGrantStatus struct {
	// phase of the grant.
	// +optional
	Phase GrantPhase `json:"phase,omitempty"`
	// bindings that were created for the grant, the roles of a grant of rules, and the
	// ServiceAccount of an issued credential.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=2049
	Bindings []BindingRef `json:"bindings,omitempty"`
	// grantedTime is when the access was first held.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="grantedTime must be in the years 2000 to 2999"
	GrantedTime *metav1.Time `json:"grantedTime,omitempty"`
	// endedTime is when the access was seen to be gone.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="endedTime must be in the years 2000 to 2999"
	EndedTime *metav1.Time `json:"endedTime,omitempty"`
	// endReason says why it ended.
	// +optional
	EndReason EndReason `json:"endReason,omitempty"`
	// endedBy is who ended it, when that is known.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	EndedBy string `json:"endedBy,omitempty"`
	// credential that was issued, sealed to spec.credentialKey.
	// +optional
	Credential *SealedCredential `json:"credential,omitempty"`
	// usage as it was observed; not there without an observer.
	// +optional
	Usage *GrantUsage `json:"usage,omitempty"`
	// review of the access after its end, where spec.reviewWithin asks for one; the
	// condition Reviewed says more.
	// +optional
	Review ReviewState `json:"review,omitempty"`
	// conditions: AccessGiven, AccessRemoved, StandingAccess, AdmissionEnforced,
	// TaskWatched, ExpiresSoon, Reviewed, and of observed usage Suspicious, Used,
	// LeftBehind, SessionsOpen.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('2000-01-01T00:00:00Z') && c.lastTransitionTime < timestamp('3000-01-01T00:00:00Z'))",message="lastTransitionTime must be in the years 2000 to 2999"
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GrantUsage sums up the AccessUsage of a grant, for kubectl get. It may be a
// minute behind.
type GrantUsage struct {
	// calls that were allowed by the grant, or that it covers.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Calls int64 `json:"calls"`
	// lastCall is when the last of them came.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="lastCall must be in the years 2000 to 2999"
	LastCall *Moment `json:"lastCall,omitempty"`
}

// SealedCredential is an issued credential, for its requester alone to open.
type SealedCredential struct {
	// grantUID of the grant that it is for. It is sealed for this grant only.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	GrantUID types.UID `json:"grantUID"`
	// sealed is the token, in base64: HPKE with X25519, HKDF-SHA256 and AES-256-GCM
	// (RFC 9180). It is taken out when the grant ends.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	Sealed string `json:"sealed,omitempty"`
	// issuedTime is when the token was asked for.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="issuedTime must be in the years 2000 to 2999"
	IssuedTime metav1.Time `json:"issuedTime"`
	// expirationTime is when the token ends by itself. The API server takes it for
	// about a minute more; the access ends with the grant, whatever this says.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="expirationTime must be in the years 2000 to 2999"
	ExpirationTime metav1.Time `json:"expirationTime"`
}

// BindingRef pins an object of a grant.
type BindingRef struct {
	// kind: RoleBinding or ClusterRoleBinding; Role or ClusterRole for the role
	// of a grant of rules; ServiceAccount for that of an issued credential.
	// +required
	// +kubebuilder:validation:Enum=RoleBinding;ClusterRoleBinding;Role;ClusterRole;ServiceAccount
	Kind string `json:"kind"`
	// namespace of a RoleBinding, Role or ServiceAccount.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	ObjectRef `json:",inline"`
}

// AccessGrant records access that was given: to whom, what, where, why, by
// whose decision, until when, and how it ended. Only the broker writes it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=agrant,categories=access
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:selectablefield:JSONPath=`.status.review`
// +kubebuilder:printcolumn:name="Requester",type=string,JSONPath=`.spec.requester.username`
// +kubebuilder:printcolumn:name="Subjects",type=string,JSONPath=`.spec.summary.subjects`
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.summary.role`
// +kubebuilder:printcolumn:name="Scope",type=string,JSONPath=`.spec.summary.scope`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expirationTime`
// +kubebuilder:printcolumn:name="Ended",type=string,JSONPath=`.status.endedTime`
// +kubebuilder:printcolumn:name="Why",type=string,JSONPath=`.status.endReason`
// +kubebuilder:printcolumn:name="Calls",type=integer,JSONPath=`.status.usage.calls`,priority=1
// +kubebuilder:printcolumn:name="Extends",type=string,JSONPath=`.spec.extends.name`,priority=1
// +kubebuilder:printcolumn:name="Review",type=string,JSONPath=`.status.review`,priority=1
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.spec.policyRef.name`,priority=1
// +kubebuilder:printcolumn:name="Approvers",type=string,JSONPath=`.spec.summary.approvers`,priority=1
// +kubebuilder:printcolumn:name="Ticket",type=string,JSONPath=`.spec.ticket`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AccessGrant struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what was approved; immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable"
	Spec AccessGrantSpec `json:"spec"`
	// status is what became of it.
	// +optional
	Status AccessGrantStatus `json:"status,omitempty"`
}

// AccessGrantList is a list of AccessGrants.
//
// +kubebuilder:object:root=true
type AccessGrantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AccessGrant `json:"items"`
}
