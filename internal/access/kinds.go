// Package access puts what a grant allows into the cluster, takes it away, and
// asks the API server whether it is gone. It is all that stands between a deadline
// and the revocation, and knows nothing of requests and policies.
package access

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/grant"
)

// Kind describes one kind of object that a grant can own.
type Kind struct {
	// Name of the kind, as in AccessGrant.status.bindings.
	Name string
	// Binds is true when objects of the kind give access; the others are what they
	// bind.
	Binds bool
	// New is an object of the kind with nothing in it, as it is read.
	New func() client.Object

	// create makes the object of a kind of which only the metadata is read, nil for
	// the others.
	create func() client.Object
	list   func() client.ObjectList
	// write sets what an object allows.
	write func(client.Object, grant.Seen)
	// read returns what is compared of an object.
	read func(client.Object) grant.Seen
}

// Kinds are all kinds that a grant can own, in the order in which access is taken
// away: bindings before the roles that they bind and the identities that they name.
// The broker does not give, take,
// watch, search for, sweep or count any other kind.
var Kinds = []Kind{
	kindOf[rbacv1.RoleBinding, rbacv1.RoleBindingList](grant.RoleBindingKind, true,
		func(o *rbacv1.RoleBinding, to grant.Seen) { o.RoleRef, o.Subjects = to.RoleRef, to.Subjects },
		func(o *rbacv1.RoleBinding) grant.Seen { return grant.Seen{RoleRef: o.RoleRef, Subjects: o.Subjects} }),
	kindOf[rbacv1.ClusterRoleBinding, rbacv1.ClusterRoleBindingList](grant.ClusterRoleBindingKind, true,
		func(o *rbacv1.ClusterRoleBinding, to grant.Seen) { o.RoleRef, o.Subjects = to.RoleRef, to.Subjects },
		func(o *rbacv1.ClusterRoleBinding) grant.Seen {
			return grant.Seen{RoleRef: o.RoleRef, Subjects: o.Subjects}
		}),
	kindOf[rbacv1.Role, rbacv1.RoleList](grant.RoleKind, false,
		func(o *rbacv1.Role, to grant.Seen) { o.Rules = to.Rules },
		func(o *rbacv1.Role) grant.Seen { return grant.Seen{Rules: o.Rules} }),
	kindOf[rbacv1.ClusterRole, rbacv1.ClusterRoleList](grant.ClusterRoleKind, false,
		func(o *rbacv1.ClusterRole, to grant.Seen) { o.Rules, o.AggregationRule = to.Rules, nil },
		func(o *rbacv1.ClusterRole) grant.Seen {
			return grant.Seen{Rules: o.Rules, Aggregated: o.AggregationRule != nil}
		}),
	serviceAccounts(),
}

// serviceAccounts is the row of the identities of issued credentials. An identity
// allows nothing by itself. The broker keeps the metadata of all ServiceAccounts in
// its cache anyway, and reads no more of these.
func serviceAccounts() Kind {
	k := kindOf[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList](grant.ServiceAccountKind, false,
		func(*metav1.PartialObjectMetadata, grant.Seen) {},
		func(*metav1.PartialObjectMetadata) grant.Seen { return grant.Seen{} })
	kind := corev1.SchemeGroupVersion.WithKind(grant.ServiceAccountKind)
	k.New = func() client.Object {
		o := &metav1.PartialObjectMetadata{}
		o.SetGroupVersionKind(kind)
		return o
	}
	k.list = func() client.ObjectList {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		return list
	}
	k.create = func() client.Object {
		return &corev1.ServiceAccount{AutomountServiceAccountToken: ptr.To(false)}
	}
	return k
}

// kindOf makes a row of the table: write sets what an object allows, and read tells
// what it allows.
func kindOf[T, L any, P interface {
	*T
	client.Object
}, Q interface {
	*L
	client.ObjectList
}](name string, binds bool, write func(P, grant.Seen), read func(P) grant.Seen) Kind {
	return Kind{
		Name: name, Binds: binds,
		New:   func() client.Object { return P(new(T)) },
		list:  func() client.ObjectList { return Q(new(L)) },
		write: func(o client.Object, to grant.Seen) { write(o.(P), to) },
		read: func(o client.Object) grant.Seen {
			seen := read(o.(P))
			seen.Kind, seen.Meta = name, *metaOf(o)
			return seen
		},
	}
}

func metaOf(o client.Object) *metav1.ObjectMeta {
	return o.(metav1.ObjectMetaAccessor).GetObjectMeta().(*metav1.ObjectMeta)
}

// of finds the row of a kind by its name.
func of(name string) Kind {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		panic("a grant can own no " + name)
	}
	return Kinds[i]
}

// object returns the object to create for what a grant wants.
func (k Kind) object(want grant.Object) client.Object {
	if k.create != nil {
		o := k.create()
		*metaOf(o) = want.Meta()
		return o
	}
	o := k.New()
	*metaOf(o) = want.Meta()
	k.write(o, grant.Seen{RoleRef: want.RoleRef, Subjects: want.Subjects, Rules: want.Rules})
	return o
}

// empty removes from an object what it allows, but for the roleRef of a binding,
// which can never be changed.
func (k Kind) empty(o client.Object) {
	k.write(o, grant.Seen{RoleRef: k.read(o).RoleRef})
}

// Labelled lists all objects that carry a grant's label, bindings before what they
// bind.
func Labelled(ctx context.Context, c client.Reader, which ...client.ListOption) ([]grant.Seen, error) {
	return listed(ctx, c, func(Kind) bool { return true }, which...)
}

// LabelledBindings lists only the bindings among them.
func LabelledBindings(ctx context.Context, c client.Reader, which ...client.ListOption) ([]grant.Seen, error) {
	return listed(ctx, c, func(k Kind) bool { return k.Binds }, which...)
}

func listed(ctx context.Context, c client.Reader, wanted func(Kind) bool, which ...client.ListOption) ([]grant.Seen, error) {
	var out []grant.Seen
	for _, k := range Kinds {
		if !wanted(k) {
			continue
		}
		list := k.list()
		if err := c.List(ctx, list, which...); err != nil {
			return nil, fmt.Errorf("list every %s of a grant: %w", k.Name, err)
		}
		_ = meta.EachListItem(list, func(o runtime.Object) error {
			out = append(out, k.read(o.(client.Object)))
			return nil
		})
	}
	return out, nil
}
