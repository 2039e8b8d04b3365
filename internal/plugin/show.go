package plugin

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
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
			c, err := cluster.Connect(o.config)
			if err != nil {
				return err
			}
			request, err := c.Request(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if out.printer != nil {
				return out.printer.PrintObj(request, o.Out)
			}
			me, err := c.Me(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprint(o.Out, page(view.PageOf(request, time.Now()), term.StyleOf(o.Out)), next(request, me))
			return nil
		},
		ValidArgsFunction: o.completeRequests(func(*v1alpha1.AccessRequest, v1alpha1.UserInfo) bool { return true }),
	}
	out = newOutput(cmd, "")
	return cmd
}

// page lays out what there is to know about a request.
func page(p view.Page, s term.Style) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s in namespace %s: %s\n\n", s.Paint(term.Bold, term.Clean(p.Name)), term.Clean(p.Namespace), s.Paint(term.Colours[p.Phase], term.Clean(p.Phase)))
	layOut(&out, p, s)
	return out.String()
}

// layOut lays out what follows the head of a page.
func layOut(out *strings.Builder, p view.Page, s term.Style) {
	for _, fact := range p.Facts {
		title := fact.Title
		for _, item := range fact.Items {
			s.WriteLine(out, fmt.Sprintf("%-12s", title), item.Text, item.Danger)
			title = ""
		}
	}
	for _, part := range p.Parts {
		s.WriteHeading(out, part.Title)
		for _, item := range part.Items {
			if item.List == nil {
				s.WriteLine(out, "  ", item.Text, item.Danger)
			} else {
				s.WriteList(out, item.List)
			}
		}
	}
	if len(p.Conditions) > 0 {
		s.WriteHeading(out, "Conditions")
		for _, c := range p.Conditions {
			s.WriteLine(out, "  ", fmt.Sprintf("%-15s%-8s%s: %s", c.Type, c.Status, c.Reason, c.Message), false)
		}
	}
}

// next lays out the commands for what I can do about a request.
func next(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) (out string) {
	why, verdicts := view.Next(r, me)
	lead := fmt.Sprintf("\n%-22s", why+":")
	for _, verdict := range verdicts {
		out += lead + "kubectl access " + strings.ToLower(string(verdict)) + " " + term.Clean(r.Name) + " -n " + term.Clean(r.Namespace) + "\n"
		lead = fmt.Sprintf("%22s", "or  ")
	}
	return out
}
