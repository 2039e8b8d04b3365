package plugin

import (
	"github.com/spf13/cobra"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

func (o *options) newPoliciesCommand() *cobra.Command {
	var all bool
	var out *output
	cmd := &cobra.Command{
		Use:     "policies",
		Aliases: []string{"policy"},
		Short:   "List what I may ask for: where, for how long, from whom",
		Example: `  kubectl access policies

  # All policies, with their conditions
  kubectl access policies --all -o wide`,
		Annotations: map[string]string{roleAnnotation: "access-requester"},
		Args:        noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Connect(o.config)
			if err != nil {
				return err
			}
			find := c.PoliciesForMe
			if all {
				find = c.Policies
			}
			policies, err := find(cmd.Context())
			if err != nil {
				return err
			}
			return o.printList(out, &v1alpha1.AccessPolicyList{Items: policies}, view.Policies(policies, out.format() == "wide"),
				"No policy lets you ask for anything; --all lists the policies for others, too.")
		},
	}
	out = newOutput(cmd, "", "wide")
	cmd.Flags().BoolVar(&all, "all", false, "List the policies for others, too.")
	return cmd
}
