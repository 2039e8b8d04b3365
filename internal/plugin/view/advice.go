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
	add("Not known, and not proposed", Each(a.Unknown, unknown))
	add("Widened, as you asked", Each(a.Widened, says))
	add("Not widened; --widen does it", Each(a.Offered, func(s advice.Step) string { return s.Kind + ": " + s.Says }))
	if len(a.Rights) > 0 {
		table := usedTable(a.Rights, false, a.Stored != nil)
		parts = append(parts, AdvicePart{Title: "Used", Table: &table})
	}
	if u := a.Unused; u != nil {
		never := "Never used"
		if a.Stored != nil {
			never = "Not seen used" // there are times in which nobody looked
		}
		add(fmt.Sprintf("%s of %s: %d of %d permissions", never, present, u.Unused, u.All), unusedLines(u))
	}
	if p := a.Policy; p != nil {
		add("Of the policy "+word(p.Name), policyUse(p))
	}
	if len(a.Refused) > 0 {
		table := usedTable(a.Refused, true, a.Stored != nil)
		parts = append(parts, AdvicePart{Title: "Refused, and not proposed unless you ask with --with-refused", Table: &table})
	}
	add("Left out: every authenticated user may do it", Each(a.Everybody, func(u advice.Used) string { return fmt.Sprintf("%s (calls: %d)", u.Right, u.Calls) }))
	add("Left out: no rule allows it without allowing more", Each(a.Odd, func(o advice.Odd) string { return fmt.Sprintf("%s (calls: %d): %s", o.Call, o.Calls, o.Why) }))
	title := "What the log cannot show"
	if a.Stored != nil {
		title = "What cannot have been seen"
	}
	add(title, a.Unseen)
	return parts
}

func unknown(u advice.Unknown) string {
	line := fmt.Sprintf("%s in %s: for other names, which are not stored", u.Right, u.Where())
	if u.Calls > 0 {
		line += ", " + Plural(u.Calls, "call")
	}
	if u.Failed > 0 {
		line += fmt.Sprintf(", %s that failed", Plural(u.Failed, "call"))
	}
	return line
}

// policyUse says which roles and rules of a policy nobody was seen to use.
func policyUse(p *advice.Policy) []string {
	var lines []string
	if p.Earlier > 0 {
		lines = append(lines, fmt.Sprintf("%s by a policy of this name that was deleted since.", Plural(p.Earlier, "grant")))
	}
	for _, role := range p.Roles {
		name := word(role.Kind) + "/" + word(role.Name)
		switch {
		case role.Grants == 0:
			lines = append(lines, name+": nobody got it.")
		case role.Used == 0 && role.Observed == role.Grants:
			lines = append(lines, fmt.Sprintf("%s: not seen used in any of %s.", name, Plural(role.Grants, "grant")))
		case role.Used == 0:
			lines = append(lines, fmt.Sprintf("%s: not seen used; nobody observed %d of its %s.", name, role.Grants-role.Observed, Plural(role.Grants, "grant")))
		}
	}
	switch {
	case p.Rules == nil:
	case p.RuleGrants == 0:
		lines = append(lines, "Its rules: nobody got any of them.")
	default:
		lines = append(lines, fmt.Sprintf("Its rules: in %s, %d of %d permissions were not seen used.", Plural(p.RuleGrants, "grant"), p.Rules.Unused, p.Rules.All))
		lines = append(lines, Each(unusedLines(p.Rules), func(line string) string { return "  " + line })...)
	}
	if lines == nil {
		return []string{"each of its roles was used"}
	}
	return lines
}

// AdviceSummary is one line on who did how much, and on the proof.
func AdviceSummary(a *advice.Advice) []string {
	under := "under grants or other bindings"
	if a.Stored != nil {
		under = "in grants"
	}
	out := []string{fmt.Sprintf("Calls: %d, by people: %d, %s: %d. Rights used: %d.", a.Calls, a.People, under, a.Grants, len(a.Rights))}
	switch n := a.Incomplete(); {
	case len(a.Roles) == 0 && n == 0:
	case a.Stored == nil:
		out = append(out, "Replayed through Kubernetes' own matching of rules: none of these calls is denied by what is proposed.")
	case n == 0:
		out = append(out, "Replayed through Kubernetes' own matching of rules, right by right and name by name: none of what is stored is denied by what is proposed, and of calls that went well all is stored.")
	default:
		out = append(out, fmt.Sprintf("Replayed through Kubernetes' own matching of rules, right by right and name by name: none of what is stored is denied by what is proposed. Of %s that went well it is not stored what they were for, and they may be denied.", Plural(n, "call")))
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

// usedTable lists rights. Of stored usage it is not known when each was used last, nor
// how often for each of several names.
func usedTable(rights []advice.Used, refused, stored bool) Table {
	return tableOf(rights, func(u *advice.Used) []cell {
		row := []cell{{"RIGHT", u.String()}, {"NAMESPACE", u.Namespace}, {"CALLS", counted(u.Calls > 0, u.Calls)}, {"PEOPLE", strconv.Itoa(u.People)}}
		if !refused || stored {
			row = append(row, cell{"GRANTS", strconv.Itoa(u.Grants)})
		}
		if !stored {
			row = append(row, cell{"LAST", momentOf(u.Last)})
		}
		return row
	})
}
