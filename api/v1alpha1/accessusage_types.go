package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AccessUsageSpec says whose usage it is. It never changes.
type AccessUsageSpec struct {
	// grantRef is the AccessGrant, which has the same name.
	// +required
	GrantRef ObjectRef `json:"grantRef"`
}

// UsagePhase is where the observation of a grant stands.
//
// +kubebuilder:validation:Enum=Observing;Closed
type UsagePhase string

const (
	// UsageObserving means that what comes is still added.
	UsageObserving UsagePhase = "Observing"
	// UsageClosed means that the access has ended, and all of it is told.
	UsageClosed UsagePhase = "Closed"
)

// AccessUsageStatus is what was seen of the use of a grant, in the audit events of
// the API servers. What was not observed is not told. Lists are bounded; more counts
// what they leave out.
type AccessUsageStatus struct {
	// phase of the observation.
	// +optional
	Phase UsagePhase `json:"phase,omitempty"`
	// since when usage was observed: the beginning of the window.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="since must be in the years 2000 to 2999"
	Since *Moment `json:"since,omitempty"`
	// until when: the newest moment up to which every stream has told all.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="until must be in the years 2000 to 2999"
	Until *Moment `json:"until,omitempty"`
	// gaps counts the interruptions of the window.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Gaps int32 `json:"gaps,omitempty"`
	// lastGap is when the last interruption ended.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="lastGap must be in the years 2000 to 2999"
	LastGap *Moment `json:"lastGap,omitempty"`
	// streams of audit events that were observed, and how far each was counted.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Streams []UsageStream `json:"streams,omitempty"`

	// calls that the grant allowed, or that it covers.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Calls int64 `json:"calls,omitempty"`
	// sharedCalls are those of the calls that other access of the caller covers too:
	// another grant, or a binding that the authorizer named.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	SharedCalls int64 `json:"sharedCalls,omitempty"`
	// failedCalls are those of the calls that were allowed and went wrong.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	FailedCalls int64 `json:"failedCalls,omitempty"`
	// refusedCalls that the subjects made during the grant. They count beside calls.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	RefusedCalls int64 `json:"refusedCalls,omitempty"`
	// firstCall is when the first call came.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="firstCall must be in the years 2000 to 2999"
	FirstCall *Moment `json:"firstCall,omitempty"`
	// lastCall is when the last call came.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="lastCall must be in the years 2000 to 2999"
	LastCall *Moment `json:"lastCall,omitempty"`

	// callers: who called, from where and with what, most calls first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Callers []UsageCaller `json:"callers,omitempty"`
	// used rights, most calls first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=192
	Used []UsageRight `json:"used,omitempty"`
	// refused are rights that were asked for and not held, most calls first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Refused []UsageRight `json:"refused,omitempty"`
	// risks are acts that status.risks of a request warns of, by their kinds.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +kubebuilder:validation:MaxItems=32
	Risks []UsageCount `json:"risks,omitempty"`
	// created objects, that the same access did not delete again.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	Created []UsageObject `json:"created,omitempty"`
	// sessions that are open: watches, exec, attach, port-forward and logs.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=64
	Sessions []UsageSession `json:"sessions,omitempty"`
	// closedSessions counts those that are over, by their kinds.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +kubebuilder:validation:MaxItems=8
	ClosedSessions []UsageCount `json:"closedSessions,omitempty"`
	// endedSessions are the last that ended, so that none begins after its end.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=32
	EndedSessions []string `json:"endedSessions,omitempty"`
	// suspicious uses that the policy names and that were seen.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Suspicious []UsageFinding `json:"suspicious,omitempty"`
	// recentEvents are the last that were counted, as the observer writes them, so
	// that one that comes by two ways does not count twice.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	RecentEvents string `json:"recentEvents,omitempty"`
	// more counts the calls that the lists leave out.
	// +optional
	More UsageMore `json:"more,omitzero"`
}

// UsageStream is a stream of audit events: the log of an API server, or what a
// webhook backend sends.
type UsageStream struct {
	// name of the stream.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// since when the stream was observed.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="since must be in the years 2000 to 2999"
	Since Moment `json:"since"`
	// until when it has told all.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="until must be in the years 2000 to 2999"
	Until Moment `json:"until"`
	// lost counts events that were there and could not be read.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Lost int64 `json:"lost,omitempty"`
	// position in a log up to which it was counted, as the observer writes it.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Position string `json:"position,omitempty"`
	// batches are the last that were counted, so that one that is sent again does
	// not count again.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=32
	Batches []string `json:"batches,omitempty"`
}

// UsageClient is who called, from where and with what.
type UsageClient struct {
	// user who authenticated.
	// +required
	// +kubebuilder:validation:MaxLength=256
	User string `json:"user"`
	// as is whom they impersonated.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	As string `json:"as,omitempty"`
	// address that the API server saw.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Address string `json:"address,omitempty"`
	// claimedAddress is what the caller or a proxy says that it is.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ClaimedAddress string `json:"claimedAddress,omitempty"`
	// userAgent of the client, as it says itself.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	UserAgent string `json:"userAgent,omitempty"`
}

// UsageCaller counts the calls of one client.
type UsageCaller struct {
	UsageClient `json:",inline"`
	// calls of this caller.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Calls int64 `json:"calls"`
}

