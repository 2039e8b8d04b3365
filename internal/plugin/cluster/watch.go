package cluster

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/refusal"
)

// WatchRequests keeps the requests of a namespace, or of all when it is "", as they are
// stored. It does nothing before it is run.
func (c *Client) WatchRequests(namespace string) cache.SharedIndexInformer {
	return c.informer(&v1alpha1.AccessRequest{}, func() client.ObjectList { return &v1alpha1.AccessRequestList{} }, namespace)
}

// WatchPolicies keeps all policies.
func (c *Client) WatchPolicies() cache.SharedIndexInformer {
	return c.informer(&v1alpha1.AccessPolicy{}, func() client.ObjectList { return &v1alpha1.AccessPolicyList{} }, metav1.NamespaceAll)
}

// WatchGrants keeps all grants.
func (c *Client) WatchGrants() cache.SharedIndexInformer {
	return c.informer(&v1alpha1.AccessGrant{}, func() client.ObjectList { return &v1alpha1.AccessGrantList{} }, metav1.NamespaceAll)
}

func (c *Client) informer(object client.Object, list func() client.ObjectList, namespace string) cache.SharedIndexInformer {
	as := func(options *metav1.ListOptions) *client.ListOptions {
		return &client.ListOptions{Namespace: namespace, Raw: options, Limit: options.Limit, Continue: options.Continue}
	}
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			into := list()
			return into, c.api.List(ctx, into, as(&options))
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return c.api.Watch(ctx, list(), as(&options))
		},
	}, object, 0, nil)
	// It errs only once the informer runs.
	_ = informer.SetTransform(func(stored any) (any, error) {
		if object, err := meta.Accessor(stored); err == nil {
			object.SetManagedFields(nil)
		}
		return stored, nil
	})
	return informer
}

// MayWatch tells whether we may watch one of the product's kinds, by its resource name,
// in a namespace, or in all when it is "".
func (c *Client) MayWatch(ctx context.Context, resource, namespace string) (bool, error) {
	for _, verb := range []string{"list", "watch"} {
		may, err := c.May(ctx, refusal.Right{Verb: verb, Group: v1alpha1.GroupVersion.Group, Resource: resource, Namespace: namespace})
		if err != nil || !may {
			return false, err
		}
	}
	return true, nil
}
