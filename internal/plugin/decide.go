package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

// deciding is a verdict, and what its command differs in.
type deciding struct {
	verdict v1alpha1.Verdict
	done    string
	// review: the request is shown first, and an approval is confirmed.
	review bool
	// open tells which requests to offer in completion.
	open                       func(*v1alpha1.AccessRequest, v1alpha1.UserInfo) bool
	role, short, long, example string
}

var verdicts = []deciding{
	{
		verdict: v1alpha1.VerdictApprove, done: "approved", review: true, open: view.WaitsForMe, role: "access-approver",
		short: "Approve a request",
		long: `Approve a request after you have seen it.

You approve what is shown: if the role or the request has changed by the time
the approval arrives, the approval does not count. On a terminal you are asked
to confirm; a script, whose input is not a terminal, is not asked.`,
		example: `  kubectl access approve edit-x7k2p -n payments -m "go ahead"

  # For less time than was asked for
  kubectl access approve edit-x7k2p -n payments --at-most 30m
  kubectl access approve edit-x7k2p -n payments --until 2026-05-04T18:00:00Z

  # Without the question
  kubectl access approve edit-x7k2p -n payments --yes`,
	},
	{
		verdict: v1alpha1.VerdictDeny, done: "denied", review: true, open: view.Deniable, role: "access-approver",
		short:   "Deny a request",
		long:    "Deny a request. One Deny ends it, no matter who has approved.",
		example: `  kubectl access deny edit-x7k2p -n payments -m "use the read-only role"`,
	},
	{
		verdict: v1alpha1.VerdictRevoke, done: "revoked", open: view.Revocable, role: "access-approver",
		short:   "Take access away, as an approver",
		example: `  kubectl access revoke edit-x7k2p -n payments -m "the incident is over"`,
	},
	{
		verdict: v1alpha1.VerdictRelease, done: "released", open: view.Mine, role: "access-requester",
		short:   "Give access back, or withdraw a request",
		example: `  kubectl access release edit-x7k2p -n payments`,
	},
}

func (o *options) newDecideCommand(d deciding) *cobra.Command {
	var comment, atMost, until string
	var yes bool
	var out *output
	cmd := &cobra.Command{
		Use:         strings.ToLower(string(d.verdict)) + " NAME",
		Short:       d.short,
		Long:        d.long,
		Example:     d.example,
		Annotations: map[string]string{roleAnnotation: d.role},
		Args:        oneName("request", 1),
		ValidArgsFunction: o.completeRequests(func(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
			return !r.Status.Phase.Ended() && d.open(r, me)
		}),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if err := asking.CheckLine("--comment", comment, asking.MaxComment); err != nil {
			return usagef(cmd, "%w", err)
		}
		limits, err := limitsOf(atMost, until, time.Now())
		if err != nil {
			return usagef(cmd, "%w", err)
		}
		c, err := cluster.Connect(o.config)
		if err != nil {
			return err
		}
		request, err := c.Request(ctx, args[0])
		if err != nil {
			return err
		}
		if request.Status.Phase.Ended() {
			return fmt.Errorf("%s is over: %s", request.Name, view.Progress(request, time.Now()))
		}
		if d.review {
			if err := o.review(ctx, request, d.verdict, yes, out.printer != nil); err != nil {
				return err
			}
		}
		me, err := c.Me(ctx)
		if err != nil {
			return err
		}
		decided, already, err := c.Decide(ctx, request, me, d.verdict, comment, limits...)
		if err != nil {
			return err
		}
		if already && len(limits) > 0 {
			return fmt.Errorf("you approved %s before, and a decision is never changed: to end it, deny or revoke it", request.Name)
		}
		if d.verdict == v1alpha1.VerdictRelease && request.Spec.CredentialKey != "" {
			if _, err := o.forget(ctx, request.Namespace, request.Name, ""); err != nil {
				fmt.Fprintln(o.ErrOut, "warning: "+term.Clean("it is given back, but its context or key is left here: "+err.Error()))
			}
		}
		if out.printer != nil {
			return out.printer.PrintObj(decided, o.Out)
		}
		done := d.done
		if already {
			done = "already " + done + " by you"
		}
		fmt.Fprintf(o.Out, "accessrequest.%s/%s %s\n", v1alpha1.GroupVersion.Group, request.Name, done)
		return nil
	}
	out = newOutput(cmd, d.done)
	cmd.Flags().StringVarP(&comment, "comment", "m", "", "A comment for the record.")
	complete(cmd, "comment", fixed())
	if d.verdict == v1alpha1.VerdictApprove {
		cmd.Flags().StringVar(&atMost, "at-most", "", "Approve for no longer than this, such as 30m or 2h.")
		cmd.Flags().StringVar(&until, "until", "", "Approve until no later than this: 2026-05-04T18:00:00Z, or +2h from now.")
		complete(cmd, "at-most", fixed("15m", "30m", "1h", "2h"))
		complete(cmd, "until", fixed())
	}
	if d.review {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask for confirmation.")
	}
	return cmd
}

// limitsOf is how much an approver allows at most.
func limitsOf(atMost, until string, now time.Time) ([]accessclient.Limit, error) {
	var limits []accessclient.Limit
	if atMost != "" {
		d, err := asking.Duration(atMost)
		if err != nil {
			return nil, fmt.Errorf("--at-most: %w", err)
		}
		limits = append(limits, accessclient.AtMost(d))
	}
	if until != "" {
		t, err := asking.Moment(until, now)
		if err != nil {
			return nil, fmt.Errorf("--until: %w", err)
		}
		if !t.After(now) {
			return nil, fmt.Errorf("--until: %s is over", text.Moment(t))
		}
		limits = append(limits, accessclient.Until(t))
	}
	return limits, nil
}

// review shows a request and, on a terminal, asks to confirm an approval. With
// -o the page goes to standard error.
func (o *options) review(ctx context.Context, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict, yes, quiet bool) error {
	out := o.Out
	if quiet {
		out = o.ErrOut
	}
	now := time.Now()
	fmt.Fprintln(out, page(view.PageOf(request, now), term.StyleOf(out)))
	if yes || verdict != v1alpha1.VerdictApprove || !printers.IsTerminal(o.In) {
		return nil
	}
	fmt.Fprint(o.ErrOut, term.Clean(view.Question(request, now))+" [y/N] ")
	answer, err := readLine(ctx, o.In)
	if err != nil {
		return err
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("not approved; nothing was changed")
	}
	return nil
}

// readLine ends with the context; a read from a terminal by itself does not.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // end of file is an empty answer
		answers <- line
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case line := <-answers:
		return line, nil
	}
}
