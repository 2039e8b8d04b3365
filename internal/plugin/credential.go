package plugin

import "github.com/spf13/cobra"

// newCredentialCommand is the parent of the commands that kubectl and other programs
// run to get a credential, as client-go's credential plugins.
func (o *options) newCredentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credential",
		Short: "Print a credential for kubectl, as the exec of a kubeconfig",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(o.newCredentialSPIFFECommand())
	return cmd
}
