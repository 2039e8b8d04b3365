package advice

import (
	"fmt"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/rules"
)

// Role is a set of rules, and where it is to be bound.
type Role struct {
	// Namespaces in which a RoleBinding binds it; none for a ClusterRoleBinding.
	Namespaces []string            `json:"namespaces,omitempty"`
	Rules      []rbacv1.PolicyRule `json:"rules"`
}

// Cluster tells whether the role is to be bound in the whole cluster.
func (r Role) Cluster() bool { return len(r.Namespaces) == 0 }

// set is rights, each once.
type set map[Right]struct{}

func (s set) add(rights ...Right) {
	for _, r := range rights {
		s[r] = struct{}{}
	}
}

func (s set) has(r Right) bool {
	_, found := s[r]
	return found
}

func (s set) sorted() []Right { return slices.SortedFunc(maps.Keys(s), Right.compare) }

// least is the set without what the rest of it allows.
func (s set) least() set {
	out := set{}
	for r := range s {
		if !s.implied(r) {
			out.add(r)
		}
	}
	return out
}

// implied tells whether wider rights of the set allow a right: that of all names, or
// that in the whole cluster.
func (s set) implied(r Right) bool {
	unnamed, everywhere, both := r, r, r
	unnamed.Name, everywhere.Namespace, both.Name, both.Namespace = "", "", "", ""
	for _, wider := range []Right{unnamed, everywhere, both} {
		if wider != r && s.has(wider) {
			return true
		}
	}
	return false
}

// allows tells whether the set has a right, or wider ones that allow it.
func (s set) allows(r Right) bool { return s.has(r) || s.implied(r) }

// roles are the rules that allow the rights and nothing more. Each right is in one
// rule alone, so that nothing can be taken from them. Namespaces with the same rules
// share a role.
func (s set) roles() []Role {
	inNamespace := map[string][]Right{}
	for r := range s.least() {
		inNamespace[r.Namespace] = append(inNamespace[r.Namespace], r)
	}
	var out []Role
	byRules := map[string]int{}
	for _, namespace := range slices.Sorted(maps.Keys(inNamespace)) {
		folded := fold(inNamespace[namespace])
		if namespace == "" {
			out = append(out, Role{Rules: folded})
			continue
		}
		hash := rules.Hash(folded)
		at, found := byRules[hash]
		if !found {
			at = len(out)
			byRules[hash] = at
			out = append(out, Role{Rules: folded})
		}
		out[at].Namespaces = append(out[at].Namespaces, namespace)
	}
	return out
}

// fold writes rights as rules: the names with the same verbs on a resource together,
// and then the resources of a group with the same verbs and names.
func fold(rights []Right) []rbacv1.PolicyRule {
	type object struct{ group, resource, path, name string }
	verbs := map[object][]string{}
	for _, r := range rights {
		at := object{r.Group, r.Resource, r.Path, r.Name}
		verbs[at] = append(verbs[at], r.Verb)
	}
	type named struct {
		group, resource, verbs string
		all                    bool
	}
	type ruled struct {
		group, verbs, names string
		path                bool
	}
	lists := lists{}
	names, items := map[named][]string{}, map[ruled][]string{}
	for at, v := range verbs {
		if at.resource == "" {
			k := ruled{verbs: lists.key(v), path: true}
			items[k] = append(items[k], at.path)
			continue
		}
		k := named{at.group, at.resource, lists.key(v), at.name == ""}
		names[k] = append(names[k], at.name)
	}
	for at, n := range names {
		k := ruled{group: at.group, verbs: at.verbs}
		if !at.all {
			k.names = lists.key(n)
		}
		items[k] = append(items[k], at.resource)
	}
	out := make([]rbacv1.PolicyRule, 0, len(items))
	for at, list := range items {
		rule := rbacv1.PolicyRule{Verbs: lists[at.verbs], ResourceNames: lists[at.names]}
		if at.path {
			rule.NonResourceURLs = list
		} else {
			rule.APIGroups, rule.Resources = []string{at.group}, list
		}
		out = append(out, rule)
	}
	return rules.Normalize(out)
}

// lists are sorted lists by a key of each: callers choose names, so no character
// could separate them.
type lists map[string][]string

func (l lists) key(words []string) string {
	words = slices.Sorted(slices.Values(words))
	key := fmt.Sprintf("%q", words)
	l[key] = words
	return key
}
