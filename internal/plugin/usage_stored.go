package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// fromLog says where to read what is not stored.
const fromLog = "An audit log has each call: read it with --audit-log."

// storedUsages are the flags of usage without a log: what they ask for is stored, or
// cannot be told.
type storedUsages struct {
	name, user string
	// namespace in which rights were used, for a list.
	namespace string
	since     time.Time
	format    string
	noHeaders bool
}

func (u *usageOptions) stored(cmd *cobra.Command, args []string, now time.Time) (s storedUsages, err error) {
	s = storedUsages{name: u.grant, user: u.user, format: u.format, noHeaders: u.noHeaders}
	switch {
	case len(args) > 0 && u.grant != "":
		return s, usagef(cmd, "name the grant once: as an argument, or with --grant")
	case len(args) > 0:
		s.name = args[0]
	}
	if u.binding != "" || u.all {
		return s, usagef(cmd, "--binding and --all look into an audit log: name it with --audit-log")
	}
	if u.since != "" {
		if s.since, err = asking.Since(u.since, now); err != nil {
			return s, usagef(cmd, "--since: %w", err)
		}
	}
	return s, nil
}

// showStored tells what AccessUsages say of one grant, or of all.
func (o *options) showStored(ctx context.Context, s storedUsages, now time.Time) error {
	c, err := cluster.Connect(o.config)
	if err != nil {
		return err
	}
	if s.name == "" {
		return o.listStored(ctx, c, s, now)
	}
	stored, err := usageNamed(ctx, c, s.name)
	if err != nil {
		return err
	}
	observed := view.Observed{Usage: usage.SummaryOf(&stored.Status)}
	switch g, err := c.Grant(ctx, stored.Name); {
	case err == nil && g.UID != stored.Spec.GrantRef.UID:
		return fmt.Errorf("what is stored under the name %s is of another grant of that name", stored.Name)
	case err == nil:
		observed.Grant, observed.Rules = g, view.RulesOfGrant(g)
	case !cluster.NotTold(err):
		return err
	}
	if err := s.tells(stored.Name, &observed.Usage); err != nil {
		return err
	}
	u := view.Usage{Grant: stored.Name, Summary: observed.Usage}
	if s.format != "" {
		return o.writeObject(s.format, storedReport{[]view.Usage{u}})
	}
	fmt.Fprint(o.Out, usagePage(view.PageOfObserved(u, observed, now), term.StyleOf(o.Out)))
	return nil
}

// usageNamed finds what is stored by the name of a grant, or of a request.
func usageNamed(ctx context.Context, c *cluster.Client, name string) (*v1alpha1.AccessUsage, error) {
	var notStored error
	if grant.IsName(name) {
		stored, err := c.Usage(ctx, name)
		if err == nil || !apierrors.IsNotFound(err) || cluster.NotServed(err) {
			return stored, noUsages(err)
		}
		notStored = err
	}
	r, err := c.Request(ctx, name)
	switch {
	case notStored != nil && err != nil:
		return nil, notObserved(ctx, c, name)
	case err != nil:
		return nil, err
	case r.Status.GrantName == "":
		return nil, hintf("See 'kubectl access show "+term.Clean(name)+" -n "+term.Clean(r.Namespace)+"' for what it waits for, or why it ended.",
			"request %s was not granted, so that there is no use of it", name)
	}
	stored, err := c.Usage(ctx, r.Status.GrantName)
	if apierrors.IsNotFound(err) && !cluster.NotServed(err) {
		return nil, notObserved(ctx, c, r.Status.GrantName)
	}
	return stored, noUsages(err)
}

func notObserved(ctx context.Context, c *cluster.Client, name string) error {
	if _, err := c.Grant(ctx, name); apierrors.IsNotFound(err) {
		return hintf("See 'kubectl access audit' for the grants that are on record.", "there is no grant %s", name)
	}
	return hintf(fromLog, "nobody observed the use of grant %s: an observer stores it, if one runs while the access is held", name)
}

// noUsages says that the cluster has no AccessUsages at all.
func noUsages(err error) error {
	if cluster.NotServed(err) {
		return hintf("An administrator installs it with 'kubectl apply -k config/default'. "+fromLog,
			"the cluster stores no usage: Access Broker is not installed on this cluster, or is too old for that")
	}
	return err
}

