// Package cluster is what the plugin asks of the API server and writes there.
package cluster

import (
	"context"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/refusal"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

// pageSize of long lists, as kubectl's.
const pageSize = 500

// Client reaches the cluster that the flags and the kubeconfig name.
type Client struct {
	// Client asks, decides and follows.
	*accessclient.Client
	api client.WithWatch
	// Namespace of -n or of the context.
	Namespace string
}

// Scheme has the kinds used here.
var Scheme = newScheme()

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(s))
	utilruntime.Must(authenticationv1.AddToScheme(s))
	utilruntime.Must(authorizationv1.AddToScheme(s))
	utilruntime.Must(corev1.AddToScheme(s))
	utilruntime.Must(rbacv1.AddToScheme(s))
	return s
}

// newMapper knows the kinds used here, so that no command has to ask the API
// server for all there are.
func newMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(v1alpha1.GroupVersion.WithKind("AccessRequest"), meta.RESTScopeNamespace)
	m.Add(v1alpha1.GroupVersion.WithKind("AccessPolicy"), meta.RESTScopeRoot)
	m.Add(v1alpha1.GroupVersion.WithKind("AccessGrant"), meta.RESTScopeRoot)
	m.Add(v1alpha1.GroupVersion.WithKind("AccessUsage"), meta.RESTScopeRoot)
	m.Add(v1alpha1.GroupVersion.WithKind("AccessLock"), meta.RESTScopeRoot)
	m.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), meta.RESTScopeRoot)
	m.Add(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"), meta.RESTScopeRoot)
	m.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	m.Add(rbacv1.SchemeGroupVersion.WithKind("Role"), meta.RESTScopeNamespace)
	m.Add(rbacv1.SchemeGroupVersion.WithKind("ClusterRole"), meta.RESTScopeRoot)
	return m
}

// Connect makes a client of what the flags say, and asks nothing yet.
func Connect(flags *genericclioptions.ConfigFlags) (*Client, error) {
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	namespace, _, err := flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: Scheme, Mapper: newMapper()})
	if err != nil {
		return nil, err
	}
	return &Client{Client: accessclient.Of(c), api: c, Namespace: namespace}, nil
}

// In is the same client for another namespace.
func (c *Client) In(namespace string) *Client {
	other := *c
	other.Namespace = namespace
	return &other
}

// May asks the API server whether we may do what a right says.
func (c *Client) May(ctx context.Context, r refusal.Right) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{}
	if r.Path != "" {
		review.Spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: r.Verb, Path: r.Path}
	} else {
		resource, subresource, _ := strings.Cut(r.Resource, "/")
		review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
			Verb: r.Verb, Group: r.Group, Resource: resource, Subresource: subresource, Name: r.Name, Namespace: r.Namespace,
		}
	}
	err := c.api.Create(ctx, review)
	return review.Status.Allowed, err
}

// NamespaceLabels are those of a namespace.
func (c *Client) NamespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	ns, err := c.NamespaceMetadata(ctx, name)
	return ns.Labels, err
}

// NamespaceMetadata reads what policies see of a namespace.
func (c *Client) NamespaceMetadata(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := c.api.Get(ctx, client.ObjectKey{Name: name}, ns)
	return ns, err
}

// Request reads a request of the namespace.
func (c *Client) Request(ctx context.Context, name string) (*v1alpha1.AccessRequest, error) {
	request := &v1alpha1.AccessRequest{}
	err := c.api.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, request)
	return request, err
}

// Requests of a namespace, or of all when it is "".
func (c *Client) Requests(ctx context.Context, namespace string) ([]v1alpha1.AccessRequest, error) {
	list := &v1alpha1.AccessRequestList{}
	return pages(ctx, c, list, &list.Items, client.InNamespace(namespace))
}

// pages reads a list in parts, whose items are those of the part that was read.
func pages[T any](ctx context.Context, c *Client, list client.ObjectList, items *[]T, options ...client.ListOption) ([]T, error) {
	var all []T
	for {
		if err := c.api.List(ctx, list, append(options, client.Limit(pageSize), client.Continue(list.GetContinue()))...); err != nil {
			return all, err
		}
		all = append(all, *items...)
		if list.GetContinue() == "" {
			return all, nil
		}
	}
}

// Policies are all of them.
func (c *Client) Policies(ctx context.Context) ([]v1alpha1.AccessPolicy, error) {
	list := &v1alpha1.AccessPolicyList{}
	err := c.api.List(ctx, list)
	return list.Items, err
}

// PoliciesForMe are those that let me ask now.
func (c *Client) PoliciesForMe(ctx context.Context) ([]v1alpha1.AccessPolicy, error) {
	me, err := c.Me(ctx)
	if err != nil {
		return nil, err
	}
	policies, err := c.Policies(ctx)
	var mine []v1alpha1.AccessPolicy
	for _, p := range policies {
		if identity.Among(p.Spec.RequestersAt(time.Now()), me.Username, me.Groups) {
			mine = append(mine, p)
		}
	}
	return mine, err
}

// Grants are all of them.
func (c *Client) Grants(ctx context.Context) ([]v1alpha1.AccessGrant, error) {
	list := &v1alpha1.AccessGrantList{}
	return pages(ctx, c, list, &list.Items)
}

// Namespaces are all of them.
func (c *Client) Namespaces(ctx context.Context) ([]corev1.Namespace, error) {
	list := &corev1.NamespaceList{}
	err := c.api.List(ctx, list)
	return list.Items, err
}

// RoleRules are the rules of a ClusterRole or, in a namespace, of a Role.
func (c *Client) RoleRules(ctx context.Context, kind, namespace, name string) ([]rbacv1.PolicyRule, error) {
	if kind == v1alpha1.RoleKind {
		role := &rbacv1.Role{}
		err := c.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, role)
		return role.Rules, err
	}
	role := &rbacv1.ClusterRole{}
	err := c.api.Get(ctx, client.ObjectKey{Name: name}, role)
	return role.Rules, err
}
