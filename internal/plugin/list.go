package plugin

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
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
			c, err := cluster.Connect(o.config)
			if err != nil {
				return err
			}
			me, err := c.Me(cmd.Context())
			if err != nil {
				return err
			}
			// Without -n and -A: everywhere, if I may.
			namespace := metav1.NamespaceAll
			if !everywhere && *o.config.Namespace != "" {
				namespace = c.Namespace
			}
			requests, err := c.Requests(cmd.Context(), namespace)
			if namespace == metav1.NamespaceAll && !everywhere && apierrors.IsForbidden(err) {
				namespace = c.Namespace
				if requests, err = c.Requests(cmd.Context(), namespace); err == nil {
					fmt.Fprintf(o.ErrOut, "You may not list requests in all namespaces: only namespace %s is searched. -n names another.\n", term.Clean(c.Namespace))
				}
			}
			if err != nil {
				return err
			}
			requests = view.Keep(requests, func(r *v1alpha1.AccessRequest) bool {
				if toApprove {
					return view.WaitsForMe(r, me)
				}
				return view.Mine(r, me) && (all || !r.Status.Phase.Ended())
			})
			return o.printList(out, &v1alpha1.AccessRequestList{Items: requests},
				view.Requests(requests, time.Now(), namespace == metav1.NamespaceAll, toApprove, out.format() == "wide"),
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
		what += " in namespace " + term.Clean(namespace)
	}
	return what + "."
}
