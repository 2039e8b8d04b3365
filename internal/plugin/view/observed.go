package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// silence is how long a window may stand still before that is told. It moves on once a
// minute while somebody observes.
const silence = 3 * time.Minute

// unobserved is how much of the time of a grant may be outside the window before that
// is told: an observer is never there in the same moment.
const unobserved = time.Minute

// Observed is what was observed of the use of a grant.
type Observed struct {
	Usage usage.Summary
	// Grant, where the user may read it.
	Grant *v1alpha1.AccessGrant
	// Rules of what was granted, line by line, where they are known.
	Rules []string
}

// RulesOfGrant are the rules that a grant was approved for, line by line.
func RulesOfGrant(g *v1alpha1.AccessGrant) []string {
	if g.Spec.RoleRef != nil {
		return g.Spec.RoleRules
	}
	return rules.Show(v1alpha1.RBACRules(g.Spec.Rules), ownLimit).Stored("spec.rules has all of them")
}

// RulesOfRequest are the rules that a request is about, line by line.
func RulesOfRequest(r *v1alpha1.AccessRequest) []string { return rulesOf(r) }

// Tell adds to the page what is stored of the use of the access, nothing where nothing is
// stored or told. The rules are those of the grant or, without it, the ones given.
func (p *Page) Tell(stored *v1alpha1.AccessUsage, g *v1alpha1.AccessGrant, lines []string, now time.Time) {
	if stored == nil {
		return
	}
	if g != nil {
		lines = RulesOfGrant(g)
	}
	p.Observe(Observed{Usage: usage.SummaryOf(&stored.Status), Grant: g, Rules: lines}, now)
}

// Observe tells of observed usage on the page of a request or grant: what is suspicious
// right after the state, the rest after the facts.
func (p *Page) Observe(o Observed, now time.Time) {
	if suspicious := findings(o.Usage.Suspicious); len(suspicious) > 0 {
		p.Facts = slices.Insert(p.Facts, min(1, len(p.Facts)), Part{"Suspicious", suspicious})
	}
	p.fact("Used", o.sentence(now))
	p.fact("Refused", demand(o.Usage))
	p.Facts = append(p.Facts, o.aftermath(false)...)
	p.Facts = append(p.Facts, Part{"Observed", o.window(now)})
}

// PageOfObserved is all that was observed of the use of a grant.
func PageOfObserved(u Usage, o Observed, now time.Time) Page {
	p := Page{Name: u.Name()}
	if suspicious := findings(o.Usage.Suspicious); len(suspicious) > 0 {
		p.Facts = append(p.Facts, Part{"Suspicious", suspicious})
	}
	p.fact("In short", o.sentence(now))
	if g := o.Grant; g != nil {
		p.fact("Whose", g.Spec.Summary.Subjects+", "+g.Spec.Summary.Role+" in "+g.Spec.Summary.Scope)
	}
	if s := o.Usage; !s.First.IsZero() && !s.Last.IsZero() {
		p.fact("When", text.Moment(s.First)+" to "+text.Moment(s.Last))
	}
	p.Facts = append(p.Facts, Part{"Observed", o.window(now)})
	p.Facts = append(p.Facts, o.aftermath(true)...)
	p.listed(o.Usage)
	return p
}

// ObservedUsages lists what each grant was used for.
func ObservedUsages(list []Usage, now time.Time) Table {
	return tableOf(list, func(u *Usage) []cell {
		window := "nothing yet"
		if w := u.Window; !w.Until.IsZero() {
			window = "to " + text.Moment(w.Until)
			if w.Gaps > 0 {
				window += ", " + Plural(w.Gaps, "gap")
			}
		}
		last := ""
		if !u.Last.IsZero() {
			last = ago(u.Last, now)
		}
		return []cell{
			{"GRANT", u.Grant},
			{"USERS", text.List(users(u.Callers), maxWho)},
			{"CALLS", fmt.Sprint(u.Calls - u.Refused)},
			{"REFUSED", fmt.Sprint(u.Refused)},
			{"RIGHTS", atLeast(rightsUsed(u.Summary), u.More.Used)},
			{"LAST", last},
			{"RISKS", text.List(kinds(u.Risks), maxWho)},
			{"SUSPICIOUS", text.List(Each(u.Suspicious, func(f usage.Finding) string { return f.Name }), maxWho)},
			{"OBSERVED", window},
		}
	})
}

