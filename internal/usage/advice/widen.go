package advice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/accessbroker/accessbroker/internal/text"
)

// The kinds of widening.
const (
	GeneratedNames = "generated-names"
	Reads          = "reads"
	Writes         = "writes"
)

// Widenings are all there are, in the order in which they are taken.
var Widenings = []string{GeneratedNames, Reads, Writes, UnknownNames, FailedNames}

// fromCalls are the steps that follow from what was used, and not from what is unknown
// of it.
var fromCalls = []string{GeneratedNames, Reads, Writes}

// DefaultMaxNames is how many names of a resource a rule lists before it seems better
// to allow all.
const DefaultMaxNames = 20

// Widen says which steps beyond the observed to take.
type Widen struct {
	// Steps are some of the Widenings.
	Steps []string
	// MaxNames is how many distinct names count as fixed; DefaultMaxNames when 0.
	MaxNames int
}

// place is where names belong together.
type place struct{ namespace, group, resource string }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.namespace, q.namespace), cmp.Compare(p.group, q.group), cmp.Compare(p.resource, q.resource))
}

func (r Right) place() place { return place{r.Namespace, r.Group, r.Resource} }

// widen adds to a set what the steps allow, and tells of each. offers are the steps
// that were not asked for, as if each were the only one more.
func (w Widen) widen(s set) (steps, offers []Step) {
	for _, kind := range fromCalls {
		if !slices.Contains(w.Steps, kind) {
			continue
		}
		more := w.step(kind, s)
		for _, step := range more {
			s.add(step.Rights...)
		}
		steps = append(steps, more...)
	}
	for _, kind := range fromCalls {
		if !slices.Contains(w.Steps, kind) {
			offers = append(offers, w.step(kind, s)...)
		}
	}
	return steps, offers
}

func (w Widen) step(kind string, s set) []Step {
	switch kind {
	case GeneratedNames:
		return w.names(s)
	case Reads:
		return together(s, kind, "get", "list", "watch")
	default:
		return together(s, kind, "patch", "update")
	}
}

// names drops the names of what has too many of them, or generated ones.
func (w Widen) names(s set) []Step {
	most := cmp.Or(w.MaxNames, DefaultMaxNames)
	named := map[Right][]string{} // by the right to all names
	for r := range s {
		// Whoever may impersonate anybody may do everything.
		if r.Name == "" || r.Resource == "" || r.Verb == "impersonate" {
			continue
		}
		all := r
		all.Name = ""
		if !s.allows(all) {
			named[all] = append(named[all], r.Name)
		}
	}
	type reason struct {
		place
		why string
	}
	because := map[reason][]Right{}
	samples := map[reason]map[string]struct{}{}
	for all, names := range named {
		stems := stemsOf(names)
		made := slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(name string) bool { return !looksGenerated(name, stems) })
		at := reason{all.place(), "they look generated"}
		switch {
		case len(made) > 0:
			names = made
		case len(names) > most:
			at.why = fmt.Sprintf("there are more than %d", most)
		default:
			continue
		}
		because[at] = append(because[at], all)
		if samples[at] == nil {
			samples[at] = map[string]struct{}{}
		}
		for _, name := range names {
			samples[at][name] = struct{}{}
		}
	}
	var out []Step
	for _, at := range slices.SortedFunc(maps.Keys(because), func(a, b reason) int {
		return cmp.Or(a.compare(b.place), cmp.Compare(a.why, b.why))
	}) {
		rights := because[at]
		slices.SortFunc(rights, Right.compare)
		names := slices.Sorted(maps.Keys(samples[at]))
		out = append(out, Step{Kind: GeneratedNames, Rights: rights, Says: fmt.Sprintf(
			"%s %s in %s: all names, also those to come; %s (%d in the log, such as %s)",
			verbsOf(rights), rights[0].what(), rights[0].Where(), at.why, len(names), shown(names[0]))})
	}
	return out
}

// together gives all of some verbs to whoever used one of them, for the same names.
// Subresources are read with get alone.
func together(s set, kind string, verbs ...string) []Step {
	more := map[place]set{}
	for r := range s {
		if !slices.Contains(verbs, r.Verb) || r.Resource == "" || kind == Reads && strings.Contains(r.Resource, "/") {
			continue
		}
		for _, verb := range verbs {
			also := r
			also.Verb = verb
			if s.allows(also) {
				continue
			}
			if more[r.place()] == nil {
				more[r.place()] = set{}
			}
			more[r.place()].add(also)
		}
	}
	var out []Step
	for _, at := range slices.SortedFunc(maps.Keys(more), place.compare) {
		rights := more[at].least().sorted()
		out = append(out, Step{Kind: kind, Rights: rights, Says: fmt.Sprintf(
			"%s %s in %s: also %s, %s", strings.Join(verbs, ", "), rights[0].what(), rights[0].Where(), verbsOf(rights), namesOf(rights))})
	}
	return out
}

func verbsOf(rights []Right) string {
	verbs := set{}
	for _, r := range rights {
		verbs.add(Right{Verb: shown(r.Verb)})
	}
	var out []string
	for _, r := range verbs.sorted() {
		out = append(out, r.Verb)
	}
	return strings.Join(out, ", ")
}

// namesOf says for which names.
func namesOf(rights []Right) string {
	names := map[string]struct{}{}
	for _, r := range rights {
		if r.Name == "" {
			return "on all names"
		}
		names[shown(r.Name)] = struct{}{}
	}
	return "on " + text.List(slices.Sorted(maps.Keys(names)), 3)
}

// takeRefused adds to a set what was refused.
func takeRefused(s set, refused []Used) []Step {
	var out []Step
	for _, used := range refused {
		if s.allows(used.Right) {
			continue
		}
		s.add(used.Right)
		out = append(out, Step{Kind: "refused", Rights: []Right{used.Right}, Says: fmt.Sprintf(
			"%s in %s: it was refused (calls: %d)", used.Right, used.Where(), used.Calls)})
	}
	return out
}

// needed says which rights calls needed beyond their own verb.
func (c *Collector) needed(observed set) []Step {
	type reason struct {
		place
		why string
	}
	because := map[reason][]Right{}
	for r, why := range c.why {
		if observed.has(r) {
			at := reason{r.place(), why}
			because[at] = append(because[at], r)
		}
	}
	var out []Step
	for _, at := range slices.SortedFunc(maps.Keys(because), func(a, b reason) int {
		return cmp.Or(a.compare(b.place), cmp.Compare(a.why, b.why))
	}) {
		rights := because[at]
		slices.SortFunc(rights, Right.compare)
		out = append(out, Step{Kind: "needed", Rights: rights, Says: fmt.Sprintf(
			"%s %s in %s, %s: %s", verbsOf(rights), rights[0].what(), rights[0].Where(), namesOf(rights), at.why)})
	}
	return out
}
