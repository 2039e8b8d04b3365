// Package advice proposes RBAC rules from what calls needed: those that allow every
// observed call and nothing more, and each widening of them that was asked for, named.
// It is pure.
package advice

import (
	"iter"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// Of selects the calls: those that a role or a binding allowed, or those of a user.
// The fields that are set must all hold.
type Of struct {
	// RoleKind and Role, such as ClusterRole edit.
	RoleKind, Role string
	// Binding, of Namespace or, without one, a ClusterRoleBinding.
	Namespace, Binding string
	// User who acted.
	User string
	// In is the namespace that the calls are for.
	In string
}

// Options say what to look at and what may be widened.
type Options struct {
	Of    Of
	Since time.Time
	Widen Widen
	// Refused also proposes what was refused. Nothing of it is proposed otherwise.
	Refused bool
	// Present are the rules that were in force, if they are known.
	Present []rbacv1.PolicyRule
	// MaxRights bounds the memory; DefaultMaxRights when it is 0.
	MaxRights int
}

// DefaultMaxRights is more than any role can hold: an object in etcd is at most
// 1.5 MB.
const DefaultMaxRights = 200_000

// Advice is what was used, and what follows from it.
type Advice struct {
	// From and To are the first and the last call in the log, whoever made it, or the
	// ends of what was observed. Gap is the longest time without any call; it counts
	// from a day on.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	Gap  *Gap      `json:"gap,omitempty"`

	// Calls that were allowed, by how many People, under how many bindings. All
	// bindings of a grant have one name, and count once.
	Calls  int `json:"calls"`
	People int `json:"people"`
	Grants int `json:"grants"`

	// Rights that were used.
	Rights []Used `json:"rights"`
	// Roles allow every one of these, and what Widened says.
	Roles []Role `json:"roles"`
	// Needed are rights that calls needed beyond their own verb.
	Needed []Step `json:"needed,omitempty"`
	// Widened are the steps beyond what was observed, each of which was asked for.
	// Offered are those that seem useful and were not.
	Widened []Step `json:"widened,omitempty"`
	Offered []Step `json:"offered,omitempty"`

	// Refused are the rights that people lacked.
	Refused []Used `json:"refused,omitempty"`
	// Everybody is what needs no rule, because every authenticated user has it.
	Everybody []Used `json:"everybody,omitempty"`
	// Odd are calls that no rule can allow without allowing more.
	Odd []Odd `json:"odd,omitempty"`
	// Unused is what the present rules allow and nobody used, if they are known.
	Unused *Unused `json:"unused,omitempty"`
	// Unseen says what the log cannot show.
	Unseen []string `json:"unseen"`

	// Denied are observed rights that the roles do not allow, by Kubernetes' own
	// matching. There are none, unless the bound on rights was met.
	Denied []Right `json:"denied,omitempty"`
	// Stored is what there was to look at, where the advice comes from AccessUsages,
	// and Unknown what is not stored of what was used: the roles allow it only for the
	// names that are.
	Stored  *Stored   `json:"stored,omitempty"`
	Unknown []Unknown `json:"unknown,omitempty"`
	// Policy is what of a policy nobody was seen to use, if one was asked for.
	Policy *Policy `json:"policy,omitempty"`
	// Left is how many calls were left out, because there were too many rights.
	Left int `json:"left,omitempty"`
}

// Used is a right, and by whom it was used.
type Used struct {
	Right
	// Calls is 0 where it is only known how many there were for several names together.
	Calls  int       `json:"calls"`
	People int       `json:"people"`
	Grants int       `json:"grants,omitempty"`
	Last   time.Time `json:"last,omitzero"`
}

// Gap is a time in which the log has no call of anybody.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Odd is a call that no rule can hold, and why.
type Odd struct {
	Call  string `json:"call"`
	Why   string `json:"why"`
	Calls int    `json:"calls"`
}

// Step is a sentence on rights that are proposed, or could be, beyond what the events
// themselves say; and these rights.
type Step struct {
	// Kind is one of the Widenings, refused or needed.
	Kind   string  `json:"kind"`
	Says   string  `json:"says"`
	Rights []Right `json:"rights,omitempty"`
}

// Advise proposes rules for the calls.
func Advise(calls iter.Seq[*usage.Event], o Options) Advice {
	c := Collect(o)
	for e := range calls {
		c.Add(e)
	}
	return c.Advice()
}

// Advice is what follows from the calls so far.
func (c *Collector) Advice() Advice {
	a := Advice{
		From: c.from, To: c.to, Gap: c.gap(), Calls: c.calls, People: len(c.people), Grants: len(c.grants),
		Rights: c.used.list(), Refused: c.demand(), Everybody: c.everybody.list(), Odd: c.oddities(), Left: c.left, Stored: c.stored,
	}
	if c.stored != nil {
		a.Gap = nil // of each grant, there is a window
	}
	observed := set{}
	for r := range c.used {
		observed.add(r)
	}
	a.Needed = c.needed(observed)
	wanted := set{}
	for r := range observed {
		wanted.add(r)
	}
	if c.options.Refused {
		a.Widened = append(a.Widened, takeRefused(wanted, a.Refused)...)
	}
	steps, offers := c.options.Widen.widen(wanted)
	more, offered := c.widenUnknown(wanted)
	a.Widened, a.Offered = slices.Concat(a.Widened, steps, more), slices.Concat(offers, offered)
	a.Unknown = c.nameless(wanted)
	a.Roles = wanted.roles()
	a.Denied = denied(a.Roles, observed)
	if c.options.Present != nil {
		a.Unused = unused(c.options.Present, observed, c.unknown)
	}
	a.Unseen = c.unseen(a)
	return a
}
