package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

func (o *options) newConfirmPolicyCommand() *cobra.Command {
	var yes bool
	var out *output
	cmd := &cobra.Command{
		Use:   "confirm-policy NAME",
		Short: "Confirm a policy that somebody else wrote, after you have seen it",
		Long: `Confirm a policy that somebody else wrote, after you have seen it.

Where policies need four eyes, one that is new or changed gives nothing until a
second person has confirmed it. You confirm what is shown: if it has changed by
the time the confirmation arrives, it is refused. On a terminal you are asked; a
script, whose input is not a terminal, is not asked.`,
		Example: `  kubectl access confirm-policy production

  # What waits for a second person?
  kubectl access policies --all`,
		Annotations: map[string]string{roleAnnotation: "access-policy-admin"},
		Args:        oneName("policy", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cluster.Connect(o.config)
			if err != nil {
				return err
			}
			return o.confirmPolicy(cmd.Context(), c, args[0], yes, out)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, noFiles
			}
			return o.lookUp(cmd, func(ctx context.Context, c *cluster.Client) ([]string, error) {
				me, err := c.Me(ctx)
				if err != nil {
					return nil, err
				}
				policies, err := c.Policies(ctx)
				waiting := view.Keep(policies, func(p *v1alpha1.AccessPolicy) bool { return view.WaitsToBeConfirmed(p, me.Username) })
				return view.Each(waiting, func(p v1alpha1.AccessPolicy) string { return described(p.Name, view.PolicyLine(&p)) }), err
			})
		},
	}
	out = newOutput(cmd, "confirmed")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask.")
	return cmd
}

// confirmPolicy shows a policy and, when the person agrees, confirms what was shown.
func (o *options) confirmPolicy(ctx context.Context, c *cluster.Client, name string, yes bool, out *output) error {
	p, err := c.Policy(ctx, name)
	if err != nil {
		return err
	}
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	authors := p.ChangedBy()
	switch {
	case view.Confirmed(p):
		fmt.Fprintf(o.Out, "accesspolicy.%s/%s already confirmed by %s\n", v1alpha1.GroupVersion.Group, p.Name, term.Clean(p.Status.Confirmed.Username))
		return nil
	case len(authors) == 0:
		return hintf("Vouch for it, and let another confirm it: kubectl annotate accesspolicy "+p.Name+" "+v1alpha1.AnnotationChangedBy+"="+term.Clean(me.Username),
			"nobody knows who wrote the policy %s", p.Name)
	case slices.Contains(authors, me.Username):
		return fmt.Errorf("you have changed the policy %s since it was last confirmed, so somebody else must confirm it", p.Name)
	}
	page := o.Out
	if out.printer != nil {
		page = o.ErrOut
	}
	written, err := yaml.Marshal(map[string]any{"spec": p.Spec})
	if err != nil {
		return fmt.Errorf("show the policy: %w", err)
	}
	fmt.Fprintf(page, "policy %s, generation %d, changed by %s\n", p.Name, p.Generation, term.Clean(strings.Join(authors, ", ")))
	for line := range strings.Lines(string(written)) {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		fmt.Fprintln(page, strings.Repeat(" ", indent)+term.Clean(line))
	}
	if !yes && printers.IsTerminal(o.In) {
		fmt.Fprintf(o.ErrOut, "Confirm the policy %s as it is? [y/N] ", p.Name)
		answer, err := readLine(ctx, o.In)
		if err != nil {
			return err
		}
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return errors.New("not confirmed; nothing was changed")
		}
	}
	if err := c.ConfirmPolicy(ctx, p, me.Username); err != nil {
		return err
	}
	if out.printer != nil {
		return out.printer.PrintObj(p, o.Out)
	}
	fmt.Fprintf(o.Out, "accesspolicy.%s/%s confirmed\n", v1alpha1.GroupVersion.Group, p.Name)
	return nil
}
