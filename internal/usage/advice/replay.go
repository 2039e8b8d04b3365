package advice

import (
	"iter"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// Replay asks Kubernetes' own RBAC matching for each of the calls, as if the roles
// were bound and nothing else, and returns the rights that it denies. Calls that
// every authenticated user may make, and those that no rule can hold, are not asked
// for: see Advice.Everybody and Advice.Odd.
func Replay(roles []Role, calls iter.Seq[*usage.Event]) []Right {
	asked := set{}
	for e := range calls {
		wanted, err := needs(e)
		if err != nil || !e.Allowed {
			continue
		}
		for _, n := range wanted {
			if !covered(everybody, n.Right) {
				asked.add(n.Right)
			}
		}
	}
	return denied(roles, asked)
}

func denied(roles []Role, asked set) []Right {
	cluster, inNamespace := []rbacv1.PolicyRule(nil), map[string][]rbacv1.PolicyRule{}
	for _, role := range roles {
		if role.Cluster() {
			cluster = append(cluster, role.Rules...)
		}
		for _, namespace := range role.Namespaces {
			inNamespace[namespace] = append(inNamespace[namespace], role.Rules...)
		}
	}
	var out []Right
	for r := range asked {
		if !covered(cluster, r) && (r.Namespace == "" || !covered(inNamespace[r.Namespace], r)) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, Right.compare)
	return out
}

// covered asks the algorithm of the API server whether rules allow a right.
func covered(rules []rbacv1.PolicyRule, r Right) bool {
	ok, _ := validation.Covers(rules, []rbacv1.PolicyRule{r.Rule()})
	return ok
}