// tells refuses to answer with the whole of a usage where a part of it was asked for:
// the times of single calls are not stored, and neither is which right whose call used.
func (s *storedUsages) tells(name string, of *usage.Summary) error {
	if !s.since.IsZero() {
		switch {
		case of.Calls == 0 || of.Last.IsZero():
			return fmt.Errorf("no call of grant %s was observed", name)
		case of.Last.Before(s.since):
			return fmt.Errorf("no call of grant %s was observed since then; the last was at %s", name, text.Moment(of.Last))
		case of.First.Before(s.since):
			return hintf(fromLog, "grant %s was used before and after %s, and the times of single calls are not stored", name, text.Moment(s.since))
		}
	}
	switch called, others := s.calls(of); {
	case s.user == "":
	case !called && !others:
		return fmt.Errorf("no call of %s under grant %s was observed", s.user, name)
	case !called && of.More.Callers > 0:
		return hintf(fromLog, "grant %s had more callers than are stored, and %s is not among those", name, s.user)
	case !called:
		return fmt.Errorf("no call of %s under grant %s was observed", s.user, name)
	case others:
		return hintf(fromLog+" Without --user you see what all of them did.", "others than %s used grant %s too, and which rights were whose is not stored", s.user, name)
	}
	return nil
}

// calls tells whether the user called, and whether somebody else did or may have.
func (s *storedUsages) calls(of *usage.Summary) (called, others bool) {
	for _, c := range of.Callers {
		if c.User == s.user || c.As == s.user {
			called = true
		} else {
			others = true
		}
	}
	return called, others || of.More.Callers > 0
}

// usedIn tells whether a right in a namespace was used, or asked for.
func usedIn(of *usage.Summary, namespace string) bool {
	return slices.ContainsFunc(slices.Concat(of.Used, of.Demanded), func(u usage.RightUse) bool { return u.Namespace == namespace })
}

// storedReport is what -o json and yaml print.
type storedReport struct {
	Usage []view.Usage `json:"usage"`
}

// listStored lists the grants that were used by a user, or since some time, with all
// that they were used for.
func (o *options) listStored(ctx context.Context, c *cluster.Client, s storedUsages, now time.Time) error {
	list := []view.Usage{}
	all, early, others, cut := 0, 0, 0, 0
	err := c.EachUsage(ctx, func(u *v1alpha1.AccessUsage) {
		all++
		summary := usage.SummaryOf(&u.Status)
		if !s.since.IsZero() && summary.Last.Before(s.since) || s.namespace != "" && !usedIn(&summary, s.namespace) {
			return
		}
		if s.user != "" {
			called, more := s.calls(&summary)
			if !called {
				if summary.More.Callers > 0 {
					cut++
				}
				return
			}
			if more {
				others++
			}
		}
		if summary.First.Before(s.since) {
			early++
		}
		list = append(list, view.Usage{Grant: u.Name, Summary: summary})
	})
	if err != nil {
		return noUsages(err)
	}
	slices.SortFunc(list, func(a, b view.Usage) int { return cmp.Or(b.Last.Compare(a.Last), strings.Compare(a.Grant, b.Grant)) })
	note := func(n int, format string) {
		if n > 0 {
			fmt.Fprintf(o.ErrOut, format+"\n", view.Plural(n, "grant"))
		}
	}
	note(early, "Used before then too: %s. The times of single calls are not stored, so that all of their calls count.")
	note(others, "Used by others too: %s. Which rights were whose is not stored, so that all of their calls count.")
	note(cut, "With more callers than are stored: %s. They are left out, and may have been used by this user.")
	if s.format != "" {
		return o.writeObject(s.format, storedReport{list})
	}
	switch t := view.ObservedUsages(list, now); {
	case len(list) > 0:
		term.StyleOf(o.Out).WriteTable(o.Out, t.Header, t.Rows, !s.noHeaders)
	case all == 0:
		fmt.Fprintln(o.ErrOut, "No usage is stored: no observer has seen a grant. "+fromLog)
	default:
		fmt.Fprintf(o.ErrOut, "None of the grants that were observed (%d) was used so.\n", all)
	}
	return nil
}
