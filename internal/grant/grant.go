// Package grant knows the life of an AccessGrant without touching it: its
// name, the bindings it wants, when it is over and why, what to do next. It is
// pure: what was seen of the cluster and what time it is are passed in.
package grant

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Kinds of the objects that a grant may own.
const (
	RoleKind               = v1alpha1.RoleKind
	ClusterRoleKind        = v1alpha1.ClusterRoleKind
	RoleBindingKind        = "RoleBinding"
	ClusterRoleBindingKind = "ClusterRoleBinding"
)

// maxName keeps a grant's name within what a label value may hold, because
// its bindings carry it as a label.
const maxName = 63

// Name of the grant of a request. It follows from the request's UID, so that
// a second grant for one request cannot exist.
func Name(requestName string, requestUID types.UID) string {
	sum := sha256.Sum256([]byte(requestUID))
	hash := hex.EncodeToString(sum[:8])
	// A request may be named a-b.c; a name must not end a label with a dash or
	// a dot before the hash is joined on.
	cut := strings.TrimRight(requestName[:min(len(requestName), maxName-len(hash)-1)], "-.")
	return cut + "-" + hash
}

// Binding is a RoleBinding or a ClusterRoleBinding of a grant, or the Role or
// ClusterRole that a grant of rules binds.
type Binding struct {
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
func Bindings(g *v1alpha1.AccessGrant) []Binding {
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName}
	switch {
	case g.Spec.RoleRef != nil:
		role.Kind, role.Name = g.Spec.RoleRef.Kind, g.Spec.RoleRef.Name
	case g.Spec.Cluster:
		role.Kind, role.Name = ClusterRoleKind, g.Name
	default:
		role.Kind, role.Name = RoleKind, g.Name
	}
	binding := Binding{Kind: ClusterRoleBindingKind, RoleRef: role}
	for _, s := range g.Spec.Subjects {
		subject := rbacv1.Subject{Kind: s.Kind, Name: s.Name, Namespace: s.Namespace}
		if s.Kind != rbacv1.ServiceAccountKind {
			subject.APIGroup = rbacv1.GroupName
		}
		binding.Subjects = append(binding.Subjects, subject)
	}
	return inScope(g, binding, RoleBindingKind)
}

// Roles that a grant of rules wants beside its bindings; none when it binds a
// role that exists.
func Roles(g *v1alpha1.AccessGrant) []Binding {
	if g.Spec.RoleRef != nil {
		return nil
	}
	return inScope(g, Binding{Kind: ClusterRoleKind, Rules: v1alpha1.RBACRules(g.Spec.Rules)}, RoleKind)
}

// inScope puts an object into the scope of a grant: once for the cluster, or
// as the namespaced kind into each namespace.
func inScope(g *v1alpha1.AccessGrant, object Binding, namespacedKind string) []Binding {
	object.Name, object.Grant, object.GrantUID = g.Name, g.Name, g.UID
	if g.Spec.Cluster {
		return []Binding{object}
	}
	objects := make([]Binding, len(g.Spec.Namespaces))
	for i, ns := range g.Spec.Namespaces {
		object.Kind, object.Namespace = namespacedKind, ns.Name
		objects[i] = object
	}
	return objects
}

// What tells other tools to leave an object alone: one that is copied into other
// namespaces, or restored from a backup, is access without an end.
const (
	notInBackups  = "velero.io/exclude-from-backup" // a label, for Velero
	notPropagated = "propagate.hnc.x-k8s.io/none"   // an annotation, for the Hierarchical Namespace Controller
)

// Meta is the metadata of a binding: labelled with the grant, owned by it, and
// not to be copied by the tools that are known to copy.
func (b Binding) Meta() metav1.ObjectMeta {
	yes := true
	return metav1.ObjectMeta{
		Namespace:   b.Namespace,
		Name:        b.Name,
		Labels:      map[string]string{v1alpha1.LabelGrant: b.Grant, notInBackups: "true"},
		Annotations: map[string]string{notPropagated: "true"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant",
			Name: b.Grant, UID: b.GrantUID, Controller: &yes,
		}},
	}
}

