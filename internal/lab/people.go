package lab

import (
	"context"
	"fmt"
	"maps"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// As is a client of a user with a certificate of their own.
func (c *Cluster) As(name string, groups ...string) (client.Client, error) {
	config, err := c.User(name, groups...)
	if err != nil {
		return nil, err
	}
	return c.NewClient(config)
}

// AsServiceAccount is a client of a ServiceAccount with a token.
func (c *Cluster) AsServiceAccount(ctx context.Context, namespace, name string) (client.Client, error) {
	config, err := c.ServiceAccount(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return c.NewClient(config)
}

// AsBroker is a client of the broker's ServiceAccount.
func (c *Cluster) AsBroker(ctx context.Context) (client.Client, error) {
	return c.AsServiceAccount(ctx, BrokerNamespace, BrokerServiceAccount)
}

// BrokerConfig is a config with a token of the broker's ServiceAccount.
func (c *Cluster) BrokerConfig(ctx context.Context) (*rest.Config, error) {
	return c.ServiceAccount(ctx, BrokerNamespace, BrokerServiceAccount)
}

// People are the clients to be made of people, by their names.
type People map[string]*client.Client

// Hire makes the clients of people who are in a group.
func (c *Cluster) Hire(group string, people People) (err error) {
	for _, name := range slices.Sorted(maps.Keys(people)) {
		if *people[name], err = c.As(name, group); err != nil {
			return err
		}
	}
	return nil
}

// Bind gives groups a ClusterRole everywhere, for instance one of those that
// the product has for people, access-requester or access-approver.
func (c *Cluster) Bind(ctx context.Context, role string, groups ...string) error {
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "lab-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: v1alpha1.ClusterRoleKind, Name: role},
	}
	for _, group := range groups {
		binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group})
	}
	return c.Admin.Create(ctx, binding)
}

// NewRequest is a request for edit that is not created yet, changed by edit.
func NewRequest(namespace string, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	request := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "fix-"},
		Spec: v1alpha1.AccessRequestSpec{
			RoleRef: &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "edit"},
			Reason:  "INC-42: stuck consumers",
		},
	}
	if edit != nil {
		edit(&request.Spec)
	}
	return request
}

// Decide is the plain merge patch that the README tells people to use.
func Decide(ctx context.Context, c client.Client, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict) error {
	patch := fmt.Sprintf(`{"status":{"decisions":[{"verdict":%q}]}}`, verdict)
	target := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: request.Name}}
	return c.Status().Patch(ctx, target, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// Can asks the API server, as the user themselves, whether they may do something.
func Can(ctx context.Context, c client.Client, what authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	err := c.Create(ctx, review)
	return review.Status.Allowed, err
}
