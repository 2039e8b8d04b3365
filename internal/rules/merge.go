package rules

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// maxMerged bounds the work of merging, in verbs on resources: the API admits rules
// with a thousand million of them. More than that is shown rule by rule.
const maxMerged = 1 << 20

// item is what verbs are allowed on: a resource of a group or a path.
type item struct {
	path            bool
	group, resource string
}

// permission is all that is allowed on an item, or on its objects of some names.
type permission struct {
	item
	names string // as they are written; empty for all
	verbs []string
	rank  int // what comes first has the lowest
}

// allowed is what rules allow, merged or, if that is too much, rule by rule.
type allowed struct {
	permissions []permission
	names       map[string][]string // by how they are written, one by one
	rules       []rbacv1.PolicyRule
}

// bucket is what has the same verbs and names.
type bucket struct {
	verbs, names []string
	items        iter.Seq[string]
	permissions  float64
}

func merged(rules []rbacv1.PolicyRule) allowed {
	rules = slices.DeleteFunc(rules, func(rule rbacv1.PolicyRule) bool { return permissionsIn(rule) == 0 })
	work := 0.0
	for _, rule := range rules {
		work += float64(len(rule.Verbs)) * (float64(len(rule.APIGroups))*float64(len(rule.Resources)) + float64(len(rule.NonResourceURLs)))
	}
	if work > maxMerged {
		return allowed{rules: rules}
	}
	type key struct {
		item
		names string
	}
	verbs, names := map[key][]string{}, map[string][]string{"": nil}
	for _, rule := range rules {
		quotedNames := quoted(rule.ResourceNames, ".:")
		joined := strings.Join(quotedNames, ",")
		names[joined] = quotedNames
		for at := range itemsOf(rule) {
			k := key{at, joined}
			if at.path {
				k.names = "" // paths have none
			}
			verbs[k] = union(verbs[k], rule.Verbs)
		}
	}
	wildcards := wildcardPaths(rules)
	out := allowed{names: names}
	for k, left := range verbs {
		for _, wider := range k.wider(k.names != "", wildcards) {
			left = without(left, verbs[key{item: wider}])
		}
		if len(left) > 0 {
			out.permissions = append(out.permissions, permission{item: k.item, names: k.names, verbs: left})
		}
	}
	return out
}

// wider returns the items that include this one: for the API server's RBAC
// authorizer, anyone who may do something to all of such an item may do it to this
// one. When named is true, for some names only, the item itself is among them.
func (i item) wider(named bool, wildcards []string) []item {
	var out []item
	if i.path {
		for _, path := range wildcards {
			if len(path) < len(i.resource) && strings.HasPrefix(i.resource, strings.TrimRight(path, "*")) {
				out = append(out, item{path: true, resource: path})
			}
		}
		return out
	}
	resources := []string{i.resource, rbacv1.ResourceAll}
	if _, subresource, ok := strings.Cut(i.resource, "/"); ok {
		resources = append(resources, "*/"+subresource)
	}
	for _, group := range []string{i.group, rbacv1.APIGroupAll} {
		for _, resource := range resources {
			if other := (item{group: group, resource: resource}); named || other != i {
				out = append(out, other)
			}
		}
	}
	return out
}

// maxWildcardPaths bounds how many paths every other one is compared with.
const maxWildcardPaths = 64

func wildcardPaths(rules []rbacv1.PolicyRule) []string {
	var out []string
	for _, rule := range rules {
		for _, path := range rule.NonResourceURLs {
			if strings.HasSuffix(path, "*") && len(out) < maxWildcardPaths {
				out = append(out, path)
			}
		}
	}
	return out
}

// itemsOf yields what the verbs of a rule are allowed on.
func itemsOf(rule rbacv1.PolicyRule) iter.Seq[item] {
	return func(yield func(item) bool) {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				if !yield(item{group: group, resource: resource}) {
					return
				}
			}
		}
		for _, path := range rule.NonResourceURLs {
			if !yield(item{path: true, resource: path}) {
				return
			}
		}
	}
}