func findings(list []usage.Finding) []Item {
	return Each(list, func(f usage.Finding) Item {
		line := word(f.Name) + ": " + f.Message
		if f.Times > 1 {
			line += fmt.Sprintf(" (%d times, from %s to %s)", f.Times, text.Moment(f.First), text.Moment(f.Last))
		} else {
			line += " (" + text.Moment(f.First) + ")"
		}
		if f.Action == string(v1alpha1.SuspiciousRevoke) {
			line += "; it ends the access"
		}
		return Item{Text: line, Danger: true}
	})
}

// sentence is what a person would say of it.
func (o Observed) sentence(now time.Time) string {
	s := o.Usage
	parts := []string{observedCalls(s, now)}
	if n := rightsUsed(s); n > 0 {
		parts = append(parts, "used "+ofRights(n, s.More.Used > 0, count(o.Rules)))
	}
	parts = append(parts, deeds(s)...)
	if len(s.Created) > 0 {
		parts = append(parts, "created "+o.created())
	}
	return strings.Join(parts, "; ")
}

func observedCalls(s usage.Summary, now time.Time) string {
	n := s.Calls - s.Refused
	out := "no calls"
	if n > 0 {
		out = when(Plural(n, "call"), n, s, now)
	}
	switch {
	case s.Shared >= n && n > 1:
		out += "; other access covers all of them too"
	case s.Shared >= n && n > 0:
		out += "; other access covers it too"
	case s.Shared > 0:
		out += fmt.Sprintf("; %d of them other access covers too", s.Shared)
	}
	return out
}

// rightsUsed counts verbs on resources, as rights of a role are counted: in however
// many namespaces.
func rightsUsed(s usage.Summary) int {
	return len(distinct(Each(s.Used, func(u usage.RightUse) string {
		right := u.Right
		right.Namespace = ""
		return fmt.Sprintf("%q", right)
	})))
}

func ofRights(used int, more bool, granted rights) string {
	n := fmt.Sprint(used)
	if more {
		n = "more than " + n
	}
	switch {
	case granted.all == 0 || used > granted.all && !granted.leftOut && !granted.wildcard:
		return n + " " + noun(used, "right")
	case granted.wildcard:
		return n + " " + noun(used, "right") + ", of any number that wildcards (*) give"
	case granted.leftOut:
		return fmt.Sprintf("%s of more than %d rights", n, granted.all)
	}
	return fmt.Sprintf("%s of %d %s", n, granted.all, noun(granted.all, "right"))
}

// created names what was made, and of each whether it is still there, if the broker
// looked and found it.
func (o Observed) created() string {
	list := o.Usage.Created
	names := Each(list, func(c usage.CreatedUse) string {
		switch {
		case !o.stillThere(c.Object):
			return named(c.Object)
		case len(list) == 1:
			return named(c.Object) + ", which is still there"
		}
		return named(c.Object) + " (still there)"
	})
	out := text.List(names, maxWho)
	if o.Usage.More.Created > 0 {
		out += " and others"
	}
	return out
}

// stillThere tells whether the broker found the object: the condition LeftBehind names
// each that it found, by its kind. Of two that were called the same, it may be either.
func (o Observed) stillThere(object usage.Object) bool {
	message, left := o.condition(v1alpha1.ConditionLeftBehind)
	alike := Keep(o.Usage.Created, func(c *usage.CreatedUse) bool {
		return c.Resource == object.Resource && c.Namespace == object.Namespace && c.Name == object.Name
	})
	if !left || object.Name == "" || len(alike) != 1 {
		return false
	}
	name := object.Name
	if object.Namespace != "" {
		name = object.Namespace + "/" + name
	}
	_, found, _ := strings.Cut(message, "still exist: ")
	found, _, _ = strings.Cut(found, "; not known: ")
	return slices.ContainsFunc(strings.Split(found, "; "), func(item string) bool {
		kind, rest, _ := strings.Cut(item, " ")
		rest, named := strings.CutPrefix(rest, name)
		return named && isOf(kind, object.Resource) && (rest == "" || rest[0] == ' ' || rest[0] == ',')
	})
}

