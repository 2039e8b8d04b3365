package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// maxListed bounds how many grants and bindings are told apart.
const maxListed = 2000

// whose tells usage apart: of a grant, wherever it holds, or of a binding.
type whose struct{ grant, kind, namespace, binding string }

// of is the usage of one of them.
type of struct {
	tally      *usage.Tally
	namespaces map[string]bool
	kind       string
}

// usages are what the logs tell.
type usages struct {
	u       *usageOptions
	of      map[whose]*of
	events  int // that were asked for
	skipped usage.Skipped
	others  int // calls by bindings that are not of grants
	left    int // calls of those that are too many
}

// details: one page, not a list.
func (u *usageOptions) details() bool { return u.user != "" || u.grant != "" || u.binding != "" }

// collect reads the logs.
func (o *options) collect(cmd *cobra.Command, u *usageOptions, now time.Time) (*usages, error) {
	var since time.Time
	if u.since != "" {
		var err error
		if since, err = asking.Since(u.since, now); err != nil {
			return nil, usagef(cmd, "--since: %w", err)
		}
	}
	found := &usages{u: u, of: map[whose]*of{}}
	seen, early := 0, 0
	var err error
	found.skipped, err = o.readLogs(u.logs, u.filter(), func(e *usage.Event) error {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		seen++
		if e.Received.Before(since) {
			early++
			return nil
		}
		found.add(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if found.events == 0 && u.details() {
		return nil, u.nothing(seen, early)
	}
	return found, nil
}

// filter is the first look at the events.
func (u *usageOptions) filter() *usage.Filter {
	switch {
	case u.grant != "" || u.binding != "":
		return usage.NewFilter([]string{cmp.Or(u.grant, u.bindName)}, nil)
	case u.user != "":
		return usage.NewFilter(nil, []string{u.user})
	}
	return nil
}

// add takes an event that the filter let through.
func (s *usages) add(e *usage.Event) {
	b, bound := e.Binding()
	if s.u.user != "" && e.User != s.u.user && e.Impersonated != s.u.user {
		return
	}
	key := whose{}
	switch {
	case s.u.binding != "" && (!bound || b.Name != s.u.bindName || b.Namespace != s.u.bindingNamespace):
		return
	case s.u.grant != "" && (!bound || b.Name != s.u.grant):
		return
	case s.u.details():
	case !bound:
		return
	case grant.IsName(b.Name):
		key.grant = b.Name
	default:
		if s.others++; !s.u.all {
			s.events++
			return
		}
		key = whose{"", b.Kind, b.Namespace, b.Name}
	}
	s.events++
	known := s.of[key]
	if known == nil {
		if len(s.of) == maxListed {
			s.left++
			return
		}
		known = &of{tally: usage.NewTally(), namespaces: map[string]bool{}}
		s.of[key] = known
	}
	if bound {
		known.kind = b.Kind
		if len(known.namespaces) < maxListed && b.Namespace != "" {
			known.namespaces[b.Namespace] = true
		}
	}
	known.tally.Add(e)
}

// list has the last used first.
func (s *usages) list() []view.Usage {
	list := []view.Usage{}
	for key, of := range s.of {
		v := view.Usage{Grant: key.grant, Kind: cmp.Or(key.kind, of.kind), Binding: key.binding, Summary: of.tally.Summary()}
		if s.u.details() {
			v.Grant, v.User, v.Binding = s.u.grant, s.u.user, s.u.bindName
		}
		if v.User == "" || s.u.grant != "" || s.u.binding != "" {
			for namespace := range of.namespaces {
				v.Namespaces = append(v.Namespaces, namespace)
			}
			slices.Sort(v.Namespaces)
		} else {
			v.Kind = ""
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b view.Usage) int {
		return cmp.Or(b.Last.Compare(a.Last), strings.Compare(a.Grant, b.Grant), strings.Compare(a.Binding, b.Binding),
			slices.Compare(a.Namespaces, b.Namespaces), strings.Compare(a.Kind, b.Kind))
	})
	return list
}

// nothing says that there is nothing of what was asked for.
func (u *usageOptions) nothing(seen, early int) error {
	var asked []string
	for _, flag := range []struct{ name, value string }{{"--grant", u.grant}, {"--binding", u.binding}, {"--user", u.user}} {
		if flag.value != "" {
			asked = append(asked, flag.name+" "+flag.value)
		}
	}
	what := strings.Join(asked, " and ")
	if early > 0 {
		return errors.New("no call of " + what + fmt.Sprintf(" since then; %d are older", early))
	}
	hint := "Without it, 'kubectl access usage' lists the grants that the log names."
	if u.user != "" {
		hint = "Users are named as the API server knows them, such as system:serviceaccount:NAMESPACE:NAME (or sa:NAMESPACE/NAME)."
	}
	if seen > 0 {
		hint = fmt.Sprintf("The log has %d calls by bindings of that name, none of which is asked for.", seen)
	}
	return hintf(hint, "no call of %s is in the log", what)
}
