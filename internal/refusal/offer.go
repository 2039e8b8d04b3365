package refusal

import (
	"cmp"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/rules"
)

// Where rights are missing.
type Where struct {
	// Namespace, empty for the whole cluster, and its labels, nil where they are not known.
	Namespace string
	Labels    labels.Set
}

// Offer is something that may be asked for.
type Offer struct {
	// Role, nil for ad-hoc rules.
	Role *v1alpha1.RoleRef
	// Policies that offer it, by name.
	Policies []string
	// Known tells that it is known to allow what is missing. A role that may not be
	// read may be too little.
	Known bool
	size  float64
}

// Offers are what policies offer for missing rights, the best first: the rights
// themselves, then the roles that are known to allow them, the smallest first, then
// those that may. rulesOf are the rules of a role, as far as they can be read.
func Offers(policies []v1alpha1.AccessPolicy, where Where, missing []rbacv1.PolicyRule, rulesOf func(v1alpha1.RoleRef) ([]rbacv1.PolicyRule, bool)) []Offer {
	var out []Offer
	add := func(policy string, o Offer) {
		at := slices.IndexFunc(out, func(there Offer) bool {
			return o.Role == nil && there.Role == nil || o.Role != nil && there.Role != nil && *o.Role == *there.Role
		})
		if at < 0 {
			at = len(out)
			out = append(out, o)
		}
		out[at].Policies = append(out[at].Policies, policy)
	}
	for _, p := range policies {
		if !usable(&p, where) {
			continue
		}
		if covered, _ := rules.Covers(v1alpha1.RBACRules(p.Spec.Rules), missing); covered && len(p.Spec.Rules) > 0 {
			add(p.Name, Offer{Known: true, size: -1})
		}
		for _, role := range p.Spec.Roles {
			if where.Namespace == "" && role.Kind == v1alpha1.RoleKind {
				continue
			}
			if allowed, known := rulesOf(role); known {
				if covered, _ := rules.Covers(allowed, missing); covered {
					add(p.Name, Offer{Role: &role, Known: true, size: rules.Size(allowed)})
				}
			} else if guess := guessed(role, missing); guess >= 0 {
				add(p.Name, Offer{Role: &role, size: guess})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Offer) int {
		if a.Known != b.Known {
			if a.Known {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.size, b.size)
	})
	return out
}

// usable tells whether a policy may allow a request in this place that names no task
// and brings no key of its own.
func usable(p *v1alpha1.AccessPolicy, where Where) bool {
	ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Status == metav1.ConditionFalse || p.Spec.Task == v1alpha1.TaskRequired || p.Spec.Credential == v1alpha1.CredentialIssued {
		return false
	}
	if where.Namespace == "" {
		return p.Spec.ClusterScope == v1alpha1.ClusterScopeAllowed
	}
	if p.Spec.Namespaces == nil {
		return false
	}
	if slices.ContainsFunc(p.Spec.Namespaces.Names, func(n string) bool { return n == where.Namespace }) {
		return true
	}
	if p.Spec.Namespaces.Selector == nil {
		return false
	}
	if where.Labels == nil {
		return true // nobody can tell: the broker will
	}
	selector, err := policy.Selector(p.Spec.Namespaces.Selector)
	return err == nil && selector.Matches(where.Labels)
}

// guessed orders roles whose rules may not be read, by what is well known of those
// that every cluster has; less than 0 is what cannot do.
func guessed(role v1alpha1.RoleRef, missing []rbacv1.PolicyRule) float64 {
	if role.Kind != v1alpha1.ClusterRoleKind {
		return 2
	}
	needs := func(holds func(rbacv1.PolicyRule) bool) bool { return slices.ContainsFunc(missing, holds) }
	writes := needs(func(r rbacv1.PolicyRule) bool {
		return slices.ContainsFunc(r.Verbs, func(verb string) bool { return verb != "get" && verb != "list" && verb != "watch" })
	})
	secrets := needs(func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "secrets") })
	powers := needs(func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.APIGroups, rbacv1.GroupName) || len(r.NonResourceURLs) > 0
	})
	switch role.Name {
	case "view":
		if writes || secrets || powers {
			return -1
		}
		return 0
	case "edit":
		if powers {
			return -1
		}
		return 1
	case "admin":
		return 3
	case "cluster-admin":
		return 4
	}
	return 2
}