// isOf tells whether a resource is named like a kind: Pod and pods, Policy and policies.
func isOf(kind, resource string) bool {
	return len(kind) > 1 && strings.HasPrefix(resource, strings.ToLower(kind[:len(kind)-1]))
}

// demand is what was refused.
func demand(s usage.Summary) string {
	if s.Refused == 0 {
		return ""
	}
	out := Plural(s.Refused, "call")
	if len(s.Demanded) > 0 {
		out += ": " + text.List(Each(s.Demanded, func(u usage.RightUse) string {
			line := word(u.Verb) + " " + rightOf(u.Right)
			if u.Namespace != "" {
				line += " in " + word(u.Namespace)
			}
			return line
		}), maxWho)
	}
	return out
}

// aftermath is what goes on or is left: sessions that are open, unless they are listed
// elsewhere, and what the broker found when the access had ended.
func (o Observed) aftermath(listed bool) []Part {
	var parts []Part
	if left, ok := o.condition(v1alpha1.ConditionSessionsOpen); ok {
		parts = append(parts, Part{"Still open", []Item{{Text: left, Danger: true}}})
	} else if len(o.Usage.Open) > 0 && !listed {
		open := Each(o.Usage.Open[:min(len(o.Usage.Open), maxWho)], session)
		if more := len(o.Usage.Open) - len(open) + o.Usage.More.Open; more > 0 {
			open = append(open, Item{Text: "and " + Plural(more, "session") + " more"})
		}
		parts = append(parts, Part{"No end seen", open})
	}
	if left, ok := o.condition(v1alpha1.ConditionLeftBehind); ok {
		parts = append(parts, Part{"Left behind", []Item{{Text: left}}})
	}
	return parts
}

// condition is what a condition of the grant says, if it is True.
func (o Observed) condition(of string) (string, bool) {
	if o.Grant == nil {
		return "", false
	}
	c := conditionOf(o.Grant.Status.Conditions, of)
	return c.Message, c.Status == metav1.ConditionTrue
}

// window says when usage was observed, and what of the time of the grant was not.
func (o Observed) window(now time.Time) []Item {
	w := o.Usage.Window
	if w.Since.IsZero() || w.Until.IsZero() {
		return []Item{{Text: "nothing yet: no audit events have come since the access was given"}}
	}
	items := []Item{{Text: "from " + text.Moment(w.Since) + " to " + text.Moment(w.Until)}}
	add := func(format string, args ...any) { items = append(items, Item{Text: fmt.Sprintf(format, args...)}) }
	not := func(from, to time.Time) { add("not from %s to %s", text.Moment(from), text.Moment(to)) }
	over := w.Closed
	if g := o.Grant; g != nil {
		if begun := Given(g); w.Since.Sub(begun) > unobserved {
			not(begun, w.Since)
		}
		if g.Status.EndedTime != nil {
			over = true
			if g.Status.EndedTime.Sub(w.Until) > unobserved {
				not(w.Until, g.Status.EndedTime.Time)
			}
		}
	}
	if w.Gaps > 0 {
		line := "with " + Plural(w.Gaps, "gap")
		if !w.LastGap.IsZero() {
			line += ", the last until " + text.Moment(w.LastGap)
		}
		add("%s: what was done in them is not known", line)
	}
	if w.Lost > 0 {
		add("%s could not be read: what they tell counts nowhere", Plural(w.Lost, "event"))
	}
	if quiet := now.Sub(w.Until); !over && quiet > silence {
		add("silent since %s (%s): what was done after it is not known", text.Moment(w.Until), span(quiet))
	}
	return items
}
