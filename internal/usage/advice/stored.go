package advice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// The steps for what is not stored. Where a right was used for more names than an
// AccessUsage has, or for names for which the calls failed, nothing but all names is
// sure to allow the calls again.
const (
	UnknownNames = "unknown-names"
	FailedNames  = "failed-names"
)

// Grant is a grant, and what was observed of its use.
type Grant struct {
	Name string
	// From and To are when it was held. Active: it still is, and To is now.
	From, To time.Time
	Active   bool
	// Usage is nil where nobody observed it.
	Usage *usage.Summary
}

// Stored is what there was to look at, where the advice comes from AccessUsages.
type Stored struct {
	// Grants that were held, Active those that still are. Unobserved are those that
	// nobody observed, and Partly those that were not observed all the time.
	Grants     int      `json:"grants"`
	Active     int      `json:"active,omitempty"`
	Unobserved []string `json:"unobserved,omitempty"`
	Partly     []string `json:"partlyObserved,omitempty"`
	Gaps       int      `json:"gaps,omitempty"`
	Lost       int      `json:"lostEvents,omitempty"`
	// Earlier grants were used before the time that was asked for as well.
	Earlier []string `json:"earlier,omitempty"`
	// Mixed grants were used by the user who was asked for, or may have been, and by
	// others. They are left out.
	Mixed []string `json:"mixed,omitempty"`
	// Shared calls are those that other access covers too.
	Shared int `json:"sharedCalls,omitempty"`
	// Several grants have more than one caller, or more than are stored.
	Several int `json:"severalCallers,omitempty"`
	// CutCallers: there are more people than are counted.
	CutCallers bool `json:"cutCallers,omitempty"`
	// Unlisted calls used rights that are not stored.
	Unlisted int `json:"unlistedCalls,omitempty"`
}

// Unknown is a right that was used for names that are not stored.
type Unknown struct {
	Right
	// Calls that went well for such names, and Failed ones.
	Calls  int `json:"calls,omitempty"`
	Failed int `json:"failed,omitempty"`
}

// Incomplete is how many calls that went well the proposal may deny, because it is not
// stored what they were for.
func (a *Advice) Incomplete() int {
	n := 0
	if a.Stored != nil {
		n = a.Stored.Unlisted
	}
	for _, u := range a.Unknown {
		n += u.Calls
	}
	return n
}

// unobserved is how much of the time of a grant may be outside its window before it
// counts as partly observed.
const unobserved = time.Minute

// AddGrant takes what is stored of the use of a grant. What was asked for by role or
// binding is the caller's to choose.
func (c *Collector) AddGrant(g Grant) {
	if c.stored == nil {
		c.stored = &Stored{}
	}
	if !c.options.Since.IsZero() && g.To.Before(c.options.Since) {
		return
	}
	s := c.stored
	s.Grants++
	if g.Active {
		s.Active++
	}
	if g.Usage == nil || g.Usage.Window.Since.IsZero() {
		s.Unobserved = append(s.Unobserved, g.Name)
	}
	if g.Usage == nil {
		return
	}
	c.sawWindow(g)
	u := g.Usage
	if !c.options.Since.IsZero() && u.First.Before(c.options.Since) {
		if u.Last.Before(c.options.Since) {
			return
		}
		s.Earlier = append(s.Earlier, g.Name)
	}
	actors, mine := c.actors(u)
	if !mine {
		return
	}
	if c.options.Of.User != "" && (len(actors) > 1 || u.More.Callers > 0) {
		s.Mixed = append(s.Mixed, g.Name)
		return
	}
	if len(actors) > 1 || u.More.Callers > 0 {
		s.Several++
	}
	s.CutCallers = s.CutCallers || u.More.Callers > 0
	s.Unlisted += u.More.Used
	from := source{g.Name, actors}
	for _, use := range u.Used {
		if c.options.Of.In == "" || c.options.Of.In == use.Namespace {
			c.takeStored(from, use)
		}
	}
	c.applied(from, u)
	for _, use := range u.Demanded {
		if c.options.Of.In == "" || c.options.Of.In == use.Namespace {
			c.refuseStored(from, use)
		}
	}
}

// source is whose use something is.
type source struct {
	grant  string
	actors []string
}

func (c *Collector) sawWindow(g Grant) {
	w := g.Usage.Window
	if w.Since.IsZero() {
		return
	}
	c.sawAt(w.Since)
	c.sawAt(w.Until)
	late, early := w.Since.Sub(g.From) > unobserved, g.To.Sub(w.Until) > unobserved
	if g.Active {
		// It stands still while nobody tells anything.
		early = g.To.Sub(w.Until) > 3*unobserved
	}
	if late || early || w.Gaps > 0 || w.Lost > 0 {
		c.stored.Partly = append(c.stored.Partly, g.Name)
	}
	c.stored.Gaps += w.Gaps
	c.stored.Lost += w.Lost
}

