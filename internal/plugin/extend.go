package plugin

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

func (o *options) newExtendCommand() *cobra.Command {
	var a ask
	var out *output
	cmd := &cobra.Command{
		Use:   "extend NAME --reason WHY",
		Short: "Ask for more time of access that you hold",
		Long: `Ask for more time of access that you hold.

NAME is the request that holds it. Who gets what, where and by which policy stays
the same; the policy decides anew, and says how often (maxExtensions). The time of
--for is added to the deadline. When it is approved, a new request holds the
access, without a gap, and that is the one to release. When it is not approved in
time, the access ends as it would have.

Exit status with --wait: as of 'kubectl access request'.`,
		Example: `  # Half an hour more
  kubectl access extend edit-x7k2p -n payments --for 30m --reason "the restore is at 80 %"

  # The same, and wait for the decision
  kubectl access extend edit-x7k2p -n payments --for 30m --reason "the restore is at 80 %" --wait`,
		Annotations: map[string]string{roleAnnotation: "access-requester"},
		Args:        oneName("request", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.runExtend(cmd, args[0], a, out)
		},
		ValidArgsFunction: o.completeRequests(view.Extendable),
	}
	out = newOutput(cmd, "created")
	f := cmd.Flags()
	f.StringVar(&a.Duration, "for", "", "How much longer, such as 30m or 1h30m. By default as long as the policy says.")
	f.StringVar(&a.Reason, "reason", "", "Why, in one line. Required.")
	f.StringVar(&a.Ticket, "ticket", "", "An external reference, such as INC-42.")
	f.StringVar(&a.Name, "name", "", "Name of the new request. By default one is generated.")
	f.BoolVar(&a.wait, "wait", false, "Wait until it is decided; the exit status says how.")
	f.DurationVar(&a.timeout, "timeout", 0, "How long to --wait. By default as long as it takes.")
	complete(cmd, "for", fixed("15m", "30m", "1h", "2h"))
	for _, free := range []string{"reason", "ticket", "name", "timeout"} {
		complete(cmd, free, fixed())
	}
	return cmd
}

func (o *options) runExtend(cmd *cobra.Command, name string, a ask, out *output) error {
	spec, err := a.Extending(name)
	if err := errors.Join(err, a.checkWait()); err != nil {
		return usagef(cmd, "%w", err)
	}
	c, err := cluster.Connect(o.config)
	if err != nil {
		return err
	}
	request := a.Request(c.Namespace, spec)
	if err := c.Ask(cmd.Context(), request); err != nil {
		return err
	}
	if out.printer == nil {
		fmt.Fprintf(o.Out, "accessrequest.%s/%s created\n", v1alpha1.GroupVersion.Group, request.Name)
	}
	last := request
	if a.wait {
		last, err = o.wait(cmd.Context(), c, request, a.timeout)
	}
	if out.printer != nil {
		return errors.Join(err, out.printer.PrintObj(last, o.Out))
	}
	if !a.wait && term.StyleOf(o.Out).Terminal {
		fmt.Fprintf(o.ErrOut, "'kubectl access show %s -n %s' says whom to ask.\n", request.Name, request.Namespace)
	}
	return err
}
