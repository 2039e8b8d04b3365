package view

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Card is a request at a glance, among others.
type Card struct {
	Namespace, Name, Phase string
	// Who asked, and for whom if that is not themselves alone.
	Who, ForWhom string
	What, Where  string
	// HowLong, Why and the Ticket as they were asked for.
	HowLong, Why, Ticket string
	// State says how far it has come and what it waits for.
	State string
	// Asked is when.
	Asked time.Time
	// From and Until bound the access; they are zero before it is given.
	From, Until time.Time
	// Risks are those that are known, the most dangerous first, and Looked tells that
	// the broker has looked for them.
	Risks  []string
	Looked bool
	// Waits are those who may decide, a line for each stage; only of what waits.
	Waits []string
}

// CardOf is the card of a request.
func CardOf(r *v1alpha1.AccessRequest, now time.Time) Card {
	subjects := identity.Subjects(r.Asked())
	c := Card{
		Namespace: r.Namespace, Name: r.Name, Phase: phaseOf(r), Who: r.Spec.Requester.Username,
		What: roleOf(r), Where: whereOf(r), HowLong: howLong(r, now), Why: r.Spec.Reason, Ticket: r.Spec.Ticket,
		State: Progress(r, now), Asked: r.CreationTimestamp.Time, Looked: r.Status.RulesHash != "",
		Risks: Each(knownRisks(r), func(risk v1alpha1.Risk) string { return risk.Message }),
	}
	if len(r.Asked().Subjects) > 0 {
		c.ForWhom = strings.Join(text.Subjects(subjects), ", ")
	}
	if until := r.Status.ExpirationTime; until != nil {
		c.From, c.Until = conditionOf(r.Status.Conditions, v1alpha1.ConditionGranted).LastTransitionTime.Time, until.Time
	}
	if r.Status.Phase == v1alpha1.RequestPending {
		for _, part := range stages(r, subjects) {
			c.Waits = append(c.Waits, Each(part.Items, func(i Item) string { return i.Text })...)
		}
	}
	return c
}

// WorstFirst orders requests for those who decide: by the most dangerous things that the
// access could be turned into, and of the same danger what has waited longest.
func WorstFirst(a, b *v1alpha1.AccessRequest) int {
	return cmp.Or(
		slices.Compare(ranks(a), ranks(b)),
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name))
}

// ranks are those of all known risks, the most dangerous first, and at the end one that is
// after all of them: more risks come before fewer.
func ranks(r *v1alpha1.AccessRequest) []int {
	all := Each(knownRisks(r), func(risk v1alpha1.Risk) int { return rules.Rank(risk.Kind) })
	return slices.Sorted(slices.Values(append(all, rules.Rank("")+1)))
}

// NewestFirst orders requests by when they were made.
func NewestFirst(a, b *v1alpha1.AccessRequest) int {
	return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name))
}

// SameRequester tells whether somebody asked for this too, before or after.
func SameRequester(a, b *v1alpha1.AccessRequest) bool {
	return a.UID != b.UID && identity.SamePerson(a.Spec.Requester.Username, b.Spec.Requester.Username)
}

// Shown identifies what somebody sees of a request: a decision is only on that.
type Shown struct {
	UID, RulesHash string
}

// ShownOf is what is seen of a request as it is.
func ShownOf(r *v1alpha1.AccessRequest) Shown {
	return Shown{string(r.UID), r.Status.RulesHash}
}
