package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

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
			c, err := o.connect()
			if err != nil {
				return err
			}
			me, err := c.me(cmd.Context())
			if err != nil {
				return err
			}
			// Without -n and -A: everywhere, if I may.
			namespace := metav1.NamespaceAll
			if !everywhere && *o.config.Namespace != "" {
				namespace = c.namespace
			}
			requests, err := c.requests(cmd.Context(), namespace)
			if namespace == metav1.NamespaceAll && !everywhere && apierrors.IsForbidden(err) {
				namespace = c.namespace
				if requests, err = c.requests(cmd.Context(), namespace); err == nil {
					fmt.Fprintf(o.ErrOut, "You may not list requests in all namespaces: only namespace %s is searched. -n names another.\n", clean(c.namespace))
				}
			}
			if err != nil {
				return err
			}
			requests = keep(requests, func(r *v1alpha1.AccessRequest) bool {
				if toApprove {
					return waitsForMe(r, me)
				}
				return mine(r, me) && (all || !r.Status.Phase.Ended())
			})
			return o.printList(out, &v1alpha1.AccessRequestList{Items: requests},
				requestTable(requests, time.Now(), namespace == metav1.NamespaceAll, toApprove, out.format() == "wide"),
				nothing(namespace, toApprove))
		},
	}
	out = newOutput(cmd, "", "wide")
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "Search all namespaces, or fail.")
	cmd.Flags().BoolVar(&toApprove, "to-approve", false, "List what waits for your decision.")
	cmd.Flags().BoolVar(&all, "all", false, "List those that have ended, too.")
	return cmd
}

func nothing(namespace string, toApprove bool) string {
	what := "You have no requests"
	if toApprove {
		what = "Nothing waits for your decision"
	}
	if namespace != metav1.NamespaceAll {
		what += " in namespace " + clean(namespace)
	}
	return what + "."
}

// requestTable lists requests, the newest last.
func requestTable(requests []v1alpha1.AccessRequest, now time.Time, everywhere, toApprove, wide bool) table {
	byAge := slices.SortedStableFunc(slices.Values(requests), func(a, b v1alpha1.AccessRequest) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return tableOf(byAge, func(r *v1alpha1.AccessRequest) []cell {
		var row []cell
		add := func(when bool, header, value string) {
			if when {
				row = append(row, cell{header, value})
			}
		}
		add(everywhere, "NAMESPACE", r.Namespace)
		add(true, "NAME", r.Name)
		add(true, "REQUESTER", r.Spec.Requester.Username)
		add(true, "ROLE", text.Role(r.Spec.RoleRef))
		add(true, "SCOPE", text.Scope(r.Namespace, r.Spec.Scope))
		add(true, "FOR", durationOf(&r.Spec))
		add(true, "PHASE", phaseOf(r))
		add(true, "AGE", ago(r.CreationTimestamp.Time, now))
		add(toApprove, "REASON", r.Spec.Reason)
		add(!toApprove, "EXPIRES", expiresOf(r, now))
		add(wide, "SUBJECTS", strings.Join(text.Subjects(identity.Subjects(&r.Spec)), ","))
		add(wide, "POLICY", ptr.Deref(r.Status.Policy, v1alpha1.PolicyRef{}).Name)
		add(wide, "TICKET", r.Spec.Ticket)
		add(wide && !toApprove, "REASON", r.Spec.Reason)
		add(wide, "STATE", progress(r, now))
		return row
	})
}

func phaseOf(r *v1alpha1.AccessRequest) string {
	return string(cmp.Or(r.Status.Phase, v1alpha1.RequestPending))
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
