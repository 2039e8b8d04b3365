package plugin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
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
			ctx := cmd.Context()
			printer, err := out.printer()
			if err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			policies, err := c.policies(ctx)
			if err != nil {
				return err
			}
			if !all {
				me, err := c.me(ctx)
				if err != nil {
					return err
				}
				policies = forMe(policies, me)
			}
			if printer != nil {
				return out.list(printer, &v1alpha1.AccessPolicyList{Items: policies}, o.Out)
			}
			if len(policies) == 0 {
				fmt.Fprintln(o.ErrOut, "No policy lets you ask for anything; --all lists the policies for others, too.")
				return nil
			}
			policyTable(policies, out.format() == "wide").write(o.Out, styleOf(o.Out), !out.noHeaders)
			return nil
		},
	}
	out = newOutput(cmd, "", "wide")
	cmd.Flags().BoolVar(&all, "all", false, "List the policies for others, too.")
	return cmd
}

// forMe are the policies that let me ask.
func forMe(policies []v1alpha1.AccessPolicy, me v1alpha1.UserInfo) []v1alpha1.AccessPolicy {
	return keep(policies, func(p *v1alpha1.AccessPolicy) bool {
		return identity.Among(p.Spec.Requesters, me.Username, me.Groups)
	})
}

func policyTable(policies []v1alpha1.AccessPolicy, wide bool) table {
	t := table{header: []string{"POLICY", "ROLES", "WHERE", "AT MOST", "APPROVALS", "FROM", "READY"}}
	if wide {
		t.header = append(t.header, "REQUESTERS", "FOR WHOM", "TASK", "CONDITIONS")
	}
	for i := range policies {
		p := &policies[i]
		row := []string{
			p.Name, offered(&p.Spec), covered(&p.Spec), text.Duration(p.Spec.MaxDuration.Duration),
			needed(&p.Spec), strings.Join(text.Subjects(p.Spec.Approvers), ","), readiness(p),
		}
		if wide {
			var conditions []string
			for _, c := range p.Spec.Conditions {
				condition := c.Name
				if c.Message != "" {
					condition += ": " + text.Trim(c.Message)
				}
				conditions = append(conditions, condition)
			}
			row = append(row, strings.Join(text.Subjects(p.Spec.Requesters), ","), string(p.Spec.Subjects), string(p.Spec.Task), strings.Join(conditions, "; "))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// offered are the roles of a policy, ClusterRoles by their bare name as
// `request` takes them.
func offered(spec *v1alpha1.AccessPolicySpec) string {
	var names []string
	for _, role := range spec.Roles {
		names = append(names, roleArgument(role))
	}
	if len(spec.Rules) > 0 {
		names = append(names, "--rules")
	}
	return strings.Join(names, ",")
}

func roleArgument(role v1alpha1.RoleRef) string {
	if role.Kind == v1alpha1.ClusterRoleKind {
		return role.Name
	}
	return text.Role(&role)
}

func covered(spec *v1alpha1.AccessPolicySpec) string {
	var where []string
	if spec.Namespaces != nil {
		where = slices.Sorted(slices.Values(spec.Namespaces.Names))
		if spec.Namespaces.Selector != nil {
			where = append(where, text.Selector(spec.Namespaces.Selector))
		}
	}
	if spec.ClusterScope == v1alpha1.ClusterScopeAllowed {
		where = append(where, "--cluster")
	}
	return strings.Join(where, ",")
}

func needed(spec *v1alpha1.AccessPolicySpec) string {
	if spec.RequiredApprovals != nil && *spec.RequiredApprovals == 0 {
		return "none"
	}
	if spec.RequiredApprovals == nil {
		return "1"
	}
	return fmt.Sprint(*spec.RequiredApprovals)
}

func readiness(p *v1alpha1.AccessPolicy) string {
	c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case c == nil:
		return "Unknown"
	case c.Status == "True":
		return "True"
	}
	return string(c.Status) + ": " + c.Message
}
