package advice

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/accessbroker/accessbroker/internal/rules"
)

// maxBroken bounds the work of looking at rules permission by permission: the API
// admits rules of a thousand million.
const maxBroken = 100_000

// Unused is what rules allow and nobody used. A permission is a verb on a resource,
// or on an object of that name, or on a path.
type Unused struct {
	Rules []rbacv1.PolicyRule `json:"rules,omitempty"`
	// Unused permissions, of All.
	Unused int `json:"unused"`
	All    int `json:"all"`
	// Wild are permissions with a * that were used: what for is in the proposal.
	Wild []rbacv1.PolicyRule `json:"wild,omitempty"`
	// TooMany is true when the rules have too many permissions to look at each. Then
	// Rules are those of which nothing was used.
	TooMany bool `json:"tooMany,omitempty"`
}

// unused looks for what rules allow beyond the observed rights. What was used for names
// that are not known may have been any name.
func unused(present []rbacv1.PolicyRule, observed set, unknown map[Right]Unknown) *Unused {
	out := &Unused{}
	parts := rules.Normalize(present)
	if permissions(parts) > maxBroken {
		out.TooMany = true
	} else {
		var broken []rbacv1.PolicyRule
		for _, rule := range parts {
			broken = append(broken, validation.BreakdownRule(rule)...)
		}
		parts = rules.Normalize(broken)
	}
	at := index(observed)
	maybe := set{}
	for r := range unknown {
		maybe.add(r)
	}
	perhaps := index(maybe)
	var never []rbacv1.PolicyRule
	for _, part := range parts {
		out.All++
		switch {
		case !at.uses(part) && !perhaps.uses(ofAnyName(part)):
			out.Unused++
			never = append(never, part)
		case wild(part):
			out.Wild = append(out.Wild, part)
		}
	}
	if out.TooMany {
		out.Rules = never
		return out
	}
	rights := set{}
	for _, part := range never {
		r := Right{Verb: part.Verbs[0]}
		if len(part.NonResourceURLs) > 0 {
			r.Path = part.NonResourceURLs[0]
		} else {
			r.Group, r.Resource = part.APIGroups[0], part.Resources[0]
		}
		if len(part.ResourceNames) > 0 {
			r.Name = part.ResourceNames[0]
		}
		rights.add(r)
	}
	out.Rules = fold(rights.sorted())
	return out
}

func permissions(parts []rbacv1.PolicyRule) float64 {
	all := 0.0
	for _, rule := range parts {
		objects := float64(len(rule.APIGroups)) * float64(len(rule.Resources)) * float64(max(1, len(rule.ResourceNames)))
		all += float64(len(rule.Verbs)) * (objects + float64(len(rule.NonResourceURLs)))
	}
	return all
}

// indexed has observed rights by their verb and resource, so that a permission that
// names both is not compared to all of them.
type indexed struct {
	all   []Right
	exact map[Right][]Right
}

func index(observed set) indexed {
	out := indexed{all: observed.sorted(), exact: map[Right][]Right{}}
	for _, r := range out.all {
		k := Right{Verb: r.Verb, Group: r.Group, Resource: r.Resource}
		out.exact[k] = append(out.exact[k], r)
	}
	return out
}

// uses tells whether any observed right lies within a permission.
func (i indexed) uses(part rbacv1.PolicyRule) bool {
	among := i.all
	if !wild(part) && len(part.Verbs) == 1 && len(part.Resources) == 1 {
		among = i.exact[Right{Verb: part.Verbs[0], Group: part.APIGroups[0], Resource: part.Resources[0]}]
	}
	for _, r := range among {
		if covered([]rbacv1.PolicyRule{part}, r) {
			return true
		}
	}
	return false
}

func ofAnyName(part rbacv1.PolicyRule) rbacv1.PolicyRule {
	part.ResourceNames = nil
	return part
}

func wild(part rbacv1.PolicyRule) bool {
	for _, list := range [][]string{part.Verbs, part.APIGroups, part.Resources, part.NonResourceURLs} {
		for _, item := range list {
			if len(item) > 0 && (item[0] == '*' || item[len(item)-1] == '*') {
				return true
			}
		}
	}
	return false
}
