package plugin

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// pageWidth is how long lists on a page may get before they are wrapped.
const pageWidth = 76

// writer lays out a page, and makes all that it is given safe to look at.
type writer struct {
	strings.Builder
	style style
}

func (w *writer) field(label, value string) {
	if value != "" {
		fmt.Fprintf(w, "%-12s%s\n", label, clean(value))
	}
}

func (w *writer) heading(title string) {
	fmt.Fprintf(w, "\n%s\n", w.style.paint(bold, title))
}

func (w *writer) item(value string) { fmt.Fprintf(w, "  %s\n", clean(value)) }

// page is all that people need to know about a request to decide on it. What
// matters most comes first, the full lists after that.
func page(r *v1alpha1.AccessRequest, now time.Time, s style) string {
	w := &writer{style: s}
	phase := phaseOf(r)
	fmt.Fprintf(w, "%s in namespace %s: %s\n\n", s.paint(bold, clean(r.Name)), clean(r.Namespace), s.paint(colours[phase], clean(phase)))
	w.field("State", progress(r, now))
	w.field("Who asks", person(r.Spec.Requester.Username, r.Spec.Requester.Groups)+", "+ago(r.CreationTimestamp.Time, now)+" ago")
	subjects := identity.Subjects(&r.Spec)
	if len(r.Spec.Subjects) > 0 {
		w.field("For whom", strings.Join(text.Subjects(subjects), ", "))
	}
	w.field("What", text.Role(r.Spec.RoleRef))
	w.field("Where", whereOf(r))
	w.field("How long", howLong(r, now))
	w.field("Why", r.Spec.Reason)
	w.field("Ticket", r.Spec.Ticket)
	w.worst(r)
	what := count(rulesOf(r))
	w.field("Can change", what.changes())
	w.field("Rights", what.rights())
	w.field("Policy", policyOf(r))
	w.field("Who decides", strings.Join(text.Subjects(identity.Deciders(r.Status.Approvers, r.Spec.Requester.Username, subjects)), ", "))
	w.field("Grant", r.Status.GrantName)
	w.decisions(r)
	w.risks(r)
	if c := conditionOf(r.Status.Conditions, v1alpha1.ConditionStandingAccess); c.Status == metav1.ConditionTrue {
		w.heading("Access that they have anyway")
		w.item(c.Message)
	}
	w.rules(r)
	if len(r.Status.Conditions) > 0 {
		w.heading("Conditions")
		for _, c := range r.Status.Conditions {
			w.item(fmt.Sprintf("%-15s%-8s%s: %s", c.Type, c.Status, c.Reason, c.Message))
		}
	}
	return w.String()
}

// person names somebody with all of their groups: approvers want to see each.
func person(username string, groups []string) string {
	return text.Person(username, groups, len(groups))
}

