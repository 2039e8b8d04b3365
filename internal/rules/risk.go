package rules

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/text"
)

// Risk is one thing that the holder of rules could do beyond what the rules seem
// to allow.
type Risk struct {
	// Kind is one of the kinds of powers, or WriteUnknownKinds.
	Kind string
	// Message is in plain words and completes "the holder could …". It is one
	// printable line of less than 1024 bytes.
	Message string
}

// Risks says what the holder of the rules could do, the most dangerous first
// and each kind once. They do not depend on where the rules hold: a risk about
// nodes, for example, is listed although rules in one namespace do not allow it.
// More rules never mean fewer risks. No risk means that none is known, not that
// there is none.
func Risks(rules []rbacv1.PolicyRule) []Risk {
	var risks []Risk
	for _, p := range powers {
		if held, names := p.heldBy(rules); held {
			message := p.message
			if p.kind == WriteUnknownKinds {
				message += ": " + list(unknownIn(rules))
			}
			if len(names) > 0 {
				message += ", limited to the names " + list(names)
			}
			risks = append(risks, Risk{Kind: p.kind, Message: message})
		}
	}
	return risks
}

// NoneKnown stands in place of an empty list, which people could take for proof
// that there are no risks.
var NoneKnown = Risk{Kind: "NoneKnown", Message: "do nothing more that is known here, which does not mean that there is nothing"}

// power is something that rules turn out to allow, and the paths to it.
type power struct {
	kind string
	// never is true for a power that may not be granted, whatever a policy says.
	never   bool
	message string
	paths   []path
}

// path is a permission that gives a power: any of the verbs on any of the resources
// of the group. A verb that ends in * stands for all verbs that begin like that, a
// group that begins with *. for all groups under that domain, and anyResource for
// each resource of the group. Without resources, the verb gives the power on
// anything.
type path struct {
	verbs     []string
	group     string
	resources []string
}

// anyResource stands for every resource of a group, when all are alike.
const anyResource = "?"

// whole are the paths over everything in some groups.
func whole(verbs []string, groups ...string) []path {
	paths := make([]path, len(groups))
	for i, group := range groups {
		paths[i] = path{verbs, group, []string{anyResource}}
	}
	return paths
}

// heldBy tells whether rules give the power, and the names that it is limited
// to when every rule that gives it is.
func (p power) heldBy(rules []rbacv1.PolicyRule) (held bool, names []string) {
	for _, rule := range rules {
		if !p.givenBy(rule) {
			continue
		}
		if len(rule.ResourceNames) == 0 {
			return true, nil
		}
		held = true
		names = append(names, rule.ResourceNames...)
	}
	return held, sorted(names)
}

func (p power) givenBy(rule rbacv1.PolicyRule) bool {
	if p.kind == WriteUnknownKinds {
		return writesUnknown(rule)
	}
	return slices.ContainsFunc(p.paths, func(at path) bool { return at.openedBy(rule) })
}

func (p path) openedBy(rule rbacv1.PolicyRule) bool {
	if p.resources != nil && !(hasGroup(rule, p.group) && slices.ContainsFunc(p.resources, func(resource string) bool {
		return hasResource(rule, resource) || resource == anyResource && p.openedByName(rule)
	})) {
		return false
	}
	return slices.ContainsFunc(p.verbs, func(verb string) bool { return hasVerb(rule, verb) })
}

// openedByName: the rule names a resource in the group. A resource in all groups,
// such as pods in *, is not counted: nobody knows what it is in this group.
func (p path) openedByName(rule rbacv1.PolicyRule) bool {
	return slices.ContainsFunc(rule.APIGroups, func(group string) bool { return group != rbacv1.APIGroupAll && inGroup(group, p.group) }) &&
		slices.ContainsFunc(rule.Resources, func(resource string) bool { return !strings.HasSuffix(resource, finalizers) })
}

// The three below match a rule as the API server's RBAC authorizer does.

func hasVerb(rule rbacv1.PolicyRule, verb string) bool {
	if prefix, ok := strings.CutSuffix(verb, "*"); ok && prefix != "" {
		return slices.ContainsFunc(rule.Verbs, func(v string) bool { return strings.HasPrefix(v, prefix) })
	}
	return slices.Contains(rule.Verbs, verb) || slices.Contains(rule.Verbs, rbacv1.VerbAll)
}

