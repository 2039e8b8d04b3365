package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/accessbroker/accessbroker/internal/grant"
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
		if since, err = parseSince(u.since, now); err != nil {
			return nil, usagef(cmd, "--since: %w", err)
		}
	}
	found := &usages{u: u, of: map[whose]*of{}}
	seen, early := 0, 0
	for _, name := range u.logs {
		n, skipped, err := o.readLog(name, u.filter(), func(e *usage.Event) error {
			if err := cmd.Context().Err(); err != nil {
				return err
			}
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
		seen += n
		if n == 0 && skipped.Stages+skipped.Unasked == 0 {
			return nil, noEvents(name, skipped)
		}
		found.skipped.Add(skipped)
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

// readLog reads one log and counts its events.
func (o *options) readLog(name string, f *usage.Filter, visit func(*usage.Event) error) (n int, skipped usage.Skipped, err error) {
	var in io.Reader = o.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return 0, skipped, err
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return 0, skipped, hintf("Name each log in it with an --audit-log of its own.", "%s is a folder", name)
		}
		in = file
	}
	skipped, err = usage.Read(in, f, func(e *usage.Event) error {
		n++
		return visit(e)
	})
	if err != nil {
		return n, skipped, fmt.Errorf("read %s: %w", shownName(name), err)
	}
	return n, skipped, nil
}

func shownName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
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

// noEvents says what a log holds instead of audit events.
func noEvents(name string, skipped usage.Skipped) error {
	name = shownName(name)
	what := "it is empty"
	switch {
	case skipped.Foreign > 0 && skipped.Broken+skipped.TooLong == 0:
		what = fmt.Sprintf("%d lines or objects in it are something else", skipped.Foreign)
	case skipped.Foreign+skipped.Broken+skipped.TooLong > 0:
		what = fmt.Sprintf("%d lines or objects in it are something else, %d are not whole and %d too long", skipped.Foreign, skipped.Broken, skipped.TooLong)
	}
	return hintf("See 'kubectl access usage --help' for the formats. An API server writes none without --audit-policy-file.",
		"%s holds no audit events: %s", name, what)
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