func whereOf(r *v1alpha1.AccessRequest) string {
	scope := text.Scope(r.Namespace, r.Spec.Scope)
	switch of := r.Spec.Scope; {
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
	return ", now " + several(each(r.Status.Pins.Namespaces, func(ns v1alpha1.GrantNamespace) string { return ns.Name }))
}

func howLong(r *v1alpha1.AccessRequest, now time.Time) string {
	var parts []string
	switch until := r.Status.ExpirationTime; {
	case until != nil && r.Status.Phase.Ended():
		parts = append(parts, "at most until "+text.Moment(until.Time))
	case until != nil:
		parts = append(parts, "until "+text.Moment(until.Time)+", "+left(until.Time, now))
	case r.Spec.Duration != nil:
		parts = append(parts, text.Duration(r.Spec.Duration.Duration)+" from the grant on")
	default:
		parts = append(parts, "as long as the policy says")
	}
	if start := r.Spec.StartTime; start != nil {
		parts = append(parts, "not before "+text.Moment(start.Time))
	}
	if task := r.Spec.Task; task != nil {
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

func policyOf(r *v1alpha1.AccessRequest) string {
	if r.Status.Policy == nil {
		return r.Spec.PolicyName
	}
	return r.Status.Policy.Name + ", which asks for " + approvals(r.Status.RequiredApprovals)
}

func approvals(required *int32) string {
	switch n := ptr.Deref(required, 1); n {
	case 0:
		return "no approval"
	case 1:
		return "1 approval"
	default:
		return fmt.Sprintf("%d approvals", n)
	}
}

func (w *writer) decisions(r *v1alpha1.AccessRequest) {
	if len(r.Status.Decisions) == 0 {
		return
	}
	w.heading("Decisions")
	for _, d := range r.Status.Decisions {
		decided := string(d.Verdict) + " by " + person(d.Username, d.Groups)
		if d.Comment != "" {
			decided += ": " + text.Trim(d.Comment)
		}
		if d.Verdict == v1alpha1.VerdictApprove && d.RulesHash != r.Status.RulesHash && d.RulesHash != r.Status.Pins.HashBefore() {
			decided += " (does not count: the role has changed since, or something that the request names was replaced)"
		}
		w.item(decided)
	}
}

// ownLimit bounds how much is shown of rules that the broker has not seen yet.
var ownLimit = rules.Limit{Lines: 100, Bytes: 16 << 10}

// rulesOf are the rules as the broker wrote them or, until it has, as the request
// asks for them.
func rulesOf(r *v1alpha1.AccessRequest) []string {
	if len(r.Status.Rules) > 0 {
		return r.Status.Rules
	}
	return rules.Show(v1alpha1.RBACRules(r.Spec.Rules), ownLimit).Stored("spec.rules has all of them")
}

func (w *writer) rules(r *v1alpha1.AccessRequest) {
	lines := rulesOf(r)
	if len(lines) == 0 {
		return
	}
	w.heading("What it allows")
	shown := ""
	for _, line := range lines {
		if rules.IsLeftOut(line) {
			w.item(line)
			continue
		}
		fields := strings.SplitN(line, " ", 3)
		allowed := strings.ReplaceAll(fields[0], ",", ", ")
		if len(fields) == 3 {
			allowed += ", only for the names " + strings.ReplaceAll(fields[2], ",", ", ")
		}
		if allowed != shown {
			w.item(allowed)
			shown = allowed
		}
		if len(fields) > 1 {
			for _, resources := range wrap(strings.Split(fields[1], ","), pageWidth-6) {
				w.item("    " + resources)
			}
		}
	}
}

// maxWorst is how many risks the first lines have room for.
const maxWorst = 3

// worst are the risks in the first lines: all, or the first and how many more.
// That none is known is said too: it does not mean that there is none.
func (w *writer) worst(r *v1alpha1.AccessRequest) {
	known := knownRisks(r)
	if len(known) == 0 && r.Status.RulesHash != "" { // else the broker has not looked yet
		w.field("Risks", rules.NoneKnown.Message)
	}
	label := "Risks"
	for i, risk := range known {
		if more := len(known) - i; i == maxWorst-1 && more > 1 {
			w.field(label, fmt.Sprintf("and %d more, below", more))
			return
		}
		fmt.Fprintf(w, "%-12s%s %s\n", label, w.style.paint(red, "!"), clean(risk.Message))
		label = ""
	}
}

// risks lists all of them when the first lines had no room for that.
func (w *writer) risks(r *v1alpha1.AccessRequest) {
	known := knownRisks(r)
	if len(known) <= maxWorst {
		return
	}
	w.heading("Risks: the holder could")
	for _, risk := range known {
		fmt.Fprintf(w, "  %s %s\n", w.style.paint(red, "!"), clean(risk.Message))
	}
}

// knownRisks leaves out the entry that stands for none.
func knownRisks(r *v1alpha1.AccessRequest) []v1alpha1.Risk {
	return keep(r.Status.Risks, func(risk *v1alpha1.Risk) bool { return risk.Kind != rules.NoneKnown.Kind })
}
