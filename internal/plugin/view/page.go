package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Page is all that people need to know about a request to decide on it.
type Page struct {
	Name, Namespace, Phase string
	// Facts come first, in a line or a few each, and what matters most before the
	// others.
	Facts []Part
	// Parts are the full lists; none is empty.
	Parts      []Part
	Conditions []metav1.Condition
}

// Part is a list with a title.
type Part struct {
	Title string
	Items []Item
}

// Item is a line, or a list that belongs to the line before.
type Item struct {
	Text   string
	Danger bool
	List   []string
}

// PageOf is the page of a request.
func PageOf(r *v1alpha1.AccessRequest, now time.Time) Page {
	p := Page{Name: r.Name, Namespace: r.Namespace, Phase: phaseOf(r), Conditions: r.Status.Conditions}
	risks := Each(knownRisks(r), func(risk v1alpha1.Risk) Item { return Item{Text: risk.Message, Danger: true} })
	p.fact("State", Progress(r, now))
	p.fact("Who asks", person(r.Spec.Requester.Username, r.Spec.Requester.Groups)+", "+ago(r.CreationTimestamp.Time, now)+" ago")
	subjects := identity.Subjects(r.Asked())
	if len(r.Asked().Subjects) > 0 {
		p.fact("For whom", strings.Join(text.Subjects(subjects), ", "))
	}
	p.fact("What", roleOf(r))
	p.fact("Where", whereOf(r))
	p.fact("Extends", extends(r))
	p.fact("How long", howLong(r, now))
	p.fact("Credential", credentialOf(r, now))
	p.fact("Why", r.Spec.Reason)
	p.fact("Ticket", r.Spec.Ticket)
	p.Facts = append(p.Facts, Part{"Risks", worst(risks, r.Status.RulesHash != "")})
	what := count(rulesOf(r))
	p.fact("Can change", what.changes())
	p.fact("Rights", what.rights())
	p.fact("Policy", policyOf(r))
	p.Facts = append(p.Facts, stages(r, subjects)...)
	p.fact("Review", reviewOf(r))
	p.fact("Grant", r.Status.GrantName)
	p.part("Decisions", decisions(r))
	if len(risks) > maxWorst {
		p.part("Risks: the holder could", risks)
	}
	if c := conditionOf(r.Status.Conditions, v1alpha1.ConditionStandingAccess); c.Status == metav1.ConditionTrue {
		p.part("Access that they have anyway", []Item{{Text: c.Message}})
	}
	p.part("What it allows", allowed(r))
	return p
}

func (p *Page) fact(title, value string) {
	if value != "" {
		p.Facts = append(p.Facts, Part{title, []Item{{Text: value}}})
	}
}

func (p *Page) part(title string, items []Item) {
	if len(items) > 0 {
		p.Parts = append(p.Parts, Part{title, items})
	}
}

// person names somebody with all of their groups: approvers want to see each.
func person(username string, groups []string) string {
	return text.Person(username, groups, len(groups))
}

func whereOf(r *v1alpha1.AccessRequest) string {
	scope := scopeOf(r)
	switch of := r.Asked().Scope; {
	case scope == text.WholeCluster:
		return "the whole cluster"
	case of != nil && of.NamespaceSelector != nil:
		return scope + selected(r)
	case of != nil && len(of.Namespaces) > 1:
		return "namespaces " + strings.Join(of.Namespaces, ", ")
	}
	return "namespace " + scope
}

// selected are the namespaces that a selector matches.
func selected(r *v1alpha1.AccessRequest) string {
	if r.Status.Pins == nil {
		return ", chosen when the access is given"
	}
	return ", now " + several(Each(r.Status.Pins.Namespaces, func(ns v1alpha1.GrantNamespace) string { return ns.Name }))
}

func howLong(r *v1alpha1.AccessRequest, now time.Time) string {
	var parts []string
	switch until := r.Status.ExpirationTime; {
	case until != nil && r.Status.Phase.Ended():
		parts = append(parts, "at most until "+text.Moment(until.Time))
	case until != nil:
		parts = append(parts, "until "+text.Moment(until.Time)+", "+left(until.Time, now))
	case r.Spec.Extends != "":
		parts = append(parts, moreTime(r))
	case r.Spec.Duration != nil:
		parts = append(parts, text.Duration(r.Spec.Duration.Duration)+" from the grant on")
	default:
		parts = append(parts, "as long as the policy says")
	}
	if start := r.Spec.StartTime; start != nil {
		parts = append(parts, "not before "+text.Moment(start.Time))
	}
	if task := r.Asked().Task; task != nil {
		until := "no longer than " + task.Kind + " " + task.Name + " runs"
		if task.CompleteWhen != "" {
			until += " (complete when " + task.CompleteWhen + ")"
		}
		if pins := r.Status.Pins; pins != nil && pins.Task != nil && pins.Task.UID == "" && !r.Status.Phase.Ended() {
			until += ", which is not there yet: the first of that name counts"
		}
		parts = append(parts, until)
	}
	return strings.Join(parts, "; ")
}

// extends says which access a request asks more time of.
func extends(r *v1alpha1.AccessRequest) string {
	if r.Spec.Extends == "" || r.Status.Extended == nil {
		return r.Spec.Extends
	}
	return r.Spec.Extends + ", until " + text.Moment(r.Status.Extended.ExpirationTime.Time)
}

// moreTime is how much longer than that it asks for.
func moreTime(r *v1alpha1.AccessRequest) string {
	from := r.Status.Extended
	switch {
	case r.Spec.Duration == nil:
		return "more time, as long as the policy says"
	case from == nil:
		return text.Duration(r.Spec.Duration.Duration) + " more"
	}
	return text.Duration(r.Spec.Duration.Duration) + " more, until " + text.Moment(from.ExpirationTime.Add(r.Spec.Duration.Duration))
}

