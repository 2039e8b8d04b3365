package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AccessLockSpec says who is locked out, and why. It never changes.
type AccessLockSpec struct {
	// subject who gets no access while the lock is in force: a user, a ServiceAccount,
	// or everybody in a group.
	// +required
	Subject Subject `json:"subject"`
	// until when the lock is in force, such as 2026-05-04T22:00:00Z; by default until
	// it is deleted.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=25
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$')`,message="until must be a time with its zone, such as 2026-05-04T22:00:00Z or 2026-05-04T22:00:00+02:00"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'^2(?:[0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9](?:0[48]|[2468][048]|[13579][26])|[048]00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$') || (timestamp(self) >= timestamp('2000-01-01T00:00:00Z') && timestamp(self) < timestamp('3000-01-01T00:00:00Z'))`,message="until must be in the years 2000 to 2999"
	Until *metav1.Time `json:"until,omitempty"`
	// reason why, in one line in any language.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="size(self.trim()) > 0",message="reason must not be blank"
	Reason Line `json:"reason"`
	// by is the user who made the lock. The API server stamps it from the authenticated
	// user when it is left out, and refuses anybody else's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	By Name `json:"by,omitzero"`
}

// AccessLock ends every grant that somebody asked for or benefits from, and nothing
// new is given to them, until it is deleted or its time is over. It takes away only
// what the broker gave.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=alock,categories=access
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.subject.kind`
// +kubebuilder:printcolumn:name="Subject",type=string,JSONPath=`.spec.subject.name`
// +kubebuilder:printcolumn:name="Until",type=string,JSONPath=`.spec.until`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.spec.by`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AccessLock struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says who is locked out, and why; immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: make another lock"
	Spec AccessLockSpec `json:"spec"`
}

// AccessLockList is a list of AccessLocks.
//
// +kubebuilder:object:root=true
type AccessLockList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AccessLock `json:"items"`
}
