package plugin

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

func (o *options) newAuditCommand() *cobra.Command {
	var f auditFilter
	var since string
	var out *output
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "List who had which access, when, why and by whose decision",
		Long: `List who had which access, when, why and by whose decision, the newest last.

The columns of -o csv and the fields of -o jsonl are the same; times are in UTC.
In -o csv a text that a spreadsheet would take for a formula begins with a '.
-n picks the access that holds in a namespace, cluster-wide access included.`,
		Example: `  # Who has access at this moment?
  kubectl access audit --active

  # All that alice had in payments in the last week
  kubectl access audit --user alice -n payments --since 7d

  # For a spreadsheet, for a log system
  kubectl access audit --since 30d -o csv > access.csv
  kubectl access audit --since 30d -o jsonl | jq 'select(.role == "ClusterRole/admin")'`,
		Annotations: map[string]string{roleAnnotation: "access-auditor"},
		Args:        noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			if since != "" {
				var err error
				if f.since, err = parseSince(since, now); err != nil {
					return usagef(cmd, "--since: %w", err)
				}
			}
			f.namespace = *o.config.Namespace
			c, err := o.connect()
			if err != nil {
				return err
			}
			grants, err := c.grants(cmd.Context())
			if err != nil {
				return err
			}
			grants = keep(grants, f.match)
			slices.SortStableFunc(grants, func(a, b v1alpha1.AccessGrant) int { return given(&a).Compare(given(&b)) })
			return o.writeAudit(grants, now, out)
		},
	}
	out = newOutput(cmd, "", "wide", "csv", "jsonl")
	cmd.Flags().StringVar(&f.user, "user", "", "Only what this user asked for or got: NAME, group:NAME or sa:NAMESPACE/NAME.")
	cmd.Flags().StringVar(&f.role, "role", "", "Only this role: NAME, Role/NAME or ClusterRole/NAME.")
	cmd.Flags().BoolVar(&f.active, "active", false, "Only what is held at this moment.")
	cmd.Flags().StringVar(&since, "since", "", "Only what was held at or after this: 24h, 7d, or a time such as 2026-05-04T10:00:00Z.")
	complete(cmd, "since", fixed("24h", "7d", "30d"))
	complete(cmd, "user", fixed())
	complete(cmd, "role", o.completeRoles)
	return cmd
}

func (o *options) writeAudit(grants []v1alpha1.AccessGrant, now time.Time, out *output) error {
	switch out.format() {
	case "csv":
		return writeCSV(o.Out, grants, !out.noHeaders)
	case "jsonl":
		return writeLines(o.Out, grants)
	}
	return o.printList(out, &v1alpha1.AccessGrantList{Items: grants}, grantTable(grants, now, out.format() == "wide"),
		"No such access is on record.")
}

// auditFilter picks grants; what is empty picks all.
type auditFilter struct {
	user, namespace, role string
	since                 time.Time
	active                bool
}

func (f auditFilter) match(g *v1alpha1.AccessGrant) bool {
	if f.active && g.Status.Phase != v1alpha1.GrantActive {
		return false
	}
	if g.Status.EndedTime != nil && g.Status.EndedTime.Time.Before(f.since) {
		return false
	}
	if f.role != "" && f.role != g.Spec.Summary.Role && (g.Spec.RoleRef == nil || f.role != g.Spec.RoleRef.Name) {
		return false
	}
	if f.namespace != "" && !g.Spec.Cluster && !slices.ContainsFunc(g.Spec.Namespaces, func(n v1alpha1.GrantNamespace) bool { return n.Name == f.namespace }) {
		return false
	}
	return f.user == "" || f.isAbout(g)
}

func (f auditFilter) isAbout(g *v1alpha1.AccessGrant) bool {
	is := func(s v1alpha1.Subject) bool {
		username, _ := identity.Username(s)
		return f.user == text.Subject(s) || f.user == username
	}
	return is(identity.SubjectOf(g.Spec.Requester)) ||
		slices.ContainsFunc(g.Spec.Subjects, func(s v1alpha1.GrantSubject) bool { return is(s.Subject) })
}

// given is when the access was given.
func given(g *v1alpha1.AccessGrant) time.Time {
	if g.Status.GrantedTime != nil {
		return g.Status.GrantedTime.Time
	}
	return g.Spec.NotBefore.Time
}