func policyOf(r *v1alpha1.AccessRequest) string {
	if r.Status.Policy == nil {
		return r.Asked().PolicyName
	}
	return r.Status.Policy.Name + ", which asks for " + approvals(r.Status.Required())
}

// stages say who decides, and of several stages who has.
func stages(r *v1alpha1.AccessRequest, subjects []v1alpha1.Subject) []Part {
	var items []Item
	for _, stage := range r.Status.Approvals {
		who := strings.Join(text.Subjects(identity.Deciders(stage.From, r.Spec.Requester.Username, subjects)), ", ")
		if len(r.Status.Approvals) > 1 {
			who = fmt.Sprintf("%s: %d of %s", stage.Name, ptr.Deref(stage.Count, 1), who)
			if len(stage.Approved) > 0 {
				who += "; " + strings.Join(stage.Approved, ", ") + " approved"
			}
		}
		items = append(items, Item{Text: who})
	}
	if len(items) == 0 {
		return nil
	}
	return []Part{{"Who decides", items}}
}

func approvals(required int) string {
	switch n := required; n {
	case 0:
		return "no approval"
	case 1:
		return "1 approval"
	default:
		return fmt.Sprintf("%d approvals", n)
	}
}

func decisions(r *v1alpha1.AccessRequest) []Item {
	return Each(r.Status.Decisions, func(d v1alpha1.Decision) Item {
		decided := decision(d)
		if d.Verdict == v1alpha1.VerdictApprove && d.RulesHash != r.Status.RulesHash && d.RulesHash != r.Status.Pins.HashBefore() {
			decided += " (does not count: the role has changed since, or something that the request names was replaced)"
		}
		return Item{Text: decided}
	})
}

// decision is what somebody decided, how much of it and why.
func decision(d v1alpha1.Decision) string {
	decided := string(d.Verdict)
	if limits := text.AtMost(d); limits != "" {
		decided += " (" + limits + ")"
	}
	decided += " by " + person(d.Username, d.Groups)
	if d.Comment != "" {
		decided += ": " + text.Trim(d.Comment)
	}
	return decided
}

// ownLimit bounds how much is shown of rules that the broker has not seen yet.
var ownLimit = rules.Limit{Lines: 100, Bytes: 16 << 10}

// rulesOf are the rules as the broker wrote them or, until it has, as the request
// asks for them.
func rulesOf(r *v1alpha1.AccessRequest) []string {
	if len(r.Status.Rules) > 0 {
		return r.Status.Rules
	}
	return rules.Show(v1alpha1.RBACRules(r.Asked().Rules), ownLimit).Stored("spec.rules has all of them")
}

func allowed(r *v1alpha1.AccessRequest) []Item { return allowedBy(rulesOf(r)) }

func allowedBy(lines []string) []Item {
	var items []Item
	shown := ""
	for _, line := range lines {
		if rules.IsLeftOut(line) {
			items = append(items, Item{Text: line})
			continue
		}
		fields := strings.SplitN(line, " ", 3)
		what := strings.ReplaceAll(fields[0], ",", ", ")
		if len(fields) == 3 {
			what += ", only for the names " + strings.ReplaceAll(fields[2], ",", ", ")
		}
		if what != shown {
			items = append(items, Item{Text: what})
			shown = what
		}
		if len(fields) < 2 {
			continue
		}
		resources := strings.Split(fields[1], ",")
		if last := &items[len(items)-1]; last.List != nil {
			last.List = append(last.List, resources...) // the line was too long for one
			continue
		}
		items = append(items, Item{List: resources})
	}
	return items
}

// maxWorst is how many risks the first lines have room for.
const maxWorst = 3

// worst are the risks in the first lines: all, or the first and how many more.
// That none is known is said too, once the broker has looked: it does not mean
// that there is none.
func worst(risks []Item, looked bool) []Item {
	switch {
	case len(risks) > maxWorst:
		return append(slices.Clone(risks[:maxWorst-1]), Item{Text: fmt.Sprintf("and %d more, below", len(risks)-maxWorst+1)})
	case len(risks) == 0 && looked:
		return []Item{{Text: rules.NoneKnown.Message}}
	}
	return risks
}

// knownRisks leaves out the entry that stands for none.
func knownRisks(r *v1alpha1.AccessRequest) []v1alpha1.Risk {
	return Keep(r.Status.Risks, func(risk *v1alpha1.Risk) bool { return risk.Kind != rules.NoneKnown.Kind })
}

// Question repeats what matters most of a request: the page above it may be
// longer than the screen.
func Question(r *v1alpha1.AccessRequest, now time.Time) string {
	risks := "with no known risk, which does not mean that there is none"
	if kinds := Each(knownRisks(r), func(risk v1alpha1.Risk) string { return risk.Kind }); len(kinds) > 0 {
		risks = "with these risks: " + text.List(kinds, maxConfirmed)
	}
	return question(r, now) + ", " + risks + "?"
}

// ShortQuestion is Question beside a list of the risks.
func ShortQuestion(r *v1alpha1.AccessRequest, now time.Time) string {
	if n := len(knownRisks(r)); n > 0 {
		return question(r, now) + ", with " + Plural(n, "known risk") + "?"
	}
	return Question(r, now)
}

func question(r *v1alpha1.AccessRequest, now time.Time) string {
	return fmt.Sprintf("Approve %s in %s for %s, %s", roleOf(r), whereOf(r), strings.Join(text.Subjects(identity.Subjects(r.Asked())), ", "), howLong(r, now))
}

// maxConfirmed is how many risks the question names, the most dangerous first.
const maxConfirmed = 5
