package controllers

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/utils/lru"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/rbac"
)

// shownLimit bounds what is shown of a role in status.rules and kept of it in
// spec.roleRules: what the schema takes less one line that says what is left
// out, and no more than the tens of kilobytes that fit beside all else that an
// object holds. It bounds what is read, never what can be granted.
var shownLimit = rbac.Limit{Lines: 511, Bytes: 63 << 10}

// shown is what a role comes to for those who decide.
type shown struct {
	lines []string
	risks []v1alpha1.Risk
}

// shownRoles remembers what roles come to: one with the APIs of a thousand
// operators takes a tenth of a second, and every look at a request needs it.
var shownRoles = lru.New(128)

// show says what rules allow and what could become of them, and takes rules of
// one's own over. A role in several namespaces is shown as the sum of them.
func (out *resolved) show(roles ...heldRole) {
	ref := out.ask.RoleRef
	if ref == nil {
		rules := rbac.Normalize(roles[0].rules)
		out.shown = shownOf(rules, "spec.rules has all of them")
		out.rules = make([]v1alpha1.PolicyRule, len(rules))
		for i, rule := range rules {
			out.rules[i] = v1alpha1.PolicyRule(rule)
		}
		return
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %s\n", ref.Kind, ref.Name)
	for _, role := range roles {
		fmt.Fprintln(hash, hashes.of(role))
	}
	key := string(hash.Sum(nil))
	if known, ok := shownRoles.Get(key); ok {
		out.shown = known.(shown)
		return
	}
	var rules []rbacv1.PolicyRule
	for _, role := range roles {
		rules = append(rules, role.rules...)
	}
	out.shown = shownOf(rbac.Normalize(rules), whereIs(*ref))
	shownRoles.Add(key, out.shown)
}

func shownOf(rules []rbacv1.PolicyRule, where string) shown {
	risks := rbac.Risks(rules)
	if len(risks) == 0 {
		risks = []rbac.Risk{rbac.NoneKnown}
	}
	out := shown{lines: slices.Clip(rbac.Show(rules, shownLimit).Stored(where)), risks: make([]v1alpha1.Risk, len(risks))}
	for i, risk := range risks {
		out.risks[i] = v1alpha1.Risk{Kind: risk.Kind, Message: risk.Message}
	}
	return out
}

// typable names can stand in a command line that somebody copies.
var typable = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9._:]*$`)

// whereIs says how to see all of a role.
func whereIs(ref v1alpha1.RoleRef) string {
	switch {
	case !typable.MatchString(ref.Name):
		return "the " + ref.Kind + " itself has all of them"
	case ref.Kind == v1alpha1.ClusterRoleKind:
		return "kubectl get clusterrole " + ref.Name + " -o yaml shows all of them"
	}
	return "kubectl get role " + ref.Name + " -o yaml, in each namespace, shows all of them"
}
