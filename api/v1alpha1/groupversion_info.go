// Package v1alpha1 is the API of Access Broker: who asks for access
// (AccessRequest), who may have it (AccessPolicy) and what was given
// (AccessGrant).
//
// +kubebuilder:object:generate=true
// +groupName=jit.accessbroker.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of every kind in this package.
	GroupVersion = schema.GroupVersion{Group: "jit.accessbroker.dev", Version: "v1alpha1"}

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme registers the kinds of this package.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&AccessRequest{}, &AccessRequestList{},
		&AccessPolicy{}, &AccessPolicyList{},
		&AccessGrant{}, &AccessGrantList{},
		&AccessUsage{}, &AccessUsageList{},
		&AccessLock{}, &AccessLockList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
