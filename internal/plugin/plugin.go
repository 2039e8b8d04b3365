// Package plugin is kubectl access: the commands with which people ask for
// access, decide on requests, and look up who had access.
package plugin

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"

	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
)

// completer is the name under which kubectl looks for the completion of a plugin.
const completer = "kubectl_complete-access"

// options are what all commands share.
type options struct {
	genericiooptions.IOStreams
	config *genericclioptions.ConfigFlags
}

// Run runs a command line and returns its exit status.
func Run(ctx context.Context, streams genericiooptions.IOStreams, version string, args []string) int {
	root := NewCommand(streams, version)
	rest := args[1:]
	if strings.TrimSuffix(filepath.Base(args[0]), ".exe") == completer {
		rest = append([]string{cobra.ShellCompRequestCmd}, rest...)
	}
	root.SetArgs(rest)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if !silent(err) {
		fmt.Fprintln(streams.ErrOut, "error: "+explain(err, cmd.Annotations[roleAnnotation]))
	}
	return exitStatus(err)
}

// NewCommand is kubectl access with all of its commands.
func NewCommand(streams genericiooptions.IOStreams, version string) *cobra.Command {
	o := &options{IOStreams: streams, config: genericclioptions.NewConfigFlags(true)}
	// kubectl has flags of these names; here --cluster and --user mean something
	// else, and a --context names both.
	o.config.ClusterName, o.config.AuthInfoName = nil, nil
	o.config.WrapConfigFn = func(config *rest.Config) *rest.Config {
		config.WarningHandler = warn(streams.ErrOut)
		// As many calls as kubectl makes to find out what there is: client-go's own limit of
		// five a second would hold back a page that somebody waits for. The API server has
		// limits of its own.
		config.QPS, config.Burst = 50, 300
		return config
	}
	root := &cobra.Command{
		Use:         "kubectl-access",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl access"},
		Short:       "Ask for access that ends by itself, and decide on requests",
		Long: `Ask for access that ends by itself, and decide on requests.

You ask for a role for a while and a policy says who decides. The access ends
when the time is up, the task is done, or somebody says stop.`,
		Example: `  # What may I ask for?
  kubectl access policies

  # Ask, and wait for the decision
  kubectl access request edit -n payments --for 1h --reason "INC-42: stuck consumers" --wait

  # Run a command with access that ends with it
  kubectl access run edit -n payments --reason "INC-42" -- kubectl rollout restart deployment/api

  # What waits for me, and what is it?
  kubectl access list --to-approve
  kubectl access show edit-x7k2p -n payments
  kubectl access approve edit-x7k2p -n payments -m "go ahead"

  # The same in a browser
  kubectl access ui

  # It takes longer
  kubectl access extend edit-x7k2p -n payments --for 30m --reason "the restore is at 80 %"

  # Give it back
  kubectl access release edit-x7k2p -n payments`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,

		PersistentPreRunE: func(*cobra.Command, []string) error { return o.useOwnContext() },
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usagef(cmd, "%w", err) })
	o.config.AddFlags(root.PersistentFlags())
	// All flags of kubectl work; help stays readable with these.
	shown := []string{"namespace", "context", "kubeconfig", "as", "as-group"}
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = !slices.Contains(shown, f.Name) })
	root.AddCommand(
		o.newRequestCommand(),
		o.newExtendCommand(),
		o.newRunCommand(),
		o.newForCommand(),
		o.newWaitForCommand(),
		o.newListCommand(),
		o.newShowCommand(),
		o.newPoliciesCommand(),
		o.newUICommand(),
		o.newAuditCommand(),
		o.newUsageCommand(),
		o.newAdviseCommand(),
		o.newLoginCommand(),
		o.newLogoutCommand(),
		o.newCredentialCommand(),
	)
	root.AddCommand(view.Each(verdicts, o.newDecideCommand)...)
	root.AddCommand(o.newReviewCommand(), o.newLockCommand(), o.newUnlockCommand(), o.newConfirmPolicyCommand())
	o.completeGlobalFlags(root)
	return root
}

// warn prints each warning of the API server once. An admission policy may quote
// in it what somebody wrote.
func warn(w io.Writer) rest.WarningHandler {
	return rest.NewWarningWriter(visibleWriter{w}, rest.WarningWriterOptions{Deduplicate: true})
}

// visibleWriter makes each text that is written safe to look at.
type visibleWriter struct{ io.Writer }

func (w visibleWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, text.Lines(string(p))+"\n"); err != nil {
		return 0, err
	}
	return len(p), nil
}

// oneName accepts one name of a kind of thing, or none where least is 0.
func oneName(what string, least int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > 1 {
			return usagef(cmd, "name one %s; you named %d", what, len(args))
		}
		return nil
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) != 0 {
		return usagef(cmd, "unexpected argument %q", args[0])
	}
	return nil
}
