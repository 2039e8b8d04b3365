package plugin

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/config/admission"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// pageSize of long lists, as kubectl's.
const pageSize = 500

// cluster is the one that the flags and the kubeconfig name.
type cluster struct {
	client.WithWatch
	// namespace of -n or of the context.
	namespace string
}

var scheme = newScheme()

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(s))
	utilruntime.Must(authenticationv1.AddToScheme(s))
	utilruntime.Must(corev1.AddToScheme(s))
	return s
}

// newMapper knows the kinds used here, so that no command has to ask the API
// server for all there are.
func newMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(v1alpha1.GroupVersion.WithKind("AccessRequest"), meta.RESTScopeNamespace)
	m.Add(v1alpha1.GroupVersion.WithKind("AccessPolicy"), meta.RESTScopeRoot)
	m.Add(v1alpha1.GroupVersion.WithKind("AccessGrant"), meta.RESTScopeRoot)
	m.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), meta.RESTScopeRoot)
	m.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	return m
}

func (o *options) connect() (*cluster, error) {
	config, err := o.config.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	namespace, _, err := o.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: newMapper()})
	if err != nil {
		return nil, err
	}
	return &cluster{WithWatch: c, namespace: namespace}, nil
}

// me is who the API server says that we are.
func (c *cluster) me(ctx context.Context) (v1alpha1.UserInfo, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, review); err != nil {
		return v1alpha1.UserInfo{}, fmt.Errorf("ask the API server who you are: %w", err)
	}
	user := review.Status.UserInfo
	me := v1alpha1.UserInfo{Username: user.Username, UID: user.UID, Groups: user.Groups, Extra: map[string]v1alpha1.ExtraValue{}}
	for key, values := range user.Extra {
		me.Extra[key] = v1alpha1.ExtraValue(values)
	}
	return me, nil
}

// stored is what a request keeps of me. The admission policies compare the
// requester to exactly that.
func (c *cluster) stored(ctx context.Context) (v1alpha1.UserInfo, error) {
	kept, err := admission.KeptExtra()
	if err != nil {
		return v1alpha1.UserInfo{}, err
	}
	me, err := c.me(ctx)
	return identity.Stored(me, kept), err
}

func (c *cluster) request(ctx context.Context, name string) (*v1alpha1.AccessRequest, error) {
	request := &v1alpha1.AccessRequest{}
	err := c.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, request)
	return request, err
}

// requests of a namespace, or of all when it is "".
func (c *cluster) requests(ctx context.Context, namespace string) ([]v1alpha1.AccessRequest, error) {
	list := &v1alpha1.AccessRequestList{}
	return pages(ctx, c, list, &list.Items, client.InNamespace(namespace))
}

// pages reads a list in parts, whose items are those of the part that was read.
func pages[T any](ctx context.Context, c *cluster, list client.ObjectList, items *[]T, options ...client.ListOption) ([]T, error) {
	var all []T
	for {
		if err := c.List(ctx, list, append(options, client.Limit(pageSize), client.Continue(list.GetContinue()))...); err != nil {
			return all, err
		}
		all = append(all, *items...)
		if list.GetContinue() == "" {
			return all, nil
		}
	}
}

func (c *cluster) policies(ctx context.Context) ([]v1alpha1.AccessPolicy, error) {
	list := &v1alpha1.AccessPolicyList{}
	err := c.List(ctx, list)
	return list.Items, err
}

// policiesForMe are those that let me ask.
func (c *cluster) policiesForMe(ctx context.Context) ([]v1alpha1.AccessPolicy, error) {
	me, err := c.me(ctx)
	if err != nil {
		return nil, err
	}
	policies, err := c.policies(ctx)
	return keep(policies, func(p *v1alpha1.AccessPolicy) bool {
		return identity.Among(p.Spec.Requesters, me.Username, me.Groups)
	}), err
}

func (c *cluster) grants(ctx context.Context) ([]v1alpha1.AccessGrant, error) {
	list := &v1alpha1.AccessGrantList{}
	return pages(ctx, c, list, &list.Items)
}

// each returns what a function makes of each item.
func each[T, R any](items []T, f func(T) R) []R {
	var out []R
	for _, item := range items {
		out = append(out, f(item))
	}
	return out
}

// keep returns those for which the condition holds.
func keep[T any](items []T, holds func(*T) bool) []T {
	var kept []T
	for i := range items {
		if holds(&items[i]) {
			kept = append(kept, items[i])
		}
	}
	return kept
}