// UsageRight counts the calls for one right: a verb on a resource in a namespace, or
// on a path.
type UsageRight struct {
	// verb of the calls.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Verb string `json:"verb"`
	// group of the resource, empty for the core.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Group string `json:"group,omitempty"`
	// resource, such as pods.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Resource string `json:"resource,omitempty"`
	// subresource, such as exec.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Subresource string `json:"subresource,omitempty"`
	// namespace, empty for what is in none and for calls for all namespaces.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Namespace string `json:"namespace,omitempty"`
	// path of a call to no resource.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Path string `json:"path,omitempty"`
	// calls for the right.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Calls int64 `json:"calls"`
	// shared are those of the calls that other access covers too.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Shared int64 `json:"shared,omitempty"`
	// failed are those of the calls that went wrong.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Failed int64 `json:"failed,omitempty"`
	// names of the objects for which the calls went well.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=256
	Names []string `json:"names,omitempty"`
	// moreNames counts the calls for names that are not among them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	MoreNames int64 `json:"moreNames,omitempty"`
}

// UsageCount counts calls or sessions of a kind.
type UsageCount struct {
	// kind of what is counted.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Kind string `json:"kind"`
	// count of it.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Count int64 `json:"count"`
}

// UsageObject is an object that was created. The name is empty where the log does
// not tell it (generateName at the level Metadata), and so is the UID below
// RequestResponse; an object of that name is the same when it is of that time.
type UsageObject struct {
	// group of the object, empty for the core.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Group string `json:"group,omitempty"`
	// resource, such as pods.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Resource string `json:"resource"`
	// namespace of the object, empty for what is in none.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Namespace string `json:"namespace,omitempty"`
	// name of the object.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
	// uid of the object.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	UID string `json:"uid,omitempty"`
	// from is when the call came.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="from must be in the years 2000 to 2999"
	From Moment `json:"from"`
	// to is when the call was answered.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="to must be in the years 2000 to 2999"
	To Moment `json:"to"`
	// times that it was created.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Times int64 `json:"times"`
}

// UsageSession is a call that goes on.
type UsageSession struct {
	// id of the session.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	ID string `json:"id"`
	// kind: exec, attach, portforward, proxy, log or watch.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Kind string `json:"kind"`
	// group of the resource, empty for the core.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Group string `json:"group,omitempty"`
	// resource, such as pods.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Resource string `json:"resource,omitempty"`
	// namespace of the object.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Namespace string `json:"namespace,omitempty"`
	// name of the object.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
	// subresource, such as exec.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Subresource string `json:"subresource,omitempty"`
	// verb of the call.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Verb string `json:"verb,omitempty"`
	// shared is true when other access of the caller covers it too.
	// +optional
	Shared      bool `json:"shared,omitempty"`
	UsageClient `json:",inline"`
	// since when it is open.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="since must be in the years 2000 to 2999"
	Since Moment `json:"since"`
}

// UsageFinding is a suspicious use that was seen.
type UsageFinding struct {
	// name of the use, from the policy.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// action that the policy wanted.
	// +required
	Action SuspiciousAction `json:"action"`
	// message of the policy, and the call that was seen first.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
	// times that it was seen.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Times int64 `json:"times"`
	// first is when it was seen first.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="first must be in the years 2000 to 2999"
	First Moment `json:"first"`
	// last is when it was seen last.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="last must be in the years 2000 to 2999"
	Last Moment `json:"last"`
}

// UsageMore counts the calls that the lists leave out.
type UsageMore struct {
	// callers that are not listed, in calls.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Callers int64 `json:"callers,omitempty"`
	// used rights that are not listed, in calls.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Used int64 `json:"used,omitempty"`
	// refused rights that are not listed, in calls.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Refused int64 `json:"refused,omitempty"`
	// created objects that are not listed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Created int64 `json:"created,omitempty"`
	// sessions that are not listed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Sessions int64 `json:"sessions,omitempty"`
}

// AccessUsage records what a grant was used for, as the audit events of the API
// servers tell it. Only the observer writes it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=ause,categories=access
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Calls",type=integer,JSONPath=`.status.calls`
// +kubebuilder:printcolumn:name="Refused",type=integer,JSONPath=`.status.refusedCalls`
// +kubebuilder:printcolumn:name="Last",type=string,JSONPath=`.status.lastCall`
// +kubebuilder:printcolumn:name="Since",type=string,JSONPath=`.status.since`,priority=1
// +kubebuilder:printcolumn:name="Until",type=string,JSONPath=`.status.until`
// +kubebuilder:printcolumn:name="Gaps",type=integer,JSONPath=`.status.gaps`
// +kubebuilder:printcolumn:name="Suspicious",type=string,JSONPath=`.status.suspicious[*].name`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AccessUsage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says whose usage it is; immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable"
	Spec AccessUsageSpec `json:"spec"`
	// status is what was seen. It is written with the object: it has no subresource.
	// +optional
	Status AccessUsageStatus `json:"status,omitempty"`
}

// AccessUsageList is a list of AccessUsages.
//
// +kubebuilder:object:root=true
type AccessUsageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AccessUsage `json:"items"`
}
