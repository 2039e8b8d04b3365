// Package attribution tells which grants a call belongs to. It is pure.
//
// The authorizer names one binding for a call, and when several allow it, any of
// them. So the name alone does not do: a call belongs to every grant that was active
// then and covers it, and where that is more than one, or other access covers the
// call too, it is shared.
package attribution

import (
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// Grants are those that calls may belong to. They are read by many at a time, and
// never changed.
type Grants struct {
	byName  map[string]*known
	byUser  map[string][]*known
	byGroup map[string][]*known
}

// known is what matters of a grant.
type known struct {
	name        string
	uid         types.UID
	bindings    map[place]bool
	from, until time.Time // until is zero while it is active
	// issued: only who holds its credential is its user, and is nobody else's.
	issued bool
	// rules are what the role allowed when it was approved, in all of cluster or in
	// the namespaces.
	rules []rbacv1.PolicyRule
}

// place is where a binding is, and of which kind.
type place struct{ kind, namespace string }

// New makes Grants of the grants that are active, or were a while ago. It takes what
// it can from those before, which may be nil.
func New(list []*v1alpha1.AccessGrant, before *Grants) *Grants {
	g := &Grants{byName: map[string]*known{}, byUser: map[string][]*known{}, byGroup: map[string][]*known{}}
	for _, object := range list {
		k := knownOf(object, before)
		g.byName[k.name] = k
		for _, s := range grant.Bound(object) {
			switch s.Kind {
			case v1alpha1.GroupKind:
				g.byGroup[s.Name] = append(g.byGroup[s.Name], k)
			case v1alpha1.ServiceAccountKind:
				user := "system:serviceaccount:" + s.Namespace + ":" + s.Name
				g.byUser[user] = append(g.byUser[user], k)
			default:
				g.byUser[s.Name] = append(g.byUser[s.Name], k)
			}
		}
	}
	return g
}

func knownOf(g *v1alpha1.AccessGrant, before *Grants) *known {
	k := &known{name: g.Name, uid: g.UID, issued: grant.Issued(g)}
	if before != nil && before.byName[g.Name] != nil && before.byName[g.Name].uid == g.UID {
		*k = *before.byName[g.Name] // its spec never changes
	} else {
		k.bindings, k.from = map[place]bool{}, g.Spec.NotBefore.Time
		for _, binding := range grant.Bindings(g) {
			k.bindings[place{binding.Kind, binding.Namespace}] = true
		}
		// A role that cannot be read here covers nothing but what the authorizer says.
		k.rules, _, _ = grant.ApprovedRules(g)
	}
	if g.Status.EndedTime != nil {
		k.until = g.Status.EndedTime.Time
	}
	return k
}

// Filter picks the events that may concern a grant, one that is not among these too.
func (g *Grants) Filter(users ...string) *usage.Filter {
	for user := range g.byUser {
		users = append(users, user)
	}
	var groups []string
	for group := range g.byGroup {
		groups = append(groups, group)
	}
	return usage.NewFilter(nil, users).OrGrants(grant.IsName).OrGroups(groups)
}

// Has tells whether a grant is among these.
func (g *Grants) Has(name string) bool { return g.byName[name] != nil }

// Share is a grant's part in a call.
type Share struct {
	Grant string
	// Shared: other grants cover the call too, or another binding allowed it.
	Shared bool
}

// Of returns the grants that a call belongs to. One with an issued credential belongs
// to its grant, whatever allowed it. One that was refused belongs to all
// grants of the caller that were active then: with them they tried it.
func (g *Grants) Of(e *usage.Event) []Share {
	var shares []Share
	named := g.named(e)
	if named != nil {
		shares = append(shares, Share{Grant: named.name})
	}
	right, name := usage.RightOf(e)
	var asked []rbacv1.PolicyRule
	for _, k := range g.of(e) {
		if k == named || slices.ContainsFunc(shares, func(s Share) bool { return s.Grant == k.name }) || !k.activeAt(e.Received) {
			continue
		}
		if e.Allowed && !k.issued {
			if asked == nil {
				asked = ruleOf(right, name)
			}
			if !k.covers(right, asked) {
				continue
			}
		}
		shares = append(shares, Share{Grant: k.name})
	}
	// A refused call is nobody's alone, and nothing was used.
	if e.Allowed && (len(shares) > 1 || named == nil) {
		for i := range shares {
			shares[i].Shared = true
		}
	}
	return shares
}

// named is the grant whose binding allowed the call, nil if it is another binding.
func (g *Grants) named(e *usage.Event) *known {
	b, ok := e.Binding()
	if !ok {
		return nil
	}
	k := g.byName[b.Name]
	if k == nil || !k.bindings[place{b.Kind, b.Namespace}] {
		return nil
	}
	return k
}

// of are the grants of the caller.
func (g *Grants) of(e *usage.Event) []*known {
	if len(g.byGroup) == 0 {
		return g.byUser[e.Actor()]
	}
	all := slices.Clone(g.byUser[e.Actor()])
	for _, group := range e.Groups {
		all = append(all, g.byGroup[group]...)
	}
	return all
}

func (k *known) activeAt(t time.Time) bool {
	return !t.Before(k.from) && (k.until.IsZero() || t.Before(k.until))
}

// covers asks the algorithm of the API server whether the rules allow the call.
func (k *known) covers(right usage.Right, asked []rbacv1.PolicyRule) bool {
	switch {
	case k.bindings[place{kind: grant.ClusterRoleBindingKind}]:
	case right.Namespace == "" || !k.bindings[place{grant.RoleBindingKind, right.Namespace}]:
		return false
	}
	ok, _ := validation.Covers(k.rules, asked)
	return ok
}

func ruleOf(right usage.Right, name string) []rbacv1.PolicyRule {
	rule := right.Rule()
	if name != "" && len(rule.Resources) > 0 {
		rule.ResourceNames = []string{name}
	}
	return []rbacv1.PolicyRule{rule}
}
