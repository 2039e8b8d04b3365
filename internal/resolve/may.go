package resolve

import (
	"context"
	"errors"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
		of := question
		of.Group, of.Version = rbacv1.GroupName, "v1"
		allowed, err := askMyself(ctx, c, of)
		if err != nil {
			return false, err
		}
		if allowed {
			return question == what, nil
		}
	}
	return false, errors.New("the API server does not know the broker's role: it is starting, or config/rbac is not installed")
}

// NoGrantsNamespace says what an administrator does when issued credentials have no
// place.
const NoGrantsNamespace = "namespace " + v1alpha1.GrantsNamespace + ", which holds the ServiceAccounts of issued credentials, is missing: an administrator installs Access Broker again (kubectl apply -k config/default), the broker makes no namespaces"

// MayIssue asks whether the broker can issue credentials: the namespace is there, and
// it may make ServiceAccounts in it and ask for their tokens.
func (n Names) MayIssue(ctx context.Context, c client.Client) error {
	namespace := NamespaceMetadata()
	err := n.Get(ctx, client.ObjectKey{Name: v1alpha1.GrantsNamespace}, namespace)
	if apierrors.IsNotFound(err) || (err == nil && namespace.DeletionTimestamp != nil) {
		return Missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, NoGrantsNamespace)
	}
	if err != nil {
		return fmt.Errorf("read namespace %s: %w", v1alpha1.GrantsNamespace, err)
	}
	for _, subresource := range []string{"", "token"} {
		allowed, err := askMyself(ctx, c, authorizationv1.ResourceAttributes{Version: "v1", Resource: "serviceaccounts", Subresource: subresource, Verb: "create", Namespace: v1alpha1.GrantsNamespace})
		if err != nil {
			return err
		}
		if !allowed {
			return Missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported,
				"the broker may not issue credentials: the Role access-broker-credentials of namespace %s is missing or was changed; an administrator installs Access Broker again", v1alpha1.GrantsNamespace)
		}
	}
	return nil
}

func askMyself(ctx context.Context, c client.Client, what authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	if err := c.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask what the broker may do: %w", err)
	}
	return review.Status.Allowed, nil
}
