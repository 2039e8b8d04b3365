package cached

import (
	"os"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessusages,verbs=get;list;watch

// Options of the manager's cache. It keeps only requests and grants that have not
// ended, usages that are not closed, bindings that belong to a grant, and the broker's own admission policies.
// It drops the managedFields of everything, and keeps equal rules once.
func Options(bindings ...client.Object) cache.Options {
	ofGrants, err := labels.NewRequirement(v1alpha1.LabelGrant, selection.Exists, nil)
	if err != nil {
		panic(err) // a constant
	}
	installed := labels.SelectorFromSet(labels.Set{"app.kubernetes.io/name": "access-broker"})
	byObject := map[client.Object]cache.ByObject{
		&admissionregistrationv1.ValidatingAdmissionPolicy{}:        {Label: installed},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{}: {Label: installed},
	}
	for _, binding := range bindings {
		byObject[binding] = cache.ByObject{Label: labels.NewSelector().Add(*ofGrants)}
	}
	return cache.Options{DefaultTransform: (&interner{}).transform(), NewInformer: NewInformer, ByObject: byObject}
}

// New makes a cache whose watches are not cut off by the timeout of the client's
// calls, for manager.Options.
func New(config *rest.Config, options cache.Options) (cache.Cache, error) {
	config = rest.CopyConfig(config)
	config.Timeout = 0
	options.HTTPClient = nil // the manager's has the timeout
	return cache.New(config, options)
}

// ListOnce makes the caches fill from a list, not from a watch that streams object
// by object: streaming takes twice the processor time, and access that fell due
// while no replica ran waits for it. The environment overrides it. It is called
// before anything else.
func ListOnce() error {
	const gate = "KUBE_FEATURE_WatchListClient"
	if os.Getenv(gate) != "" {
		return nil
	}
	return os.Setenv(gate, "false")
}
