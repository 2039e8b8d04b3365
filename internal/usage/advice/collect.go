package advice

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// Bounds of what a hostile log could make grow.
const (
	maxOdd      = 1000
	maxHours    = 100_000 // eleven years
	maxSessions = 100_000
)

// Collector adds up calls, one after another.
type Collector struct {
	options   Options
	from, to  time.Time
	hours     map[int64]struct{}
	calls     int
	left      int
	people    map[string]struct{}
	grants    map[string]struct{}
	used      tally
	everybody tally
	// refused and elsewhere wait for who it turns out to be about.
	refused   map[string]tally
	elsewhere map[string]map[usage.Binding]int
	odd       map[Odd]int
	why       map[Right]string
	// sessions whose beginning was counted.
	sessions map[string]struct{}
	// stored, unknown and lacked are of what is read from AccessUsages.
	stored  *Stored
	unknown map[Right]Unknown
	lacked  tally
}

// Collect begins with no calls.
func Collect(o Options) *Collector {
	o.MaxRights = cmp.Or(o.MaxRights, DefaultMaxRights)
	return &Collector{
		options: o, hours: map[int64]struct{}{}, people: map[string]struct{}{}, grants: map[string]struct{}{},
		used: tally{}, everybody: tally{}, refused: map[string]tally{}, elsewhere: map[string]map[usage.Binding]int{},
		odd: map[Odd]int{}, why: map[Right]string{}, sessions: map[string]struct{}{},
		unknown: map[Right]Unknown{}, lacked: tally{},
	}
}

// Add takes a call. It keeps nothing of the event but strings.
func (c *Collector) Add(e *usage.Event) {
	if e.Received.Before(c.options.Since) {
		return
	}
	c.sawAt(e.Received)
	if !c.first(e) {
		return
	}
	binding, byRBAC := e.Binding()
	acts := e.Impersonated != "" && c.options.Of.User != "" && c.options.Of.User == e.User
	switch {
	case acts:
		own := *e
		own.Impersonated = ""
		c.take(&own, []need{impersonates(e)}, "")
	case !c.options.Of.about(e):
	case !e.Allowed:
		c.refuse(e)
	case c.options.Of.allowedBy(binding):
		wanted, err := needs(e)
		if err != nil {
			c.strange(e, err)
			return
		}
		grant := ""
		if byRBAC {
			grant = binding.Name
		}
		c.take(e, wanted, grant)
	case byRBAC:
		of := c.elsewhere[e.Actor()]
		if of == nil {
			if len(c.elsewhere) >= c.options.MaxRights {
				return
			}
			of = map[usage.Binding]int{}
			c.elsewhere[e.Actor()] = of
		}
		of[binding]++
	}
}

// first tells whether a call was not counted before. Only what goes on for a while
// comes twice: when it begins and when it ends.
func (c *Collector) first(e *usage.Event) bool {
	if e.ID == "" {
		return true
	}
	if e.Over() {
		_, begun := c.sessions[e.ID]
		delete(c.sessions, e.ID)
		return !begun
	}
	if len(c.sessions) < maxSessions {
		c.sessions[e.ID] = struct{}{}
	}
	return true
}

func (o Of) about(e *usage.Event) bool {
	return (o.User == "" || o.User == e.Actor()) && (o.In == "" || o.In == e.Namespace)
}

func (o Of) allowedBy(b usage.Binding) bool {
	if o.Role != "" && (b.Role != o.Role || o.RoleKind != "" && b.RoleKind != o.RoleKind) {
		return false
	}
	return o.Binding == "" || b.Name == o.Binding && b.Namespace == o.Namespace
}

func (c *Collector) take(e *usage.Event, wanted []need, grant string) {
	for _, n := range wanted {
		if _, known := c.used[n.Right]; !known {
			if free, ok := forEverybody(n.Right); ok {
				c.everybody.add(free, e, grant)
				return
			}
			if len(c.used) >= c.options.MaxRights {
				c.left++
				return
			}
		}
		c.used.add(n.Right, e, grant)
		if n.why != "" {
			c.why[n.Right] = n.why
		}
	}
	c.calls++
	c.people[e.Actor()] = struct{}{}
	if grant != "" {
		c.grants[grant] = struct{}{}
	}
}

// refuse keeps what was refused by the authorizer. A call that nobody authenticated
// for has no user.
func (c *Collector) refuse(e *usage.Event) {
	wanted, err := needs(e)
	if err != nil || e.Actor() == "" {
		return
	}
	of := c.refused[e.Actor()]
	if of == nil {
		if len(c.refused) >= c.options.MaxRights {
			return
		}
		of = tally{}
		c.refused[e.Actor()] = of
	}
	if _, known := of[wanted[0].Right]; known || len(of) < maxOdd {
		of.add(wanted[0].Right, e, "")
	}
}

func (c *Collector) strange(e *usage.Event, why error) {
	r := Right{Verb: e.Verb, Group: e.Group, Resource: e.Resource, Name: e.Name, Path: e.Path}
	if odd := (Odd{Call: r.String(), Why: why.Error()}); len(c.odd) < maxOdd || c.odd[odd] > 0 {
		c.odd[odd]++
	}
}

func (c *Collector) oddities() []Odd {
	var out []Odd
	for odd, calls := range c.odd {
		odd.Calls = calls
		out = append(out, odd)
	}
	slices.SortFunc(out, func(a, b Odd) int { return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.Why, b.Why)) })
	return out
}

// demand is what was refused to the people whose calls were taken.
func (c *Collector) demand() []Used {
	all := tally{}
	for r, count := range c.lacked {
		all.merge(r, count)
	}
	for who, of := range c.refused {
		if _, known := c.people[who]; !known && (c.options.Of.Role != "" || c.options.Of.Binding != "") {
			continue
		}
		for r, count := range of {
			all.merge(r, count)
		}
	}
	return all.list()
}

func (c *Collector) sawAt(t time.Time) {
	if t.IsZero() {
		return
	}
	if c.from.IsZero() || t.Before(c.from) {
		c.from = t
	}
	if t.After(c.to) {
		c.to = t
	}
	if len(c.hours) < maxHours {
		c.hours[t.Unix()/3600] = struct{}{}
	}
}

// gap is the longest time of a day or more in which the log has nothing.
func (c *Collector) gap() *Gap {
	if len(c.hours) >= maxHours {
		return nil
	}
	var longest *Gap
	var last int64
	for i, hour := range slices.Sorted(maps.Keys(c.hours)) {
		if silent := hour - last - 1; i > 0 && silent >= 24 && (longest == nil || silent > int64(longest.To.Sub(longest.From)/time.Hour)) {
			longest = &Gap{time.Unix((last+1)*3600, 0).UTC(), time.Unix(hour*3600, 0).UTC()}
		}
		last = hour
	}
	return longest
}