// actors are those whose rights the calls used. mine is false when the user who is
// asked for is not, and cannot be, among them.
func (c *Collector) actors(u *usage.Summary) (actors []string, mine bool) {
	known := map[string]struct{}{}
	for _, caller := range u.Callers {
		known[cmp.Or(caller.As, caller.User)] = struct{}{}
	}
	_, among := known[c.options.Of.User]
	return slices.Sorted(maps.Keys(known)), c.options.Of.User == "" || among || u.More.Callers > 0
}

// takeStored takes the use of a right for the names that are stored, and remembers
// that there were others.
func (c *Collector) takeStored(from source, use usage.RightUse) {
	e := eventOf(use.Right)
	if why := wasCut(use.Right); why != nil {
		c.strange(e, why)
		return
	}
	well := max(0, use.Calls-use.Failed)
	names, unknown := wholeNames(use)
	// RBAC knows no names here, so that all calls needed the same.
	nameless := use.Resource == "" || use.Verb == "deletecollection" || use.Verb == "create" && use.Subresource == ""
	switch {
	case nameless:
		names, unknown = nil, 0
	case !alwaysNamed(use.Right) && len(names) > 0:
		// Calls for a name, and for all, cannot be told apart.
		unknown = max(unknown, well-len(names))
	}
	c.stored.Shared += use.Shared
	wanted, err := needs(e)
	if err != nil {
		c.strange(e, err)
		return
	}
	if nameless || len(names) == 0 && unknown == 0 && well > 0 {
		c.takeRight(from, wanted, use.Calls)
		return
	}
	calls := 0
	if len(names) == 1 && unknown == 0 {
		calls = use.Calls
	}
	for _, name := range names {
		e.Name = name
		if wanted, err := needs(e); err == nil {
			c.takeRight(from, wanted, calls)
		}
	}
	if calls == 0 {
		c.called(from, use.Calls)
	}
	if unknown == 0 && use.Failed == 0 {
		return
	}
	e.Name = ""
	for _, n := range wanted {
		at, known := c.unknown[n.Right]
		if !known && len(c.unknown) >= c.options.MaxRights {
			c.stored.Unlisted += unknown
			return
		}
		c.unknown[n.Right] = Unknown{n.Right, at.Calls + unknown, at.Failed + use.Failed}
		if n.why != "" {
			c.why[n.Right] = n.why
		}
	}
}

// takeRight counts a right as used. calls is 0 where only their sum over several names is
// known.
func (c *Collector) takeRight(from source, wanted []need, calls int) {
	for _, n := range wanted {
		to := c.used
		r := n.Right
		if free, ok := forEverybody(r); ok {
			to, r = c.everybody, free
		} else if _, known := c.used[r]; !known && len(c.used) >= c.options.MaxRights {
			c.left += max(1, calls)
			return
		}
		to.addStored(r, from, calls)
		if n.why != "" {
			c.why[r] = n.why
		}
	}
	if _, free := forEverybody(wanted[0].Right); !free {
		c.called(from, calls)
	}
}

func (c *Collector) called(from source, calls int) {
	c.calls += calls
	c.grants[from.grant] = struct{}{}
	for _, who := range from.actors {
		c.people[who] = struct{}{}
	}
}

func (t tally) addStored(r Right, from source, calls int) {
	at := t.of(r)
	at.calls += calls
	at.grants[from.grant] = struct{}{}
	for _, who := range from.actors {
		at.people[who] = struct{}{}
	}
}

// applied finds the updates, patches and applies that created their object, as it must
// have been where nobody used create: they need it as well.
func (c *Collector) applied(from source, u *usage.Summary) {
	for _, o := range u.Created {
		var wrote, created bool
		for _, use := range u.Used {
			if use.Group != o.Group || use.Resource != o.Resource || use.Namespace != o.Namespace || use.Subresource != "" {
				continue
			}
			created = created || use.Verb == "create"
			wrote = wrote || use.Verb == "patch" || use.Verb == "update"
		}
		in := c.options.Of.In == "" || c.options.Of.In == o.Namespace
		if r := (Right{Verb: "create", Group: o.Group, Resource: o.Resource, Namespace: o.Namespace, Name: o.Name}); in && wrote && !created && o.Name != "" && r.exact() == nil {
			c.used.addStored(r, from, 0)
			c.why[r] = applied
		}
	}
}

func (c *Collector) refuseStored(from source, use usage.RightUse) {
	e := eventOf(use.Right)
	names, _ := wholeNames(use)
	if wasCut(use.Right) != nil {
		return
	}
	if len(names) == 0 {
		names = []string{""}
	}
	calls := 0
	if len(names) == 1 && use.MoreNames == 0 {
		calls = use.Calls
	}
	for _, name := range names {
		e.Name = name
		if wanted, err := needs(e); err == nil && len(c.lacked) < c.options.MaxRights {
			c.lacked.addStored(wanted[0].Right, from, calls)
		}
	}
}

func eventOf(r usage.Right) *usage.Event {
	return &usage.Event{Allowed: true, Verb: r.Verb, Group: r.Group, Resource: r.Resource, Subresource: r.Subresource, Namespace: r.Namespace, Path: r.Path}
}

