package resolve

import (
	"context"
	"errors"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// MayNotBind says what an administrator does about a role that the broker may
// not bind.
func MayNotBind(ref v1alpha1.RoleRef) string {
	return fmt.Sprintf("the broker may not bind %s %s: an administrator lists the roles it may bind in the ClusterRole access-broker-grantable-roles", ref.Kind, ref.Name)
}

// MayBind asks the API server whether the broker may bind a role; namespace is
// that of a Role.
func MayBind(ctx context.Context, c client.Client, namespace string, ref v1alpha1.RoleRef) (bool, error) {
	resource := "clusterroles"
	if ref.Kind == v1alpha1.RoleKind {
		resource = "roles"
	}
	return MayI(ctx, c, authorizationv1.ResourceAttributes{Resource: resource, Verb: "bind", Name: ref.Name, Namespace: namespace})
}

// MayI asks the API server whether the broker may do something to RBAC objects. An
// API server that is starting refuses everything, even what the broker always holds:
// that is no answer.
func MayI(ctx context.Context, c client.Client, what authorizationv1.ResourceAttributes) (bool, error) {
	for _, question := range []authorizationv1.ResourceAttributes{what, {Resource: "rolebindings", Verb: "create"}} {
		allowed, err := askMyself(ctx, c, question)
		if err != nil {
			return false, err
		}
		if allowed {
			return question == what, nil
		}
	}
	return false, errors.New("the API server does not know the broker's role: it is starting, or config/rbac is not installed")
}

func askMyself(ctx context.Context, c client.Client, what authorizationv1.ResourceAttributes) (bool, error) {
	what.Group, what.Version = rbacv1.GroupName, "v1"
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	if err := c.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask what the broker may do: %w", err)
	}
	return review.Status.Allowed, nil
}
