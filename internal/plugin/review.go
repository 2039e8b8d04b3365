package plugin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

func (o *options) newReviewCommand() *cobra.Command {
	var everywhere bool
	var comment string
	var out *output
	cmd := &cobra.Command{
		Use:   "review [NAME]",
		Short: "Look back at access that has ended: list what waits for me, or write a review",
		Long: `Look back at access that has ended.

Some policies want somebody who may decide, and did not benefit, to look at what was
done with the access after its end. Without a name, list what waits for your review, in
all namespaces or, with -n, in one.

With a name and a comment, show the request and what the access was used for, as far as
an observer saw it and you may read it, and write your review into it. It says what you
found, and nobody takes it back. While a review is overdue, the requester gets nothing
more under the same policy.`,
		Example: `  # What waits for my review?
  kubectl access review

  # I have looked at it
  kubectl access review night-x7k2p -n payments -m "restarted the consumers, nothing else"`,
		Annotations:       map[string]string{roleAnnotation: "access-approver"},
		Args:              oneName("request", 0),
		ValidArgsFunction: o.completeRequests(view.ToReview),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		named := len(args) > 0
		if err := asking.CheckLine("--comment", comment, asking.MaxComment); err != nil {
			return usagef(cmd, "%w", err)
		}
		switch blank := strings.TrimSpace(comment) == ""; {
		case named && blank:
			return usagef(cmd, "say with --comment what you found")
		case !named && !blank:
			return usagef(cmd, "name the request that you have reviewed")
		case named && everywhere:
			return usagef(cmd, "name a request, or list all with -A")
		}
		c, err := cluster.Connect(o.config)
		if err != nil {
			return err
		}
		me, err := c.Me(cmd.Context())
		if err != nil {
			return err
		}
		if named {
			return o.writeReview(cmd.Context(), c, me, args[0], comment, out)
		}
		return o.listReviews(cmd.Context(), c, me, everywhere, out)
	}
	out = newOutput(cmd, "reviewed", "wide")
	cmd.Flags().StringVarP(&comment, "comment", "m", "", "What you found.")
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "Search all namespaces, or fail.")
	complete(cmd, "comment", fixed())
	return cmd
}

// writeReview shows a request and adds my review to it.
func (o *options) writeReview(ctx context.Context, c *cluster.Client, me v1alpha1.UserInfo, name, comment string, out *output) error {
	request, err := c.Request(ctx, name)
	if err != nil {
		return err
	}
	now := time.Now()
	shown := o.Out
	if out.printer != nil {
		shown = o.ErrOut
	}
	p := view.PageOf(request, now)
	used, g, err := c.UsageOfRequest(ctx, request)
	if err != nil {
		return err
	}
	p.Tell(used, g, view.RulesOfRequest(request), now)
	fmt.Fprintln(shown, page(p, term.StyleOf(shown)))
	reviewed, already, err := c.Decide(ctx, request, me, v1alpha1.VerdictReview, comment)
	if err != nil {
		return err
	}
	if out.printer != nil {
		return out.printer.PrintObj(reviewed, o.Out)
	}
	done := "reviewed"
	if already {
		done = "already reviewed by you"
	}
	fmt.Fprintf(o.Out, "accessrequest.%s/%s %s\n", v1alpha1.GroupVersion.Group, request.Name, done)
	return nil
}

// listReviews lists what waits for my review.
func (o *options) listReviews(ctx context.Context, c *cluster.Client, me v1alpha1.UserInfo, everywhere bool, out *output) error {
	namespace := metav1.NamespaceAll
	if !everywhere && *o.config.Namespace != "" {
		namespace = c.Namespace
	}
	requests, err := c.Requests(ctx, namespace)
	if namespace == metav1.NamespaceAll && !everywhere && apierrors.IsForbidden(err) {
		namespace = c.Namespace
		if requests, err = c.Requests(ctx, namespace); err == nil {
			fmt.Fprintf(o.ErrOut, "You may not list requests in all namespaces: only namespace %s is searched. -n names another.\n", term.Clean(c.Namespace))
		}
	}
	if err != nil {
		return err
	}
	requests = view.Keep(requests, func(r *v1alpha1.AccessRequest) bool { return view.ToReview(r, me) })
	nothing := "Nothing waits for your review"
	if namespace != metav1.NamespaceAll {
		nothing += " in namespace " + term.Clean(namespace)
	}
	return o.printList(out, &v1alpha1.AccessRequestList{Items: requests},
		view.Reviews(requests, time.Now(), namespace == metav1.NamespaceAll, out.format() == "wide"), nothing+".")
}
