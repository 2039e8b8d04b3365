package view

import (
	"cmp"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

// PageOfGrant is all that people need to know about a grant.
func PageOfGrant(g *v1alpha1.AccessGrant, now time.Time) Page {
	p := Page{Name: g.Name, Phase: cmp.Or(string(g.Status.Phase), string(v1alpha1.GrantPending)), Conditions: g.Status.Conditions}
	p.fact("State", stateOf(g, now))
	p.fact("Who asked", person(g.Spec.Requester.Username, g.Spec.Requester.Groups))
	p.fact("For whom", g.Spec.Summary.Subjects)
	p.fact("What", g.Spec.Summary.Role)
	where := g.Spec.Summary.Scope
	if g.Spec.Cluster {
		where = "the whole cluster"
	}
	p.fact("Where", where)
	when := "given " + text.Moment(Given(g)) + ", at most until " + text.Moment(g.Spec.ExpirationTime.Time)
	if g.Spec.ShortenedBy != "" {
		when += ", less than was asked for, by " + g.Spec.ShortenedBy
	}
	p.fact("When", when)
	p.fact("Credential", issuedTo(g))
	p.fact("Why", g.Spec.Reason)
	p.fact("Ticket", g.Spec.Ticket)
	lines := RulesOfGrant(g)
	p.fact("Rights", count(lines).rights())
	p.fact("Policy", g.Spec.PolicyRef.Name)
	p.fact("Extends", extended(g))
	p.fact("Review", conditionOf(g.Status.Conditions, v1alpha1.ConditionReviewed).Message)
	p.fact("Request", g.Spec.RequestRef.Namespace+"/"+g.Spec.RequestRef.Name)
	p.part("Decisions", Each(g.Spec.Decisions, func(d v1alpha1.Decision) Item {
		return Item{Text: decision(d)}
	}))
	p.part("What it allowed", allowedBy(lines))
	return p
}

func stateOf(g *v1alpha1.AccessGrant, now time.Time) string {
	if g.Status.EndedTime == nil {
		return cmp.Or(string(g.Status.Phase), string(v1alpha1.GrantPending)) + " (" + left(g.Spec.ExpirationTime.Time, now) + ")"
	}
	parts := []string{"Ended " + text.Moment(g.Status.EndedTime.Time)}
	if g.Status.EndReason != "" {
		parts = append(parts, string(g.Status.EndReason))
	}
	if g.Status.EndedBy != "" {
		parts = append(parts, "by "+g.Status.EndedBy)
	}
	return strings.Join(parts, ", ")
}
