package view

import (
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Outcome is how access ended, or that it has not: few enough to tell apart at a look.
type Outcome string

const (
	// Pending access is not given yet.
	Pending Outcome = "pending"
	// Held access has not ended.
	Held Outcome = "held"
	// Expired access ended when its time was up.
	Expired Outcome = "expired"
	// Done access was given back, or what it was for is done.
	Done Outcome = "done"
	// TakenAway by a person.
	TakenAway Outcome = "taken-away"
	// Stopped by the broker: something was not as approved any more.
	Stopped Outcome = "stopped"
	// NeverGiven access ended before anybody held it.
	NeverGiven Outcome = "never-given"
)

// OutcomeKind is an outcome with what tells it from others without a colour.
type OutcomeKind struct {
	Outcome Outcome
	// Letter stands in a bar that has no room for words.
	Letter string
	// Words name it in a list, Meaning explains it in a legend.
	Words, Meaning string
}

// Outcomes are all there are, in the order of a legend.
var Outcomes = []OutcomeKind{
	{Held, "H", "held now", "somebody has it at this moment"},
	{Pending, "P", "not given yet", "approved, and the broker has not given it yet"},
	{Expired, "E", "expired", "its time was up"},
	{Done, "D", "done", "given back, extended by other access, or its task is over"},
	{TakenAway, "T", "taken away", "a person revoked or denied it, locked its holder, or deleted what it was based on"},
	{Stopped, "S", "stopped by the broker", "its policy, role, subject, namespace, task or binding was not as approved any more, or its use was not as the policy wants it"},
	{NeverGiven, "N", "never given", "it ended before anybody held it"},
}

// Kind is the outcome with its letter and words.
func (o Outcome) Kind() OutcomeKind {
	for _, kind := range Outcomes {
		if kind.Outcome == o {
			return kind
		}
	}
	return OutcomeKind{Outcome: o, Letter: "?", Words: string(o)}
}

// outcomes of the reasons for which access ends. A reason that is not here, of a newer
// broker, counts as stopped: nothing says that it was meant.
var outcomes = map[v1alpha1.EndReason]Outcome{
	v1alpha1.EndExpired:        Expired,
	v1alpha1.EndTaskCompleted:  Done,
	v1alpha1.EndTaskFailed:     Done,
	v1alpha1.EndReleased:       Done,
	v1alpha1.EndExtended:       Done,
	v1alpha1.EndRevoked:        TakenAway,
	v1alpha1.EndDenied:         TakenAway,
	v1alpha1.EndLocked:         TakenAway,
	v1alpha1.EndRequestDeleted: TakenAway,
	v1alpha1.EndGrantDeleted:   TakenAway,
	v1alpha1.EndPolicyGone:     Stopped,
	v1alpha1.EndPolicyChanged:  Stopped,
	v1alpha1.EndTaskGone:       Stopped,
	v1alpha1.EndBindingTouched: Stopped,
	v1alpha1.EndRoleWidened:    Stopped,
	v1alpha1.EndRoleGone:       Stopped,
	v1alpha1.EndSubjectGone:    Stopped,
	v1alpha1.EndNamespaceGone:  Stopped,
	v1alpha1.EndNotApproved:    Stopped,
	v1alpha1.EndNameTaken:      Stopped,
	v1alpha1.EndNotGrantable:   Stopped,
	v1alpha1.EndIdle:           Stopped,
	v1alpha1.EndSuspicious:     Stopped,
}

// OutcomeOf tells how the access of a grant ended.
func OutcomeOf(g *v1alpha1.AccessGrant) Outcome {
	switch {
	case !over(g) && g.Status.Phase == v1alpha1.GrantActive:
		return Held
	case !over(g):
		return Pending
	case g.Status.GrantedTime == nil:
		return NeverGiven
	}
	if o, known := outcomes[g.Status.EndReason]; known {
		return o
	}
	return Stopped
}

// over tells whether the access is gone.
func over(g *v1alpha1.AccessGrant) bool {
	return g.Status.Phase == v1alpha1.GrantEnded || g.Status.EndedTime != nil
}

// Story says in words all that a bar of a timeline shows: since when the access was
// held, until when, and how it ended.
func Story(g *v1alpha1.AccessGrant, now time.Time) string {
	outcome := OutcomeOf(g)
	var parts []string
	switch outcome {
	case Pending:
		parts = append(parts, "Not given yet, approved "+text.Moment(g.Spec.NotBefore.Time))
	case NeverGiven:
		parts = append(parts, "Never given")
	default:
		parts = append(parts, "Held from "+text.Moment(Given(g)))
	}
	until := g.Spec.ExpirationTime.Time
	switch {
	case over(g):
		parts = append(parts, ended(g))
	case !now.Before(until):
		parts = append(parts, "its time was up "+text.Moment(until)+" and its end is not seen yet")
	default:
		parts = append(parts, "at most until "+text.Moment(until)+", "+left(until, now))
	}
	if why := g.Status.EndReason; why != "" && !over(g) {
		parts = append(parts, "it is being taken away: "+string(why))
	}
	if end := g.Status.EndedTime; end != nil && g.Status.GrantedTime != nil && end.Before(g.Status.GrantedTime) {
		parts = append(parts, "which is before it was given: a clock was wrong")
	}
	return strings.Join(parts, ", ")
}

// ended says when, why and by whom access ended.
func ended(g *v1alpha1.AccessGrant) string {
	out := "ended"
	if g.Status.EndedTime != nil {
		out += " " + text.Moment(g.Status.EndedTime.Time)
	}
	if kind := OutcomeOf(g).Kind(); kind.Outcome != NeverGiven {
		out += ", " + kind.Words
	}
	// Where the reason says no more than the words, it is left out.
	if why := g.Status.EndReason; why != "" && why != v1alpha1.EndExpired {
		out += " (" + string(why) + ")"
	}
	if g.Status.EndedBy != "" {
		out += " by " + g.Status.EndedBy
	}
	return out
}
