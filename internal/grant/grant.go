// Package grant knows the life of an AccessGrant without touching it: its
// name, the bindings it wants, when it is over and why, what to do next. It is
// pure: what was seen of the cluster and what time it is are passed in.
package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// Kinds of bindings.
const (
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

// Binding is a RoleBinding, or a ClusterRoleBinding when Namespace is empty.
type Binding struct {
	Kind      string
	Namespace string
	Name      string
	Grant     string
	GrantUID  types.UID
	RoleRef   rbacv1.RoleRef
	Subjects  []rbacv1.Subject
}

// Bindings that a grant wants, from its spec alone.
func Bindings(g *v1alpha1.AccessGrant) []Binding {
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName}
	if g.Spec.RoleRef != nil {
		role.Kind, role.Name = g.Spec.RoleRef.Kind, g.Spec.RoleRef.Name
	}
	binding := Binding{Kind: ClusterRoleBindingKind, Name: g.Name, Grant: g.Name, GrantUID: g.UID, RoleRef: role}
	for _, s := range g.Spec.Subjects {
		subject := rbacv1.Subject{Kind: s.Kind, Name: s.Name, Namespace: s.Namespace}
		if s.Kind != rbacv1.ServiceAccountKind {
			subject.APIGroup = rbacv1.GroupName
		}
		binding.Subjects = append(binding.Subjects, subject)
	}
	if g.Spec.Cluster {
		return []Binding{binding}
	}
	bindings := make([]Binding, len(g.Spec.Namespaces))
	for i, ns := range g.Spec.Namespaces {
		binding.Kind, binding.Namespace = RoleBindingKind, ns.Name
		bindings[i] = binding
	}
	return bindings
}

// Meta is the metadata of a binding: labelled with the grant and owned by it.
func (b Binding) Meta() metav1.ObjectMeta {
	yes := true
	return metav1.ObjectMeta{
		Namespace: b.Namespace,
		Name:      b.Name,
		Labels:    map[string]string{v1alpha1.LabelGrant: b.Grant},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant",
			Name: b.Grant, UID: b.GrantUID, Controller: &yes,
		}},
	}
}

// Seen is a binding as the API server holds it.
type Seen struct {
	Kind     string
	Meta     metav1.ObjectMeta
	RoleRef  rbacv1.RoleRef
	Subjects []rbacv1.Subject
}

// Ours tells whether an object under the binding's name was made for this
// grant: its owner is the grant, by UID.
func (b Binding) Ours(seen Seen) bool {
	return slices.ContainsFunc(seen.Meta.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == b.GrantUID })
}

// Intact tells whether an object is exactly the binding that the grant wants.
func (b Binding) Intact(seen Seen) bool {
	return b.Ours(seen) &&
		seen.Meta.Labels[v1alpha1.LabelGrant] == b.Grant &&
		seen.Meta.DeletionTimestamp == nil &&
		seen.RoleRef == b.RoleRef &&
		slices.Equal(seen.Subjects, b.Subjects)
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
	s.Subjects = join(identity.Strings(subjects))
	if spec.RoleRef != nil {
		s.Role = spec.RoleRef.Kind + "/" + spec.RoleRef.Name
	} else {
		s.Role = "rules"
	}
	if spec.Cluster {
		s.Scope = "*"
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

// join bounds what kubectl get prints in one column.
func join(items []string) string {
	const most = 1024
	for n := len(items); n >= 0; n-- {
		s := strings.Join(items[:n], ",")
		if n < len(items) {
			s += ",..."
		}
		if len(s) <= most {
			return s
		}
	}
	return ""
}
