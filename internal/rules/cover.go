package rules

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// maxComparisons bounds the work of Covers: a rule is as many permissions as its
// verbs, groups, resources and names multiply to, and the API admits rules of a
// thousand million permissions. The limit takes about a second.
const maxComparisons = 20_000_000

// Covers tells whether the ceiling allows everything that is asked, by the algorithm
// with which the API server keeps people from granting more than they hold. The
// asked rules are broken into single permissions, one verb on one resource of one
// group, and each of these must lie within one rule of the ceiling: several rules
// add up, but the verbs of one and the resources of another do not, and a rule for
// all names does not lie within one for some.
//
// uncovered are the permissions outside the ceiling. When the rules are too many to
// compare, nothing is covered, and uncovered are the asked rules as they are,
// without those that the ceiling has word for word.
func Covers(ceiling, asked []rbacv1.PolicyRule) (ok bool, uncovered []rbacv1.PolicyRule) {
	ceiling = Normalize(ceiling)
	asked = slices.DeleteFunc(Normalize(asked), func(rule rbacv1.PolicyRule) bool {
		_, found := slices.BinarySearchFunc(ceiling, rule, compare)
		return found
	})
	// Floats, because a product of lengths may be more than an int. A permission is
	// some work in itself.
	permissions, items := 0.0, 100.0
	for _, rule := range asked {
		permissions += permissionsIn(rule)
	}
	for _, rule := range ceiling {
		items += float64(1 + len(rule.Verbs) + len(rule.APIGroups) + len(rule.Resources) + len(rule.ResourceNames) + len(rule.NonResourceURLs))
	}
	if permissions*items > maxComparisons {
		return false, asked
	}
	ok, uncovered = validation.Covers(ceiling, asked)
	return ok, uncovered
}

func permissionsIn(rule rbacv1.PolicyRule) float64 {
	objects := float64(len(rule.APIGroups)) * float64(len(rule.Resources)) * float64(max(1, len(rule.ResourceNames)))
	return float64(len(rule.Verbs)) * (objects + float64(len(rule.NonResourceURLs)))
}

// wide is how many permissions a wildcard counts for.
const wide = 1000

// Size tells how much rules allow: the number of permissions, to find the smaller of
// two roles.
func Size(all []rbacv1.PolicyRule) float64 {
	size := 0.0
	for _, rule := range Normalize(all) {
		n := permissionsIn(rule)
		for _, list := range [][]string{rule.Verbs, rule.APIGroups, rule.Resources, rule.NonResourceURLs} {
			if slices.Contains(list, "*") {
				n *= wide
			}
		}
		size += n
	}
	return size
}
