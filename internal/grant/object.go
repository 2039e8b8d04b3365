package grant

import (
	"cmp"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Kinds of the objects that a grant may own.
const (
	RoleKind               = v1alpha1.RoleKind
	ClusterRoleKind        = v1alpha1.ClusterRoleKind
	RoleBindingKind        = "RoleBinding"
	ClusterRoleBindingKind = "ClusterRoleBinding"
)

// Object is one that a grant owns: a RoleBinding or ClusterRoleBinding, the Role or
// ClusterRole that a grant of rules binds, or the ServiceAccount of an issued
// credential.
type Object struct {
	Kind      string
	Namespace string // empty for the cluster-wide kinds
	Name      string
	Grant     string
	GrantUID  types.UID
	// RoleRef and Subjects of a binding.
	RoleRef  rbacv1.RoleRef
	Subjects []rbacv1.Subject
	// Rules of a role.
	Rules []rbacv1.PolicyRule
}

// Bindings that a grant wants, from its spec alone.
func Bindings(g *v1alpha1.AccessGrant) []Object {
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName}
	switch {
	case g.Spec.RoleRef != nil:
		role.Kind, role.Name = g.Spec.RoleRef.Kind, g.Spec.RoleRef.Name
	case g.Spec.Cluster:
		role.Kind, role.Name = ClusterRoleKind, g.Name
	default:
		role.Kind, role.Name = RoleKind, g.Name
	}
	binding := Object{Kind: ClusterRoleBindingKind, RoleRef: role}
	for _, s := range Bound(g) {
		subject := rbacv1.Subject{Kind: s.Kind, Name: s.Name, Namespace: s.Namespace}
		if s.Kind != rbacv1.ServiceAccountKind {
			subject.APIGroup = rbacv1.GroupName
		}
		binding.Subjects = append(binding.Subjects, subject)
	}
	return inScope(g, binding, RoleBindingKind)
}

// Roles that a grant of rules wants beside its bindings; none when it binds an
// existing role.
func Roles(g *v1alpha1.AccessGrant) []Object {
	if g.Spec.RoleRef != nil {
		return nil
	}
	return inScope(g, Object{Kind: ClusterRoleKind, Rules: v1alpha1.RBACRules(g.Spec.Rules)}, RoleKind)
}

// Objects are all that a grant wants: the ServiceAccount of an issued credential,
// then roles, then the bindings to both.
func Objects(g *v1alpha1.AccessGrant) []Object {
	return append(append(Accounts(g), Roles(g)...), Bindings(g)...)
}

// RecordedUID is the UID that an object was created with, empty when that was
// not recorded.
func RecordedUID(g *v1alpha1.AccessGrant, want Object) types.UID {
	i := slices.IndexFunc(g.Status.Bindings, func(ref v1alpha1.BindingRef) bool {
		return ref.Kind == want.Kind && ref.Namespace == want.Namespace && ref.Name == want.Name
	})
	if i < 0 {
		return ""
	}
	return g.Status.Bindings[i].UID
}

// inScope puts an object into the scope of a grant: once for the cluster, or
// as the namespaced kind into each namespace.
func inScope(g *v1alpha1.AccessGrant, object Object, namespacedKind string) []Object {
	object.Name, object.Grant, object.GrantUID = g.Name, g.Name, g.UID
	if g.Spec.Cluster {
		return []Object{object}
	}
	objects := make([]Object, len(g.Spec.Namespaces))
	for i, ns := range g.Spec.Namespaces {
		object.Kind, object.Namespace = namespacedKind, ns.Name
		objects[i] = object
	}
	return objects
}

// Marks that tell other tools to leave an object alone: if it is copied into other
// namespaces, or restored from a backup, that is access without an end.
const (
	notInBackups  = "velero.io/exclude-from-backup" // a label, for Velero
	notPropagated = "propagate.hnc.x-k8s.io/none"   // an annotation, for the Hierarchical Namespace Controller
)

// String names an object for people.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Meta is the metadata of an object: labelled with the grant, owned by it, and
// not to be copied by the tools that are known to copy.
func (o Object) Meta() metav1.ObjectMeta {
	yes := true
	return metav1.ObjectMeta{
		Namespace:   o.Namespace,
		Name:        o.Name,
		Labels:      map[string]string{v1alpha1.LabelGrant: o.Grant, notInBackups: "true"},
		Annotations: map[string]string{notPropagated: "true"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant",
			Name: o.Grant, UID: o.GrantUID, Controller: &yes,
		}},
	}
}

// Seen is a binding, role or ServiceAccount as the API server holds it.
type Seen struct {
	Kind     string
	Meta     metav1.ObjectMeta
	RoleRef  rbacv1.RoleRef
	Subjects []rbacv1.Subject
	Rules    []rbacv1.PolicyRule
	// Aggregated is true when a controller fills in the rules of a ClusterRole.
	Aggregated bool
}

// Object is what was seen, as an object of the grant with that UID.
func (s Seen) Object(grantUID types.UID) Object {
	return Object{Kind: s.Kind, Namespace: s.Meta.Namespace, Name: s.Meta.Name, Grant: s.Meta.Labels[v1alpha1.LabelGrant], GrantUID: grantUID}
}

// Is tells whether what was seen has the name of an object.
func (s Seen) Is(o Object) bool {
	return s.Kind == o.Kind && s.Meta.Namespace == o.Namespace && s.Meta.Name == o.Name
}

// AllowsNothing tells whether the object gives nobody anything.
func (s Seen) AllowsNothing() bool { return len(s.Subjects)+len(s.Rules) == 0 && !s.Aggregated }

// Ours tells whether an object under that name belongs to the grant:
// the grant owns it, by UID, or it carries both the grant's label and the
// grant's name, as when somebody took its owner away. A label alone, which may
// stand on a stranger's object, is not enough.
func (o Object) Ours(seen Seen) bool {
	return o.owns(seen) || (seen.Meta.Labels[v1alpha1.LabelGrant] == o.Grant && seen.Meta.Name == o.Grant)
}

func (o Object) owns(seen Seen) bool {
	return slices.ContainsFunc(seen.Meta.OwnerReferences, func(owner metav1.OwnerReference) bool { return owner.UID == o.GrantUID })
}

// Intact tells whether an object is exactly what the grant wants. Of a ServiceAccount
// only who owns it counts: others may add pull secrets, which are no right.
func (o Object) Intact(seen Seen) bool {
	return o.owns(seen) &&
		seen.Meta.Labels[v1alpha1.LabelGrant] == o.Grant &&
		seen.Meta.DeletionTimestamp == nil &&
		seen.RoleRef == o.RoleRef &&
		slices.Equal(seen.Subjects, o.Subjects) &&
		!seen.Aggregated &&
		equality.Semantic.DeepEqual(seen.Rules, o.Rules)
}

// CopiedBy tells whether another object allows what the binding does, to the same
// subjects.
func (o Object) CopiedBy(seen Seen) bool {
	order := func(a, b rbacv1.Subject) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}
	sorted := func(subjects []rbacv1.Subject) []rbacv1.Subject {
		return slices.SortedFunc(slices.Values(subjects), order)
	}
	return !o.Ours(seen) && seen.RoleRef == o.RoleRef && slices.Equal(sorted(seen.Subjects), sorted(o.Subjects))
}

// Ref pins the object by the UID it was created with.
func (o Object) Ref(uid types.UID) v1alpha1.BindingRef {
	return v1alpha1.BindingRef{Kind: o.Kind, Namespace: o.Namespace, ObjectRef: v1alpha1.ObjectRef{Name: o.Name, UID: uid}}
}