// alwaysNamed tells whether each call for a right names an object.
func alwaysNamed(r usage.Right) bool {
	return slices.Contains([]string{"get", "update", "patch", "delete"}, r.Verb) || r.Verb == "create" && r.Subresource != ""
}

// maxWhole is how long a text may be to be whole for sure: what is longer may have been
// cut when it was stored.
const maxWhole = 240

const cutMark = "..."

func cut(s string) bool { return len(s) > maxWhole && strings.HasSuffix(s, cutMark) }

func wasCut(r usage.Right) error {
	for _, part := range []string{r.Verb, r.Group, r.Resource, r.Subresource, r.Namespace, r.Path} {
		if cut(part) {
			return errCut
		}
	}
	return nil
}

// wholeNames are the names that are stored as they were, and how many calls that went
// well were for others.
func wholeNames(use usage.RightUse) (names []string, others int) {
	others = use.MoreNames
	for _, name := range use.Names {
		if cut(name) {
			others++
		} else if name != "" {
			names = append(names, name)
		}
	}
	return names, others
}

// nameless are the rights to all names where names are not stored, and the set does
// not have them.
func (c *Collector) nameless(wanted set) []Unknown {
	var out []Unknown
	for r, u := range c.unknown {
		if !wanted.allows(r) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b Unknown) int { return a.compare(b.Right) })
	return out
}

// widenUnknown adds all names where names are not stored, if that was asked for.
func (c *Collector) widenUnknown(wanted set) (steps, offers []Step) {
	for _, kind := range []string{UnknownNames, FailedNames} {
		asked := slices.Contains(c.options.Widen.Steps, kind)
		for _, u := range c.nameless(wanted) {
			says := ""
			switch {
			case kind == UnknownNames && u.Calls > 0:
				says = fmt.Sprintf("%s in %s: all names; for which others it was used, or whether for all, is not stored (calls: %d)", u.Right, u.Where(), u.Calls)
			case kind == FailedNames && u.Failed > 0:
				says = fmt.Sprintf("%s in %s: all names; for which names it failed is not stored (calls: %d)", u.Right, u.Where(), u.Failed)
			default:
				continue
			}
			step := Step{Kind: kind, Rights: []Right{u.Right}, Says: says}
			if !asked {
				offers = append(offers, step)
				continue
			}
			steps = append(steps, step)
		}
		for _, step := range steps {
			wanted.add(step.Rights...)
		}
	}
	return steps, offers
}

// unseenStored says what the windows cannot have seen.
func (c *Collector) unseenStored(a Advice) []string {
	s := c.stored
	var out []string
	say := func(n int, format string, args ...any) {
		if n > 0 {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	list := func(names []string) string {
		return text.List(each(slices.Sorted(slices.Values(names)), shown), 5)
	}
	seen := 1
	if a.From.IsZero() {
		seen = 0
	}
	say(seen, "Usage was observed from %s to %s (%s), while the grants were held. What happens less often is not in it: a quarterly job, a restore, break-glass.",
		text.Moment(a.From), text.Moment(a.To), span(a.To.Sub(a.From)))
	say(len(s.Unobserved), "Nobody observed the use of %d of the %d grants: %s. What they used is not proposed.", len(s.Unobserved), s.Grants, list(s.Unobserved))
	say(len(s.Partly), "Of %d grants not all was observed (gaps: %d, events that could not be read: %d): %s. What they used then is not proposed.",
		len(s.Partly), s.Gaps, s.Lost, list(s.Partly))
	say(s.Active, "Still held, so that more may come: %d of the %d grants.", s.Active, s.Grants)
	say(s.Unlisted, "More rights were used than are stored, by %d calls. What these were for is not proposed.", s.Unlisted)
	say(len(s.Earlier), "Used before %s too, and the times of single calls are not stored: %s. All of their calls count.", text.Moment(c.options.Since), list(s.Earlier))
	say(len(s.Mixed), "Used by others too, or by more callers than are stored: %s. Which rights were whose is not stored, and they are left out.", list(s.Mixed))
	say(s.Several, "Of %d grants several people called, and which of them used a right is not stored: each counts for all of it.", s.Several)
	if s.CutCallers {
		say(1, "More people called than are stored: there are at least %d.", a.People)
	}
	say(s.Shared, "Other access of the callers covers %d of the calls too: they would have been allowed without these grants.", s.Shared)
	if slices.ContainsFunc(a.Rights, func(u Used) bool {
		return (u.Verb == "patch" || u.Verb == "update") && !strings.Contains(u.Resource, "/")
	}) {
		say(1, "An apply that created what was deleted again under the same grant needed create as well; that is not stored.")
	}
	say(1, "Grants that were deleted since, as those are whose retention is over, are not in it.")
	return out
}

func each[T, R any](items []T, f func(T) R) []R {
	out := make([]R, 0, len(items))
	for _, item := range items {
		out = append(out, f(item))
	}
	return out
}
