// Package rules knows RBAC rules: what they are, whether they cover others, how
// they are shown, and what their holder could become. It is pure.
package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Normalize returns the rules in a fixed order, with the items inside them sorted
// and nothing twice. It shares no memory with what it was given.
func Normalize(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	out := make([]rbacv1.PolicyRule, len(rules))
	for i, rule := range rules {
		out[i] = rbacv1.PolicyRule{
			Verbs:           sorted(rule.Verbs),
			APIGroups:       sorted(rule.APIGroups),
			Resources:       sorted(rule.Resources),
			ResourceNames:   sorted(rule.ResourceNames),
			NonResourceURLs: sorted(rule.NonResourceURLs),
		}
	}
	slices.SortFunc(out, compare)
	return slices.CompactFunc(out, func(a, b rbacv1.PolicyRule) bool { return compare(a, b) == 0 })
}

// Hash identifies what rules allow: SHA-256 in lower-case hex, 64 characters. It
// does not depend on the order of the rules, on that of the items inside them, or on
// repetitions. It is not cut: with a short hash, the author of a role could search
// for two sets of rules that share one and have one approved for the other.
func Hash(rules []rbacv1.PolicyRule) string {
	hash := sha256.New()
	for _, rule := range Normalize(rules) {
		// %q keeps items, fields and rules apart, whatever is in them.
		fmt.Fprintf(hash, "%q\n", [][]string{rule.APIGroups, rule.Resources, rule.ResourceNames, rule.NonResourceURLs, rule.Verbs})
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func sorted(items []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(items)))
}

// compare orders normal rules by what they are about, as people look them up.
func compare(a, b rbacv1.PolicyRule) int {
	return cmp.Or(
		slices.Compare(a.APIGroups, b.APIGroups),
		slices.Compare(a.Resources, b.Resources),
		slices.Compare(a.ResourceNames, b.ResourceNames),
		slices.Compare(a.NonResourceURLs, b.NonResourceURLs),
		slices.Compare(a.Verbs, b.Verbs),
	)
}
