package view

import (
	"fmt"
	"strconv"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage/advice"
)

// AdvicePart is a titled part of what there is to say about what was used.
type AdvicePart struct {
	Title string
	Lines []string
	// Table instead of lines.
	Table *Table
}

// maxAdvice bounds the lines of rules that are shown.
var maxAdvice = rules.Limit{Lines: 200, Bytes: 64 << 10}

// maxLines of a part that people can still read.
const maxLines = 60

// Advice is what people read of it, what is proposed first. present is where the rules
// in force were read.
func Advice(a *advice.Advice, present string) []AdvicePart {
	parts := []AdvicePart{{Title: "Proposed", Lines: proposed(a)}}
	add := func(title string, lines []string) {
		if more := len(lines) - maxLines; more > 0 {
			lines = append(lines[:maxLines:maxLines], fmt.Sprintf("and %d more; -o json has all", more))
		}
		if len(lines) > 0 {
			parts = append(parts, AdvicePart{Title: title, Lines: lines})
		}
	}
	says := func(s advice.Step) string { return s.Says }
	add("Needed beside the verb of the call", Each(a.Needed, says))
	add("Widened, as you asked", Each(a.Widened, says))
	add("Not widened; --widen does it", Each(a.Offered, func(s advice.Step) string { return s.Kind + ": " + s.Says }))
	if len(a.Rights) > 0 {
		table := usedTable(a.Rights, false)
		parts = append(parts, AdvicePart{Title: "Used", Table: &table})
	}
	if u := a.Unused; u != nil {
		add(fmt.Sprintf("Never used of %s: %d of %d permissions", present, u.Unused, u.All), unusedLines(u))
	}
	if len(a.Refused) > 0 {
		table := usedTable(a.Refused, true)
		parts = append(parts, AdvicePart{Title: "Refused, and not proposed unless you ask with --with-refused", Table: &table})
	}
	add("Left out: every authenticated user may do it", Each(a.Everybody, func(u advice.Used) string { return fmt.Sprintf("%s (calls: %d)", u.Right, u.Calls) }))
	add("Left out: no rule allows it without allowing more", Each(a.Odd, func(o advice.Odd) string { return fmt.Sprintf("%s (calls: %d): %s", o.Call, o.Calls, o.Why) }))
	add("What the log cannot show", a.Unseen)
	return parts
}

// AdviceSummary is one line on who did how much, and on the proof.
func AdviceSummary(a *advice.Advice) []string {
	out := []string{fmt.Sprintf("Calls: %d, by people: %d, under grants or other bindings: %d. Rights used: %d.", a.Calls, a.People, a.Grants, len(a.Rights))}
	if len(a.Roles) > 0 {
		out = append(out, "Replayed through Kubernetes' own matching of rules: none of these calls is denied by what is proposed.")
	}
	return out
}

func proposed(a *advice.Advice) []string {
	var out []string
	for _, role := range a.Roles {
		out = append(out, RoleScope(role)+":")
		out = append(out, Each(RuleLines(role.Rules), func(line string) string { return "  " + line })...)
	}
	if out == nil {
		return []string{"nothing: no call needed a rule"}
	}
	return out
}

// RoleScope says where a proposed role is to be bound.
func RoleScope(role advice.Role) string {
	if role.Cluster() {
		return "In the whole cluster"
	}
	return "In " + text.OneLine(strings.Join(role.Namespaces, ", "))
}

// RuleLines are rules as people read them.
func RuleLines(of []rbacv1.PolicyRule) []string {
	return rules.Show(of, maxAdvice).Stored("-o yaml has all")
}

func unusedLines(u *advice.Unused) []string {
	lines := RuleLines(u.Rules)
	if u.TooMany {
		lines = append([]string{"The rules have too many permissions to look at each: these are the rules of which nothing was used."}, lines...)
	}
	if len(u.Wild) > 0 {
		lines = append(lines, "Used, but with a *: what for is under Used.")
		lines = append(lines, Each(RuleLines(u.Wild), func(line string) string { return "  " + line })...)
	}
	return lines
}

func usedTable(rights []advice.Used, refused bool) Table {
	return tableOf(rights, func(u *advice.Used) []cell {
		row := []cell{{"RIGHT", u.String()}, {"NAMESPACE", u.Namespace}, {"CALLS", strconv.Itoa(u.Calls)}, {"PEOPLE", strconv.Itoa(u.People)}}
		if !refused {
			row = append(row, cell{"GRANTS", strconv.Itoa(u.Grants)})
		}
		last := ""
		if !u.Last.IsZero() {
			last = text.Moment(u.Last)
		}
		return append(row, cell{"LAST", last})
	})
}
