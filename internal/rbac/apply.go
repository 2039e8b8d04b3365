package rbac

import (
	"context"
	"errors"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/grant"
)

// ErrNameTaken means that an object which is not the grant's binding has its
// name. The object is left alone.
var ErrNameTaken = errors.New("an object that does not belong to the grant has the name of its binding")

// Apply creates a binding and returns its UID. A binding that exists already
// is a success only when it is exactly the one that is wanted, as after a
// crash between its creation and the record of it; else the error is
// ErrNameTaken.
func Apply(ctx context.Context, writer client.Writer, live client.Reader, want grant.Binding) (types.UID, error) {
	object := New(want)
	err := writer.Create(ctx, object)
	if err == nil {
		return object.GetUID(), nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create %s: %w", nameOf(want), err)
	}
	seen, err := Get(ctx, live, want)
	if err != nil {
		return "", err
	}
	if seen == nil {
		return "", fmt.Errorf("%s went away while it was looked at", nameOf(want))
	}
	if !want.Intact(*seen) {
		return "", fmt.Errorf("%s: %w", nameOf(want), ErrNameTaken)
	}
	return seen.Meta.UID, nil
}

// Get reads what stands under a binding's name; nil when nothing does.
func Get(ctx context.Context, reader client.Reader, want grant.Binding) (*grant.Seen, error) {
	object := empty(want.Kind)
	err := reader.Get(ctx, client.ObjectKey{Namespace: want.Namespace, Name: want.Name}, object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", nameOf(want), err)
	}
	return SeenOf(object), nil
}

// New is the object that a binding or role is created as.
func New(b grant.Binding) client.Object {
	switch b.Kind {
	case grant.ClusterRoleBindingKind:
		return &rbacv1.ClusterRoleBinding{ObjectMeta: b.Meta(), RoleRef: b.RoleRef, Subjects: b.Subjects}
	case grant.RoleBindingKind:
		return &rbacv1.RoleBinding{ObjectMeta: b.Meta(), RoleRef: b.RoleRef, Subjects: b.Subjects}
	case grant.ClusterRoleKind:
		return &rbacv1.ClusterRole{ObjectMeta: b.Meta(), Rules: b.Rules}
	default:
		return &rbacv1.Role{ObjectMeta: b.Meta(), Rules: b.Rules}
	}
}

func empty(kind string) client.Object {
	switch kind {
	case grant.ClusterRoleBindingKind:
		return &rbacv1.ClusterRoleBinding{}
	case grant.RoleBindingKind:
		return &rbacv1.RoleBinding{}
	case grant.ClusterRoleKind:
		return &rbacv1.ClusterRole{}
	default:
		return &rbacv1.Role{}
	}
}

// SeenOf is an object that a grant may own, as it is compared; nil for any other.
func SeenOf(object client.Object) *grant.Seen {
	switch o := object.(type) {
	case *rbacv1.ClusterRoleBinding:
		return &grant.Seen{Kind: grant.ClusterRoleBindingKind, Meta: o.ObjectMeta, RoleRef: o.RoleRef, Subjects: o.Subjects}
	case *rbacv1.RoleBinding:
		return &grant.Seen{Kind: grant.RoleBindingKind, Meta: o.ObjectMeta, RoleRef: o.RoleRef, Subjects: o.Subjects}
	case *rbacv1.ClusterRole:
		return &grant.Seen{Kind: grant.ClusterRoleKind, Meta: o.ObjectMeta, Rules: o.Rules}
	case *rbacv1.Role:
		return &grant.Seen{Kind: grant.RoleKind, Meta: o.ObjectMeta, Rules: o.Rules}
	}
	return nil
}

func nameOf(b grant.Binding) string {
	if b.Namespace == "" {
		return b.Kind + " " + b.Name
	}
	return b.Kind + " " + b.Namespace + "/" + b.Name
}
