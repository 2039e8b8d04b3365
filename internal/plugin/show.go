package plugin

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func (o *options) newShowCommand() *cobra.Command {
	var out *output
	cmd := &cobra.Command{
		Use:         "show NAME",
		Aliases:     []string{"describe", "get"},
		Short:       "Show a request in one page: who, what exactly, the risks, who decides",
		Example:     `  kubectl access show edit-x7k2p -n payments`,
		Annotations: map[string]string{roleAnnotation: "access-requester, or access-approver to decide,"},
		Args:        oneName("request", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			request, err := c.request(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if out.printer != nil {
				return out.printer.PrintObj(request, o.Out)
			}
			me, err := c.me(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprint(o.Out, page(request, time.Now(), styleOf(o.Out)), next(request, me))
			return nil
		},
		ValidArgsFunction: o.completeRequests(func(*v1alpha1.AccessRequest, v1alpha1.UserInfo) bool { return true }),
	}
	out = newOutput(cmd, "")
	return cmd
}

// next says what I can do about a request.
func next(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) string {
	at := clean(r.Name) + " -n " + clean(r.Namespace)
	switch {
	case r.Status.Phase.Ended():
		return ""
	case waitsForMe(r, me):
		return "\nIt waits for you:     kubectl access approve " + at + "\n                  or  kubectl access deny " + at + "\n"
	case revocable(r, me):
		return "\nTo take it away:      kubectl access revoke " + at + "\n"
	case mine(r, me):
		return "\nTo give it back:      kubectl access release " + at + "\n"
	}
	return ""
}