func hasGroup(rule rbacv1.PolicyRule, group string) bool {
	return slices.ContainsFunc(rule.APIGroups, func(g string) bool { return g == rbacv1.APIGroupAll || inGroup(g, group) })
}

// inGroup: group is of or, when of is *.domain, lies under that domain.
func inGroup(group, of string) bool {
	if domain, ok := strings.CutPrefix(of, "*."); ok {
		return strings.HasSuffix(group, "."+domain)
	}
	return group == of
}

// hasResource: */scale matches the scale of every resource, while pods/* matches
// only itself.
func hasResource(rule rbacv1.PolicyRule, resource string) bool {
	if slices.Contains(rule.Resources, resource) || slices.Contains(rule.Resources, rbacv1.ResourceAll) {
		return true
	}
	_, subresource, ok := strings.Cut(resource, "/")
	return ok && slices.Contains(rule.Resources, "*/"+subresource)
}

// finalizers of an object: writing this subresource only allows to name the object
// as an owner whose deletion waits.
const finalizers = "/finalizers"

// writesUnknown tells whether a rule does more than read some kind that is
// neither Kubernetes' own nor in the table of powers.
func writesUnknown(rule rbacv1.PolicyRule) bool {
	for range unknownOf(rule) {
		return true
	}
	return false
}

// unknownOf yields the unknown kinds that a rule does more than read. The same
// one may come twice.
func unknownOf(rule rbacv1.PolicyRule) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if !slices.ContainsFunc(rule.Verbs, func(verb string) bool { return !slices.Contains(read, verb) }) {
			return
		}
		for _, group := range rule.APIGroups {
			if slices.Contains(builtIn, group) {
				continue
			}
			for _, resource := range rule.Resources {
				if strings.HasSuffix(resource, finalizers) || isKnown(group, resource) {
					continue
				}
				if !yield(resource + "." + group) {
					return
				}
			}
		}
	}
}

// maxUnknown bounds the work of naming unknown kinds: a rule of a thousand
// groups and resources is a million of them.
const maxUnknown = 10_000

func unknownIn(rules []rbacv1.PolicyRule) []string {
	var out []string
	for _, rule := range rules {
		for kind := range unknownOf(rule) {
			if len(out) == maxUnknown {
				return sorted(out)
			}
			out = append(out, kind)
		}
	}
	return sorted(out)
}

// isKnown tells whether the table says what writing a resource leads to. It does
// not for all groups together.
func isKnown(group, resource string) bool {
	if group == rbacv1.APIGroupAll {
		return false
	}
	return known[item{group: group, resource: resource}] || known[item{group: group, resource: anyResource}] ||
		slices.ContainsFunc(knownDomains, func(domain string) bool { return inGroup(group, domain) })
}

// known has the resources in the table by group; knownDomains are the groups of
// which every resource is in it.
var known, knownDomains = func() (map[item]bool, []string) {
	resources, domains := map[item]bool{}, []string(nil)
	for _, p := range powers {
		for _, at := range p.paths {
			if strings.HasPrefix(at.group, "*.") {
				domains = append(domains, at.group)
				continue
			}
			for _, resource := range at.resources {
				resources[item{group: at.group, resource: resource}] = true
			}
		}
	}
	return resources, domains
}()

// How much of the words of a rule a sentence quotes.
const (
	shownItems = 3
	shownBytes = 100
)

var plain = regexp.MustCompile(`^[-A-Za-z0-9._:/*]{1,` + strconv.Itoa(shownBytes) + `}$`)

// list enumerates items for people: the first few, escaped where they are not
// plain, and how many more there are.
func list(items []string) string {
	items = slices.Clone(items)
	for i, item := range items[:min(len(items), shownItems)] {
		switch {
		case plain.MatchString(item):
		case len(item) <= shownBytes/2:
			items[i] = text.Quote(item)
		default:
			items[i] = text.Quote(item[:shownBytes/2]) + "…"
		}
	}
	return text.List(items, shownItems)
}

// Rank orders kinds of risks: 0 is that of the most dangerous, and the number of all
// kinds that of none and of what is not known here.
func Rank(kind string) int {
	at := slices.IndexFunc(powers, func(p power) bool { return p.kind == kind })
	if at < 0 {
		return len(powers)
	}
	return at
}
