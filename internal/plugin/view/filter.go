package view

import (
	"encoding/csv"
	"io"
	"slices"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Filter picks grants; what is empty picks all.
type Filter struct {
	// User who asked or got it: as the API server names them, or as they are shown.
	User string
	// Namespace in which it holds, cluster-wide access included.
	Namespace string
	// Role is NAME, Role/NAME or ClusterRole/NAME.
	Role   string
	Policy string
	// Since and Until are the window in which it was held, for a moment at least.
	Since, Until time.Time
	// Outcome is how it ended.
	Outcome Outcome
	// Active is what is held now.
	Active bool
}

// Picks tells whether the filter picks a grant.
func (f Filter) Picks(g *v1alpha1.AccessGrant) bool {
	switch {
	case f.Active && g.Status.Phase != v1alpha1.GrantActive,
		f.Outcome != "" && f.Outcome != OutcomeOf(g),
		f.Policy != "" && f.Policy != g.Spec.PolicyRef.Name,
		f.Role != "" && f.Role != g.Spec.Summary.Role && (g.Spec.RoleRef == nil || f.Role != g.Spec.RoleRef.Name):
		return false
	case g.Status.EndedTime != nil && g.Status.EndedTime.Time.Before(f.Since),
		!f.Until.IsZero() && Given(g).After(f.Until):
		return false
	}
	if f.Namespace != "" && !g.Spec.Cluster && !slices.ContainsFunc(g.Spec.Namespaces, func(n v1alpha1.GrantNamespace) bool { return n.Name == f.Namespace }) {
		return false
	}
	return f.User == "" || f.isAbout(g)
}

func (f Filter) isAbout(g *v1alpha1.AccessGrant) bool {
	is := func(s v1alpha1.Subject) bool {
		username, _ := identity.Username(s)
		return f.User == text.Subject(s) || f.User == username
	}
	return is(identity.SubjectOf(g.Spec.Requester)) ||
		slices.ContainsFunc(g.Spec.Subjects, func(s v1alpha1.GrantSubject) bool { return is(s.Subject) })
}

// WriteCSV writes a record a line, for a spreadsheet.
func WriteCSV(w io.Writer, grants []*v1alpha1.AccessGrant, used map[string]Use, headers bool) error {
	out := csv.NewWriter(w)
	if headers {
		if err := out.Write(RecordColumns); err != nil {
			return err
		}
	}
	for _, g := range grants {
		u, observed := used[g.Name]
		if err := out.Write(Each(RecordOf(g, u, observed).Row(), text.Cell)); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
