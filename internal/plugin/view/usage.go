package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// Usage is what some access was used for, as an audit log tells it.
type Usage struct {
	// Grant, if the binding has the name of a grant. Kind, Namespaces and Binding
	// are those of the binding; all are empty for what a user did by any.
	Grant      string   `json:"grant,omitempty"`
	Kind       string   `json:"kind,omitempty"`
	Namespaces []string `json:"namespaces,omitempty"`
	Binding    string   `json:"binding,omitempty"`
	User       string   `json:"user,omitempty"`

	usage.Summary
}

// Name says whose usage it is.
func (u Usage) Name() string {
	switch {
	case u.Grant != "":
		return "Grant " + u.Grant
	case u.User != "":
		return "User " + word(u.User)
	case u.Kind == "":
		return "Everybody"
	case len(u.Namespaces) == 1:
		return u.Kind + " " + word(u.Namespaces[0]) + "/" + word(u.Binding)
	}
	return u.Kind + " " + word(u.Binding)
}

// Usages lists what each grant or binding was used for.
func Usages(list []Usage, now time.Time) Table {
	return tableOf(list, func(u *Usage) []cell {
		where := text.List(Each(u.Namespaces, word), maxWhere)
		if u.Kind == "ClusterRoleBinding" {
			where = text.WholeCluster
		}
		name := u.Grant
		if name == "" {
			name = word(u.Binding)
		}
		return []cell{
			{"GRANT OR BINDING", name},
			{"NAMESPACES", where},
			{"USERS", text.List(users(u.Callers), maxWho)},
			{"CALLS", fmt.Sprint(u.Calls)},
			{"RIGHTS", atLeast(len(u.Used), u.More.Used)},
			{"LAST", lastAgo(u.Summary, now)},
			{"RISKS", text.List(kinds(u.Risks), maxWho)},
		}
	})
}

// How many of a list a cell has room for.
const (
	maxWhere = 2
	maxWho   = 3
)

func lastAgo(s usage.Summary, now time.Time) string {
	if s.Calls == 0 {
		return ""
	}
	return ago(s.Last, now)
}

// kinds of risky acts, the most frequent first.
func kinds(risks map[string]int) []string {
	return slices.SortedFunc(maps.Keys(risks), func(a, b string) int {
		if n := risks[b] - risks[a]; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
}

func users(callers []usage.CallerUse) []string {
	return distinct(Each(callers, func(c usage.CallerUse) string { return who(c.Caller) }))
}

func who(c usage.Caller) string {
	if c.As != "" {
		return word(c.User) + " as " + word(c.As)
	}
	if identity.Issued(c.User) {
		return "the issued credential " + word(c.User[strings.LastIndex(c.User, ":")+1:])
	}
	return word(c.User)
}

func atLeast(n, more int) string {
	if more > 0 {
		return fmt.Sprintf("more than %d", n)
	}
	return fmt.Sprint(n)
}

// PageOfUsage is all that is known of it.
func PageOfUsage(u Usage, now time.Time) Page {
	p := Page{Name: u.Name()}
	s := u.Summary
	p.fact("In short", UsageSentence(s, now))
	if len(u.Namespaces) > 0 {
		p.fact("Where", text.List(Each(u.Namespaces, word), maxSeveral))
	}
	if s.Calls > 0 {
		p.fact("When", text.Moment(s.First)+" to "+text.Moment(s.Last))
	}
	if s.Duplicates > 0 {
		p.fact("Copies", Plural(s.Duplicates, "event")+" came more than once and counted once")
	}
	p.listed(s)
	return p
}

// listed adds the lists of usage.
func (p *Page) listed(s usage.Summary) {
	p.Facts = append(p.Facts, Part{"Risky", Each(kinds(s.Risks), func(kind string) Item {
		return Item{Text: fmt.Sprintf("%s: %s", kind, Plural(s.Risks[kind], "call")), Danger: true}
	})})
	p.part("Who called", limited(Each(s.Callers, caller), s.More.Callers, "callers"))
	p.part("Rights that were used", limited(rightUses(s.Used), s.More.Used, "rights"))
	p.part("Rights that were refused", limited(rightUses(s.Demanded), s.More.Demanded, "rights"))
	p.part("Created", limited(Each(s.Created, created), s.More.Created, "objects"))
	p.part("Sessions of which no end was seen", limited(Each(s.Open, session), s.More.Open, "sessions"))
}

// limited says how much a list leaves out.
func limited(items []Item, more int, of string) []Item {
	if more > 0 {
		items = append(items, Item{Text: fmt.Sprintf("and %s of %s that are not listed: there are too many", Plural(more, "call"), of)})
	}
	return items
}

func caller(c usage.CallerUse) Item {
	parts := []string{Plural(c.Calls, "call") + ": " + who(c.Caller)}
	if c.Address != "" {
		from := "from " + word(c.Address)
		if c.Claimed != "" {
			from += " (for " + word(c.Claimed) + ", it says)"
		}
		parts = append(parts, from)
	}
	if c.UserAgent != "" {
		parts = append(parts, "with "+text.Quote(c.UserAgent))
	}
	return Item{Text: strings.Join(parts, ", ")}
}

func rightUses(list []usage.RightUse) []Item {
	var items []Item
	for _, use := range list {
		line := fmt.Sprintf("%s: %s %s", Plural(use.Calls, "call"), word(use.Verb), rightOf(use.Right))
		if use.Namespace != "" {
			line += " in " + word(use.Namespace)
		}
		if use.Failed > 0 {
			line += fmt.Sprintf(", %d failed", use.Failed)
		}
		if use.Shared > 0 {
			line += fmt.Sprintf(", %d covered by other access too", use.Shared)
		}
		items = append(items, Item{Text: line})
		names := Each(use.Names, word)
		if use.MoreNames > 0 {
			names = append(names, "and more")
		}
		if names != nil {
			items = append(items, Item{List: names})
		}
	}
	return items
}

// rightOf is what a right is for, as --rules takes it.
func rightOf(r usage.Right) string {
	if r.Resource == "" {
		return word(r.Path)
	}
	what := r.Resource
	if r.Group != "" {
		what += "." + r.Group
	}
	if r.Subresource != "" {
		what += "/" + r.Subresource
	}
	return word(what)
}

func created(c usage.CreatedUse) Item {
	line := named(c.Object)
	if c.Namespace != "" {
		line += " in " + word(c.Namespace)
	}
	if c.UID != "" {
		line += ", UID " + word(c.UID)
	}
	if c.Times > 1 {
		line += fmt.Sprintf(", %d times", c.Times)
	}
	return Item{Text: line}
}

func session(s usage.Session) Item {
	what := rightOf(usage.Right{Group: s.Group, Resource: s.Resource, Subresource: s.Subresource})
	if s.Name != "" {
		what += " " + word(s.Name)
	}
	if s.Namespace != "" {
		what += " in " + word(s.Namespace)
	}
	return Item{Text: fmt.Sprintf("%s of %s by %s, since %s", s.Kind, what, who(s.Caller), text.Moment(s.Since))}
}