// Seen is a binding or role as the API server holds it.
type Seen struct {
	Kind     string
	Meta     metav1.ObjectMeta
	RoleRef  rbacv1.RoleRef
	Subjects []rbacv1.Subject
	Rules    []rbacv1.PolicyRule
}

// Ours tells whether an object under the binding's name belongs to the grant:
// the grant owns it, by UID, or it carries both the grant's label and the
// grant's name, as when somebody took its owner away. A label alone, which may
// stand on a stranger's object, is not enough.
func (b Binding) Ours(seen Seen) bool {
	return b.owns(seen) || (seen.Meta.Labels[v1alpha1.LabelGrant] == b.Grant && seen.Meta.Name == b.Grant)
}

func (b Binding) owns(seen Seen) bool {
	return slices.ContainsFunc(seen.Meta.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == b.GrantUID })
}

// Intact tells whether an object is exactly the binding that the grant wants.
func (b Binding) Intact(seen Seen) bool {
	return b.owns(seen) &&
		seen.Meta.Labels[v1alpha1.LabelGrant] == b.Grant &&
		seen.Meta.DeletionTimestamp == nil &&
		seen.RoleRef == b.RoleRef &&
		slices.Equal(seen.Subjects, b.Subjects) &&
		equality.Semantic.DeepEqual(seen.Rules, b.Rules)
}

// Copies tells whether an object allows what the binding does, to the same
// subjects, without being it.
func (b Binding) Copies(seen Seen) bool {
	order := func(a, b rbacv1.Subject) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}
	sorted := func(subjects []rbacv1.Subject) []rbacv1.Subject {
		return slices.SortedFunc(slices.Values(subjects), order)
	}
	return !b.Ours(seen) && seen.RoleRef == b.RoleRef && slices.Equal(sorted(seen.Subjects), sorted(b.Subjects))
}

// Ref pins the binding by the UID it was created with.
func (b Binding) Ref(uid types.UID) v1alpha1.BindingRef {
	return v1alpha1.BindingRef{Kind: b.Kind, Namespace: b.Namespace, ObjectRef: v1alpha1.ObjectRef{Name: b.Name, UID: uid}}
}

// Summarize writes the lists of a grant as one line each.
func Summarize(spec *v1alpha1.AccessGrantSpec) v1alpha1.GrantSummary {
	var s v1alpha1.GrantSummary
	subjects := make([]v1alpha1.Subject, len(spec.Subjects))
	for i, subject := range spec.Subjects {
		subjects[i] = subject.Subject
	}
	s.Subjects = join(text.Subjects(subjects))
	s.Role = text.Role(spec.RoleRef)
	if spec.Cluster {
		s.Scope = text.WholeCluster
	} else {
		names := make([]string, len(spec.Namespaces))
		for i, ns := range spec.Namespaces {
			names[i] = ns.Name
		}
		s.Scope = join(names)
	}
	var approvers []string
	for _, d := range spec.Decisions {
		if d.Verdict == v1alpha1.VerdictApprove {
			approvers = append(approvers, d.Username)
		}
	}
	s.Approvers = join(approvers)
	return s
}

// join bounds what kubectl get prints in one column, in characters as the
// schema counts them.
func join(items []string) string {
	const most = 1024
	whole := strings.Join(items, ",")
	if utf8.RuneCountInString(whole) <= most {
		return whole
	}
	line, rest := "", most-len("...")
	if first := []rune(items[0]); len(first) >= rest {
		return string(first[:rest]) + "..."
	}
	for _, item := range items {
		if rest -= utf8.RuneCountInString(item) + 1; rest < 0 {
			break
		}
		line += item + ","
	}
	return line + "..."
}
