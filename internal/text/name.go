package text

import (
	"slices"
	"strings"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Role names a role, such as ClusterRole/edit, or says that there are rules
// instead of one.
func Role(ref *v1alpha1.RoleRef) string {
	if ref == nil {
		return "rules"
	}
	return ref.Kind + "/" + ref.Name
}

// WholeCluster is the scope of cluster-wide access.
const WholeCluster = "*"

// Scope says where the access holds that a request in a namespace asks for: in
// namespaces by name, in those that a selector selects, or in the WholeCluster.
func Scope(namespace string, scope *v1alpha1.Scope) string {
	switch {
	case scope == nil:
		return namespace
	case scope.Cluster != nil:
		return WholeCluster
	case scope.NamespaceSelector != nil:
		if len(scope.NamespaceSelector.MatchLabels)+len(scope.NamespaceSelector.MatchExpressions) == 0 {
			return Selector(scope.NamespaceSelector)
		}
		return "namespaces with " + Selector(scope.NamespaceSelector)
	}
	return strings.Join(scope.Namespaces, ",")
}

// Selector writes a selector as kubectl's -l takes it, ordered by the keys.
func Selector(s *v1alpha1.NamespaceSelector) string {
	type term struct{ key, text string }
	var terms []term
	for key, value := range s.MatchLabels {
		terms = append(terms, term{key, key + "=" + string(value)})
	}
	for _, e := range s.MatchExpressions {
		values := make([]string, len(e.Values))
		for i, v := range e.Values {
			values[i] = string(v)
		}
		in := " (" + strings.Join(values, ",") + ")"
		text := "!" + e.Key
		switch e.Operator {
		case "In":
			text = e.Key + " in" + in
		case "NotIn":
			text = e.Key + " notin" + in
		case "Exists":
			text = e.Key
		}
		terms = append(terms, term{e.Key, text})
	}
	if len(terms) == 0 {
		return "every namespace"
	}
	slices.SortFunc(terms, func(a, b term) int {
		if n := strings.Compare(a.key, b.key); n != 0 {
			return n
		}
		return strings.Compare(a.text, b.text)
	})
	out := make([]string, len(terms))
	for i, t := range terms {
		out[i] = t.text
	}
	return strings.Join(out, ",")
}

// Subject names who gets access, asks for it or decides on it: alice,
// group:dev, sa:payments/migrate, spiffe://example.org/ns/*/sa/deployer.
func Subject[S v1alpha1.Subject | v1alpha1.PolicySubject](subject S) string {
	switch s := v1alpha1.Subject(subject); s.Kind {
	case v1alpha1.GroupKind:
		return "group:" + s.Name
	case v1alpha1.ServiceAccountKind:
		return "sa:" + s.Namespace + "/" + s.Name
	default:
		return s.Name
	}
}

// Subjects names each of them.
func Subjects[S v1alpha1.Subject | v1alpha1.PolicySubject](subjects []S) []string {
	names := make([]string, len(subjects))
	for i, s := range subjects {
		names[i] = Subject(s)
	}
	return names
}

// Person names an authenticated user, with the first of their groups. Groups
// such as system:authenticated say nothing of a person.
func Person(username string, groups []string, most int) string {
	groups = slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return strings.HasPrefix(g, "system:") })
	switch len(groups) {
	case 0:
		return username
	case 1:
		return username + " (group " + groups[0] + ")"
	}
	return username + " (groups " + List(groups, most) + ")"
}
