package resolve

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/rules"
)

// shownLimit bounds what status.rules and spec.roleRules hold of a role: as many
// lines as the schema takes, less one that says what is left out, and no more than
// the tens of kilobytes that fit into an object beside everything else. It bounds
// what people read, never what can be granted.
var shownLimit = rules.Limit{Lines: 511, Bytes: 63 << 10}

// Shown is a role as it is shown to those who decide.
type Shown struct {
	Lines []string
	Risks []v1alpha1.Risk
}

// show sets what is shown of the rules and of their risks, and copies the rules of a
// request. A Role in several namespaces is shown as the sum of its rules.
func (r *Roles) show(out *Resolved, roles ...Role) {
	ref := out.Ask.RoleRef
	if ref == nil {
		own := rules.Normalize(roles[0].Rules)
		out.Shown = shownOf(own, "spec.rules has all of them")
		out.Rules = make([]v1alpha1.PolicyRule, len(own))
		for i, rule := range own {
			out.Rules[i] = v1alpha1.PolicyRule(rule)
		}
		return
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %s\n", ref.Kind, ref.Name)
	for _, role := range roles {
		fmt.Fprintln(hash, r.hash(role))
	}
	key := string(hash.Sum(nil))
	if known, ok := r.shown.Get(key); ok {
		out.Shown = known.(Shown)
		return
	}
	var all []rbacv1.PolicyRule
	for _, role := range roles {
		all = append(all, role.Rules...)
	}
	out.Shown = shownOf(rules.Normalize(all), whereIs(*ref))
	r.shown.Add(key, out.Shown)
}

func shownOf(all []rbacv1.PolicyRule, where string) Shown {
	risks := rules.Risks(all)
	if len(risks) == 0 {
		risks = []rules.Risk{rules.NoneKnown}
	}
	out := Shown{Lines: slices.Clip(rules.Show(all, shownLimit).Stored(where)), Risks: make([]v1alpha1.Risk, len(risks))}
	for i, risk := range risks {
		out.Risks[i] = v1alpha1.Risk{Kind: risk.Kind, Message: risk.Message}
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