// union of sorted verbs; with * among them, only that.
func union(a, b []string) []string {
	if slices.Contains(a, rbacv1.VerbAll) || slices.Contains(b, rbacv1.VerbAll) {
		return []string{rbacv1.VerbAll}
	}
	if len(a) == 0 {
		return b
	}
	return sorted(slices.Concat(a, b))
}

func without(verbs, those []string) []string {
	if slices.Contains(those, rbacv1.VerbAll) {
		return nil
	}
	if len(those) == 0 {
		return verbs
	}
	return slices.DeleteFunc(slices.Clone(verbs), func(verb string) bool { _, found := slices.BinarySearch(those, verb); return found })
}

// buckets puts together what has the same rank, verbs and names, by the rank and
// then in the order in which people look things up.
func (a allowed) buckets(rank func(rbacv1.PolicyRule) int) []bucket {
	if a.rules != nil {
		return ofRules(a.rules, rank)
	}
	list := slices.Clone(a.permissions)
	for i, p := range list {
		list[i].rank = rank(p.rule(a.names[p.names]))
	}
	slices.SortFunc(list, func(p, q permission) int {
		return cmp.Or(cmp.Compare(p.rank, q.rank), p.compare(q.item), strings.Compare(p.names, q.names))
	})
	type holder struct {
		verbs, names string
		rank         int
	}
	var out []*gathered
	by := map[holder]*gathered{}
	for _, p := range list {
		verbs := quoted(p.verbs, "*")
		key := holder{strings.Join(verbs, ","), p.names, p.rank}
		if by[key] == nil {
			by[key] = &gathered{verbs: verbs, names: a.names[p.names]}
			out = append(out, by[key])
		}
		by[key].items = append(by[key].items, p.String())
	}
	buckets := make([]bucket, len(out))
	for i, g := range out {
		buckets[i] = bucket{g.verbs, g.names, slices.Values(g.items), float64(len(g.verbs)) * float64(len(g.items)) * float64(max(1, len(g.names)))}
	}
	return buckets
}

type gathered struct{ verbs, names, items []string }

// ofRules makes a bucket of each rule as it is, its items made one by one.
func ofRules(rules []rbacv1.PolicyRule, rank func(rbacv1.PolicyRule) int) []bucket {
	byRank := map[int][]rbacv1.PolicyRule{}
	for _, rule := range rules {
		at := rank(rule)
		byRank[at] = append(byRank[at], rule)
	}
	rules = nil
	for _, at := range slices.Sorted(maps.Keys(byRank)) {
		rules = append(rules, byRank[at]...)
	}
	out := make([]bucket, len(rules))
	for i, rule := range rules {
		out[i] = bucket{quoted(rule.Verbs, "*"), quoted(rule.ResourceNames, ".:"), func(yield func(string) bool) {
			for at := range itemsOf(rule) {
				if !yield(at.String()) {
					return
				}
			}
		}, permissionsIn(rule)}
	}
	return out
}

// rule is a permission as a rule of its own.
func (p permission) rule(names []string) rbacv1.PolicyRule {
	if p.path {
		return rbacv1.PolicyRule{Verbs: p.verbs, NonResourceURLs: []string{p.resource}}
	}
	return rbacv1.PolicyRule{Verbs: p.verbs, APIGroups: []string{p.group}, Resources: []string{p.resource}, ResourceNames: names}
}

func (i item) compare(other item) int {
	switch {
	case i.path && !other.path:
		return 1
	case !i.path && other.path:
		return -1
	}
	return cmp.Or(strings.Compare(i.group, other.group), strings.Compare(i.resource, other.resource))
}

// String writes an item as a line has it.
func (i item) String() string {
	if i.path {
		if strings.HasPrefix(i.resource, "/") {
			return quote(i.resource, "/.*")
		}
		return notAPath + quote(i.resource, "*")
	}
	name, subresource, has := strings.Cut(i.resource, "/")
	out := quote(name, "*")
	if i.group != "" {
		out += "." + quote(i.group, ".*")
	}
	if has {
		out += "/" + quote(subresource, "*")
	}
	return out
}
