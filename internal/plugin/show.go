package plugin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

func (o *options) newShowCommand() *cobra.Command {
	var out *output
	cmd := &cobra.Command{
		Use:     "show NAME",
		Aliases: []string{"describe", "get"},
		Short:   "Show a request or grant in one page: who, what exactly, the risks, who decides",
		Long: `Show a request or grant in one page: who, what exactly, the risks, who decides.

To those who may read AccessUsages, it tells also what the access was used for, as far
as an observer saw it.`,
		Example: `  kubectl access show edit-x7k2p -n payments

  # A grant, by its name
  kubectl access show edit-x7k2p-93a9a96315c30a04`,
		Annotations: map[string]string{roleAnnotation: "access-requester, or access-approver to decide,"},
		Args:        oneName("request", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cluster.Connect(o.config)
			if err != nil {
				return err
			}
			request, err := c.Request(cmd.Context(), args[0])
			if apierrors.IsNotFound(err) && grant.IsName(args[0]) {
				if g, err := c.Grant(cmd.Context(), args[0]); err == nil {
					return o.showGrant(cmd.Context(), c, g, out)
				}
			}
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
			now := time.Now()
			p := view.PageOf(request, now)
			used, g, err := c.UsageOfRequest(cmd.Context(), request)
			if err != nil {
				return err
			}
			p.Tell(used, g, view.RulesOfRequest(request), now)
			fmt.Fprint(o.Out, page(p, term.StyleOf(o.Out)), next(request, me))
			return nil
		},
		ValidArgsFunction: o.completeRequests(func(*v1alpha1.AccessRequest, v1alpha1.UserInfo) bool { return true }),
	}
	out = newOutput(cmd, "")
	return cmd
}

// showGrant shows a grant that was named itself.
func (o *options) showGrant(ctx context.Context, c *cluster.Client, g *v1alpha1.AccessGrant, out *output) error {
	if out.printer != nil {
		return out.printer.PrintObj(g, o.Out)
	}
	now := time.Now()
	p := view.PageOfGrant(g, now)
	used, err := c.UsageOf(ctx, g)
	if err != nil {
		return err
	}
	p.Tell(used, g, nil, now)
	fmt.Fprint(o.Out, page(p, term.StyleOf(o.Out)))
	return nil
}

// page lays out what there is to know about a request.
func page(p view.Page, s term.Style) string {
	var out strings.Builder
	name := s.Paint(term.Bold, term.Clean(p.Name)) + " in namespace " + term.Clean(p.Namespace)
	if p.Namespace == "" {
		name = "Grant " + s.Paint(term.Bold, term.Clean(p.Name))
	}
	fmt.Fprintf(&out, "%s: %s\n\n", name, s.Paint(term.Colours[p.Phase], term.Clean(p.Phase)))
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
	begin := "\n"
	if view.MyCredential(r, me) {
		out = fmt.Sprintf("\n%-22s%s\n", "To use it:", term.Clean(view.Command("login", r)))
		begin = ""
	}
	why, verdicts := view.Next(r, me)
	lead := begin + fmt.Sprintf("%-22s", why+":")
	if len(why)+1 >= 22 {
		lead = begin + why + ": "
	}
	for _, verdict := range verdicts {
		out += lead + "kubectl access " + strings.ToLower(string(verdict)) + " " + term.Clean(r.Name) + " -n " + term.Clean(r.Namespace)
		if verdict == v1alpha1.VerdictReview {
			out += " --comment …"
		}
		out += "\n"
		lead = fmt.Sprintf("%22s", "or  ")
	}
	return out
}
