package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// usageOptions are the flags of usage.
type usageOptions struct {
	logs                       []string
	user, grant, binding       string
	since, format              string
	all, noHeaders             bool
	bindingNamespace, bindName string
}

func (o *options) newUsageCommand() *cobra.Command {
	var u usageOptions
	cmd := &cobra.Command{
		Use:   "usage [GRANT|REQUEST] [--audit-log FILE]",
		Short: "Tell what access was used for",
		Long: `Tell what access was used for.

An observer stores it for each grant, in AccessUsages: name a grant, or a request of
the namespace, for all that is known of it, or none for a list, with -n of what was used
in that namespace. What was not observed is not told, and the window in which it was
observed is. --user and --since pick the grants that this user used, or that were used
since then, with all that they were used for; the times of single calls are not stored,
and neither is which right whose call used.

With --audit-log it reads an audit log, call by call, and needs no cluster. Without
a grant, a binding or a user, it lists what each grant was used for. A grant is known
by the name of its binding, which the API server writes into the log with each call
that the binding allowed. Refused calls name no binding: --user shows them.

FILE may be an audit log (events of audit.k8s.io/v1), what the webhook backend
sends, what aws logs filter-log-events or gcloud logging read print, what Azure
puts into storage or an Event Hub, or JSON lines in which a shipper wrapped the
events; also compressed by gzip. - is standard input. Several --audit-log add up,
and an event that is in more than one of them counts once.

What is not in the log is not known: see which stages and levels your audit policy
writes.`,
		Example: `  # What was each grant used for, and this one, as an observer saw it?
  kubectl access usage
  kubectl access usage edit-x7k2p -n payments

  # What was each grant used for, by an audit log?
  kubectl access usage --audit-log /var/log/kubernetes/audit.log

  # What did alice do in the last day, by any access?
  kubectl access usage --audit-log audit.log --user alice --since 24h

  # One grant, from the logs of three API servers
  kubectl access usage --audit-log a.log --audit-log b.log --audit-log c.log.gz --grant edit-x7k2p-93a9a96315c30a04

  # EKS and GKE
  aws logs filter-log-events --log-group-name /aws/eks/prod/cluster --log-stream-name-prefix kube-apiserver-audit |
    kubectl access usage --audit-log -
  gcloud logging read 'protoPayload.serviceName="k8s.io"' --format json | kubectl access usage --audit-log -`,
		Annotations: map[string]string{roleAnnotation: "access-auditor"},
		Args:        oneName("grant or request", 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			if err := u.check(cmd); err != nil {
				return err
			}
			if len(u.logs) == 0 {
				stored, err := u.stored(cmd, args, now)
				if err != nil {
					return err
				}
				stored.namespace = *o.config.Namespace
				return o.showStored(cmd.Context(), stored, now)
			}
			if len(args) > 0 {
				return usagef(cmd, "with --audit-log, name the grant with --grant")
			}
			found, err := o.collect(cmd, &u, now)
			if err != nil {
				return err
			}
			return o.writeUsage(&u, found, now)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&u.logs, "audit-log", nil, "Read this audit log, and not what is stored; - is standard input. May be repeated.")
	f.StringVar(&u.user, "user", "", "Only what this user did, or somebody in their name: NAME or sa:NAMESPACE/NAME.")
	f.StringVar(&u.grant, "grant", "", "Only what this grant was used for.")
	f.StringVar(&u.binding, "binding", "", "Only what this binding allowed: NAMESPACE/NAME, or NAME of a ClusterRoleBinding.")
	f.StringVar(&u.since, "since", "", "Only calls, or grants that were used, at or after this: 24h, 7d, or a time such as 2026-05-04T10:00:00Z.")
	f.BoolVar(&u.all, "all", false, "List all bindings that the log names, not only those of grants.")
	f.StringVarP(&u.format, "output", "o", "", "Output format: json, yaml.")
	f.BoolVar(&u.noHeaders, "no-headers", false, "Leave the headers out of tables.")
	cmd.MarkFlagsMutuallyExclusive("grant", "binding")
	complete(cmd, "output", fixed("json", "yaml"))
	complete(cmd, "since", fixed("24h", "7d", "30d"))
	complete(cmd, "user", fixed())
	complete(cmd, "binding", fixed())
	complete(cmd, "grant", o.completeGrants)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 || len(u.logs) > 0 {
			return nil, noFiles
		}
		return o.completeGrants(cmd, args, typed)
	}
	return cmd
}

func (u *usageOptions) check(cmd *cobra.Command) error {
	if u.format != "" && u.format != "json" && u.format != "yaml" {
		return hintf("Use json or yaml.", "unknown output format %q", u.format)
	}
	var err error
	if u.user, err = asking.User(u.user); err != nil {
		return usagef(cmd, "--user: %w", err)
	}
	if u.bindingNamespace, u.bindName, err = asking.Binding(u.binding); err != nil {
		return usagef(cmd, "--binding: %w", err)
	}
	return nil
}

// completeGrants offers the grants of the cluster to those who may see them.
func (o *options) completeGrants(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.lookUp(cmd, func(ctx context.Context, c *cluster.Client) ([]string, error) {
		grants, err := c.Grants(ctx)
		return view.Each(grants, func(g v1alpha1.AccessGrant) string {
			return described(g.Name, g.Spec.Summary.Subjects+", "+g.Spec.Summary.Role+" in "+g.Spec.Summary.Scope)
		}), err
	})
}

func (o *options) writeUsage(u *usageOptions, found *usages, now time.Time) error {
	list := found.list()
	if u.format != "" {
		return o.writeObject(u.format, usageReport{Events: found.events, Skipped: found.skipped, Usage: list})
	}
	if n := found.skipped.Broken + found.skipped.TooLong; n > 0 {
		fmt.Fprintf(o.ErrOut, "%s could not be read: %d not whole, %d too long. What they tell counts nowhere.\n", view.Plural(n, "event"), found.skipped.Broken, found.skipped.TooLong)
	}
	style := term.StyleOf(o.Out)
	if u.details() {
		fmt.Fprint(o.Out, usagePage(view.PageOfUsage(list[0], now), style))
		return nil
	}
	switch t := view.Usages(list, now); {
	case len(list) > 0:
		style.WriteTable(o.Out, t.Header, t.Rows, !u.noHeaders)
	case u.all:
		fmt.Fprintln(o.ErrOut, "The log names no binding that allowed a call.")
	default:
		fmt.Fprintln(o.ErrOut, "The log names no grant that allowed a call.")
	}
	if found.others > 0 && !u.all {
		fmt.Fprintf(o.ErrOut, "By bindings that are not of grants: %s; --all lists them.\n", view.Plural(found.others, "call"))
	}
	if found.left > 0 {
		fmt.Fprintf(o.ErrOut, "By bindings that are not listed, because there are too many: %s.\n", view.Plural(found.left, "call"))
	}
	return nil
}

// usagePage lays out what there is to know of the use of access.
func usagePage(p view.Page, s term.Style) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\n", s.Paint(term.Bold, term.Clean(p.Name)))
	layOut(&out, p, s)
	return out.String()
}

// usageReport is what -o json and yaml print.
type usageReport struct {
	Events  int           `json:"events"`
	Skipped usage.Skipped `json:"skipped"`
	Usage   []view.Usage  `json:"usage"`
}

func (o *options) writeObject(format string, report any) error {
	text, err := json.MarshalIndent(report, "", "    ")
	if err == nil && format == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(o.Out, strings.TrimSuffix(string(text), "\n"))
	return nil
}