func grantTable(grants []v1alpha1.AccessGrant, now time.Time, wide bool) table {
	return tableOf(grants, func(g *v1alpha1.AccessGrant) []cell {
		end := left(g.Spec.ExpirationTime.Time, now)
		if g.Status.EndedTime != nil {
			end = text.Moment(g.Status.EndedTime.Time)
		}
		row := []cell{
			{"GIVEN", text.Moment(given(g))},
			{"REQUESTER", g.Spec.Requester.Username},
			{"SUBJECTS", g.Spec.Summary.Subjects},
			{"ROLE", g.Spec.Summary.Role},
			{"SCOPE", g.Spec.Summary.Scope},
			{"PHASE", string(g.Status.Phase)},
			{"ENDED", end},
			{"WHY", string(g.Status.EndReason)},
			{"APPROVED BY", g.Spec.Summary.Approvers},
		}
		if wide {
			row = append(row,
				cell{"POLICY", g.Spec.PolicyRef.Name},
				cell{"TICKET", g.Spec.Ticket},
				cell{"REASON", g.Spec.Reason},
				cell{"GRANT", g.Name})
		}
		return row
	})
}

// record is one grant for programs. The order is that of the columns.
type record struct {
	Given      string   `json:"given"`
	Requester  string   `json:"requester"`
	Subjects   []string `json:"subjects"`
	Role       string   `json:"role"`
	Cluster    bool     `json:"cluster"`
	Namespaces []string `json:"namespaces,omitempty"`
	Phase      string   `json:"phase"`
	Expires    string   `json:"expires"`
	Ended      string   `json:"ended,omitempty"`
	EndReason  string   `json:"endReason,omitempty"`
	EndedBy    string   `json:"endedBy,omitempty"`
	// Removed is the condition AccessRemoved: True when the API server was
	// asked and the access was gone.
	Removed    string   `json:"accessRemoved,omitempty"`
	Standing   string   `json:"standingAccess,omitempty"`
	ApprovedBy []string `json:"approvedBy,omitempty"`
	Policy     string   `json:"policy"`
	Ticket     string   `json:"ticket,omitempty"`
	Reason     string   `json:"reason"`
	Request    string   `json:"request"`
	Grant      string   `json:"grant"`
}

var recordColumns = []string{
	"given", "requester", "subjects", "role", "cluster", "namespaces", "phase", "expires", "ended", "endReason", "endedBy",
	"accessRemoved", "standingAccess", "approvedBy", "policy", "ticket", "reason", "request", "grant",
}

func recordOf(g *v1alpha1.AccessGrant) record {
	r := record{
		Given: text.Moment(given(g)), Requester: g.Spec.Requester.Username, Role: g.Spec.Summary.Role, Cluster: g.Spec.Cluster,
		Subjects:   each(g.Spec.Subjects, func(s v1alpha1.GrantSubject) string { return text.Subject(s.Subject) }),
		Namespaces: each(g.Spec.Namespaces, func(n v1alpha1.GrantNamespace) string { return n.Name }),
		ApprovedBy: each(g.Spec.Decisions, func(d v1alpha1.Decision) string { return d.Username }),
		Phase:      cmp.Or(string(g.Status.Phase), string(v1alpha1.GrantPending)), Expires: text.Moment(g.Spec.ExpirationTime.Time),
		EndReason: string(g.Status.EndReason), EndedBy: g.Status.EndedBy,
		Removed: string(conditionOf(g.Status.Conditions, v1alpha1.ConditionAccessRemoved).Status),
		Policy:  g.Spec.PolicyRef.Name, Ticket: g.Spec.Ticket, Reason: g.Spec.Reason,
		Request: g.Spec.RequestRef.Namespace + "/" + g.Spec.RequestRef.Name, Grant: g.Name,
	}
	if g.Status.EndedTime != nil {
		r.Ended = text.Moment(g.Status.EndedTime.Time)
	}
	if c := conditionOf(g.Status.Conditions, v1alpha1.ConditionStandingAccess); c.Status == metav1.ConditionTrue {
		r.Standing = c.Message
	}
	return r
}

func (r record) row() []string {
	return []string{
		r.Given, r.Requester, strings.Join(r.Subjects, "; "), r.Role, fmt.Sprint(r.Cluster), strings.Join(r.Namespaces, "; "),
		r.Phase, r.Expires, r.Ended, r.EndReason, r.EndedBy, r.Removed, r.Standing, strings.Join(r.ApprovedBy, "; "),
		r.Policy, r.Ticket, r.Reason, r.Request, r.Grant,
	}
}

func writeCSV(w io.Writer, grants []v1alpha1.AccessGrant, headers bool) error {
	var rows [][]string
	if headers {
		rows = append(rows, recordColumns)
	}
	for i := range grants {
		rows = append(rows, each(recordOf(&grants[i]).row(), text.Cell))
	}
	return csv.NewWriter(w).WriteAll(rows)
}

// writeLines writes a JSON object a line.
func writeLines(w io.Writer, grants []v1alpha1.AccessGrant) error {
	out := json.NewEncoder(w)
	for i := range grants {
		if err := out.Encode(recordOf(&grants[i])); err != nil {
			return err
		}
	}
	return nil
}
