package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/usage"
	"github.com/accessbroker/accessbroker/internal/usage/advice"
)

// storedAdvice is advice from what is stored of the use of grants.
type storedAdvice struct {
	f      *advise
	wanted advice.Options
	// policy that was asked for; nil without, or when it is gone.
	policy *v1alpha1.AccessPolicy
	now    time.Time
}

// adviseStored collects what is stored of the grants that were asked for.
func (o *options) adviseStored(ctx context.Context, f *advise, wanted advice.Options, now time.Time) (*advice.Advice, error) {
	c, err := cluster.Connect(o.config)
	if err != nil {
		return nil, err
	}
	s := storedAdvice{f: f, wanted: wanted, now: now}
	if f.policy != "" {
		switch s.policy, err = c.Policy(ctx, f.policy); {
		case cluster.NotTold(err) && !cluster.NotServed(err):
			s.policy = nil
			fmt.Fprintf(o.ErrOut, "What nobody used of the policy is left out: there is no policy %s that you may read.\n", view.Word(f.policy))
		case err != nil:
			return nil, err
		}
	}
	all, err := c.Grants(ctx)
	if err != nil {
		return nil, err
	}
	grants := map[string]*v1alpha1.AccessGrant{}
	for _, g := range view.Keep(all, s.asksFor) {
		grants[g.Name] = &g
	}
	if len(grants) == 0 {
		return nil, hintf("See 'kubectl access audit' for the grants that are on record.", "no access was given %s", s.about())
	}
	observed := map[string]*usage.Summary{}
	if err := c.UsagesOf(ctx, slices.Collect(maps.Values(grants)), func(u *v1alpha1.AccessUsage) {
		summary := usage.SummaryOf(&u.Status)
		observed[u.Name] = &summary
	}); err != nil {
		return nil, noUsages(err)
	}
	a := s.advice(grants, observed)
	if len(a.Stored.Unobserved) == a.Stored.Grants {
		return nil, hintf(fromLog, "nobody observed the use of what was given %s (grants: %d): an observer stores it, if one runs while the access is held", s.about(), a.Stored.Grants)
	}
	return a, nil
}

// asksFor tells whether a grant is asked for.
func (s *storedAdvice) asksFor(g *v1alpha1.AccessGrant) bool {
	of := s.wanted.Of
	if of.Role != "" && (g.Spec.RoleRef == nil || g.Spec.RoleRef.Name != of.Role || g.Spec.RoleRef.Kind != of.RoleKind) {
		return false
	}
	if of.In != "" && !g.Spec.Cluster && !slices.ContainsFunc(g.Spec.Namespaces, func(n v1alpha1.GrantNamespace) bool { return n.Name == of.In }) {
		return false
	}
	if g.Status.GrantedTime == nil || g.Status.EndedTime != nil && g.Status.EndedTime.Time.Before(s.wanted.Since) {
		return false
	}
	return s.f.policy == "" || g.Spec.PolicyRef.Name == s.f.policy
}

// about says which access was asked for.
func (s *storedAdvice) about() string {
	about := strings.TrimPrefix(s.f.about(), "by anybody")
	if s.wanted.Of.In != "" {
		about += " in namespace " + s.wanted.Of.In
	}
	if !s.wanted.Since.IsZero() {
		about += " since " + s.f.since
	}
	if about == "" {
		return "yet"
	}
	return strings.TrimSpace(about)
}

func (s *storedAdvice) advice(grants map[string]*v1alpha1.AccessGrant, observed map[string]*usage.Summary) *advice.Advice {
	// The rules of a policy are used by grants of rules alone.
	ofRules := s.wanted
	policy := &advice.Policy{Name: s.f.policy}
	ofRules.Present = nil
	if s.policy != nil {
		for _, role := range s.policy.Spec.Roles {
			if s.f.role == "" || role.Kind == s.wanted.Of.RoleKind && role.Name == s.wanted.Of.Role {
				policy.Roles = append(policy.Roles, advice.RoleUse{Kind: role.Kind, Name: role.Name})
			}
		}
		if s.f.role == "" && len(s.policy.Spec.Rules) > 0 {
			ofRules.Present = v1alpha1.RBACRules(s.policy.Spec.Rules)
		}
	}
	all, rules := advice.Collect(s.wanted), advice.Collect(ofRules)
	for name, g := range grants {
		held := advice.Grant{Name: name, From: view.Given(g), To: s.now, Active: true, Usage: observed[name]}
		if g.Status.EndedTime != nil {
			held.To, held.Active = g.Status.EndedTime.Time, false
		}
		all.AddGrant(held)
		if s.policy != nil && g.Spec.PolicyRef.UID != s.policy.UID {
			policy.Earlier++
		}
		if g.Spec.RoleRef == nil {
			rules.AddGrant(held)
			policy.RuleGrants++
			continue
		}
		for i := range policy.Roles {
			if role := &policy.Roles[i]; role.Kind == g.Spec.RoleRef.Kind && role.Name == g.Spec.RoleRef.Name {
				role.Count(held)
			}
		}
	}
	a := all.Advice()
	if s.policy != nil {
		policy.Rules = rules.Advice().Unused
		a.Policy = policy
	}
	return &a
}
