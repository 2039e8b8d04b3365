package plugin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

func (o *options) newListCommand() *cobra.Command {
	var everywhere, toApprove, all bool
	var out *output
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List my requests, or what waits for my decision",
		Long: `List the requests that you made and those that give you access, in all
namespaces or, with -n, in one.

Requests that have ended are left out; --all lists them too. With --to-approve,
list what waits for your decision instead.

If you may not list requests in all namespaces, only the current namespace is
searched, and a message says so. With -A this is an error.`,
		Example: `  # Mine, those that have ended too
  kubectl access list --all

  # What waits for me?
  kubectl access list --to-approve

  # In one namespace
  kubectl access list -n payments`,
		Annotations: map[string]string{roleAnnotation: "access-requester, or access-approver to decide,"},
		Args:        noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if toApprove && all {
				return usagef(cmd, "use --to-approve or --all, not both: a request that has ended waits for nobody")
			}
			printer, err := out.printer()
			if err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			me, err := c.me(cmd.Context())
			if err != nil {
				return err
			}
			// Without -n and -A: everywhere, if I may.
			ask := everywhere || *o.config.Namespace == ""
			requests, err := c.requests(cmd.Context(), ask)
			if ask && !everywhere && apierrors.IsForbidden(err) {
				ask = false
				if requests, err = c.requests(cmd.Context(), ask); err == nil {
					fmt.Fprintf(o.ErrOut, "You may not list requests in all namespaces: only namespace %s is searched. -n names another.\n", clean(c.namespace))
				}
			}
			if err != nil {
				return err
			}
			everywhere := ask
			requests = keep(requests, func(r *v1alpha1.AccessRequest) bool {
				if toApprove {
					return waitsForMe(r, me)
				}
				return mine(r, me) && (all || !r.Status.Phase.Ended())
			})
			if printer != nil {
				return out.list(printer, &v1alpha1.AccessRequestList{Items: requests}, o.Out)
			}
			if len(requests) == 0 {
				fmt.Fprintln(o.ErrOut, nothing(c.namespace, everywhere, toApprove))
				return nil
			}
			requestTable(requests, time.Now(), everywhere, toApprove, out.format() == "wide").write(o.Out, styleOf(o.Out), !out.noHeaders)
			return nil
		},
	}
	out = newOutput(cmd, "", "wide")
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "Search all namespaces, or fail.")
	cmd.Flags().BoolVar(&toApprove, "to-approve", false, "List what waits for your decision.")
	cmd.Flags().BoolVar(&all, "all", false, "List those that have ended, too.")
	return cmd
}

func nothing(namespace string, everywhere, toApprove bool) string {
	what := "You have no requests"
	if toApprove {
		what = "Nothing waits for your decision"
	}
	if everywhere {
		return what + "."
	}
	return what + " in namespace " + clean(namespace) + "."
}

// requestTable lists requests, the newest last.
func requestTable(requests []v1alpha1.AccessRequest, now time.Time, everywhere, toApprove, wide bool) table {
	slices.SortStableFunc(requests, func(a, b v1alpha1.AccessRequest) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	var t table
	if everywhere {
		t.header = append(t.header, "NAMESPACE")
	}
	t.header = append(t.header, "NAME", "REQUESTER", "ROLE", "SCOPE", "FOR", "PHASE", "AGE")
	if toApprove {
		t.header = append(t.header, "REASON")
	} else {
		t.header = append(t.header, "EXPIRES")
	}
	if wide {
		t.header = append(t.header, "SUBJECTS", "POLICY", "TICKET")
		if !toApprove {
			t.header = append(t.header, "REASON")
		}
		t.header = append(t.header, "STATE")
	}
	for i := range requests {
		r := &requests[i]
		var row []string
		if everywhere {
			row = append(row, r.Namespace)
		}
		row = append(row, r.Name, r.Spec.Requester.Username, text.Role(r.Spec.RoleRef), text.Scope(r.Namespace, r.Spec.Scope), durationOf(&r.Spec), phaseOf(r), ago(r.CreationTimestamp.Time, now))
		if toApprove {
			row = append(row, r.Spec.Reason)
		} else {
			row = append(row, expiresOf(r, now))
		}
		if wide {
			policy := ""
			if r.Status.Policy != nil {
				policy = r.Status.Policy.Name
			}
			row = append(row, strings.Join(text.Subjects(identity.Subjects(&r.Spec)), ","), policy, r.Spec.Ticket)
			if !toApprove {
				row = append(row, r.Spec.Reason)
			}
			row = append(row, progress(r, now))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func phaseOf(r *v1alpha1.AccessRequest) string {
	if r.Status.Phase == "" {
		return string(v1alpha1.RequestPending)
	}
	return string(r.Status.Phase)
}

func durationOf(spec *v1alpha1.AccessRequestSpec) string {
	var parts []string
	if spec.Duration != nil {
		parts = append(parts, text.Duration(spec.Duration.Duration))
	}
	if spec.Task != nil {
		parts = append(parts, strings.ToLower(spec.Task.Kind)+"/"+spec.Task.Name)
	}
	return strings.Join(parts, ", ")
}

func expiresOf(r *v1alpha1.AccessRequest, now time.Time) string {
	if r.Status.ExpirationTime == nil {
		return ""
	}
	if r.Status.Phase.Ended() {
		return text.Moment(r.Status.ExpirationTime.Time)
	}
	return left(r.Status.ExpirationTime.Time, now)
}
