package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

func (o *options) newAuditCommand() *cobra.Command {
	var f view.Filter
	var since, until string
	var out *output
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "List who had which access, when, why and by whose decision",
		Long: `List who had which access, when, why and by whose decision, the newest last.

Where an observer runs, CALLS and SUSPICIOUS tell what the access was used for; -o wide
has more of it. Nothing there means that nobody observed it, not that there was none.

The columns of -o csv and the fields of -o jsonl are the same; times are in UTC.
In -o csv a text that a spreadsheet would take for a formula begins with a '.
-n picks the access that holds in a namespace, cluster-wide access included.`,
		Example: `  # Who has access at this moment?
  kubectl access audit --active

  # All that alice had in payments in the last week
  kubectl access audit --user alice -n payments --since 7d

  # Who had access under the policy break-glass in May?
  kubectl access audit --policy break-glass --since 2026-05-01 --until 2026-05-31

  # For a spreadsheet, for a log system
  kubectl access audit --since 30d -o csv > access.csv
  kubectl access audit --since 30d -o jsonl | jq 'select(.role == "ClusterRole/admin")'`,
		Annotations: map[string]string{roleAnnotation: "access-auditor"},
		Args:        noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			var err error
			if since != "" {
				if f.Since, err = asking.Since(since, now); err != nil {
					return usagef(cmd, "--since: %w", err)
				}
			}
			if until != "" {
				if f.Until, err = asking.Until(until, now); err != nil {
					return usagef(cmd, "--until: %w", err)
				}
				if f.Until.Before(f.Since) {
					return usagef(cmd, "--until is before --since: nothing was held then")
				}
			}
			f.Namespace = *o.config.Namespace
			c, err := cluster.Connect(o.config)
			if err != nil {
				return err
			}
			grants, err := c.Grants(cmd.Context())
			if err != nil {
				return err
			}
			grants = view.Keep(grants, f.Picks)
			slices.SortStableFunc(grants, func(a, b v1alpha1.AccessGrant) int { return view.Given(&a).Compare(view.Given(&b)) })
			used, err := o.usesOf(cmd.Context(), c, grants, out)
			if err != nil {
				return err
			}
			return o.writeAudit(grants, used, now, out)
		},
	}
	out = newOutput(cmd, "", "wide", "csv", "jsonl")
	cmd.Flags().StringVar(&f.User, "user", "", "Only what this user asked for or got: NAME, group:NAME or sa:NAMESPACE/NAME.")
	cmd.Flags().StringVar(&f.Role, "role", "", "Only this role: NAME, Role/NAME or ClusterRole/NAME.")
	cmd.Flags().BoolVar(&f.Active, "active", false, "Only what is held at this moment.")
	cmd.Flags().StringVar(&f.Policy, "policy", "", "Only what this policy allowed.")
	cmd.Flags().StringVar(&since, "since", "", "Only what was held at or after this: 24h, 7d, a day such as 2026-05-04, or a time such as 2026-05-04T10:00:00Z.")
	cmd.Flags().StringVar(&until, "until", "", "Only what was given at or before this, written like --since; of a day, its end.")
	complete(cmd, "since", fixed("24h", "7d", "30d"))
	complete(cmd, "until", fixed("24h", "7d", "30d"))
	complete(cmd, "policy", o.completePolicies)
	complete(cmd, "user", fixed())
	complete(cmd, "role", o.completeRoles)
	return cmd
}

// usesOf reads what was observed of the use of these grants, where we may.
func (o *options) usesOf(ctx context.Context, c *cluster.Client, grants []v1alpha1.AccessGrant, out *output) (map[string]view.Use, error) {
	if out.printer != nil {
		return nil, nil
	}
	used := map[string]view.Use{}
	err := c.UsagesOf(ctx, view.Refs(grants), func(u *v1alpha1.AccessUsage) { used[u.Name] = view.UseOf(&u.Status) })
	switch {
	case apierrors.IsForbidden(err):
		fmt.Fprintln(o.ErrOut, "You may not read AccessUsages: what the access was used for is left out.")
	case err != nil && !cluster.NotTold(err):
		return nil, err
	}
	return used, nil
}

func (o *options) writeAudit(grants []v1alpha1.AccessGrant, used map[string]view.Use, now time.Time, out *output) error {
	switch out.format() {
	case "csv":
		return view.WriteCSV(o.Out, view.Refs(grants), used, !out.noHeaders)
	case "jsonl":
		return writeLines(o.Out, grants, used)
	}
	return o.printList(out, &v1alpha1.AccessGrantList{Items: grants}, view.Grants(grants, used, now, out.format() == "wide"),
		"No such access is on record.")
}

// writeLines writes a JSON object a line.
func writeLines(w io.Writer, grants []v1alpha1.AccessGrant, used map[string]view.Use) error {
	out := json.NewEncoder(w)
	for i := range grants {
		if err := out.Encode(record(&grants[i], used)); err != nil {
			return err
		}
	}
	return nil
}

func record(g *v1alpha1.AccessGrant, used map[string]view.Use) view.Record {
	u, observed := used[g.Name]
	return view.RecordOf(g, u, observed)
}
