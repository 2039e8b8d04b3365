package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

// ask is what the flags of `request` say.
type ask struct {
	asking.Form
	wait    bool
	timeout time.Duration
}

func (o *options) newRequestCommand() *cobra.Command {
	var a ask
	var out *output
	cmd := &cobra.Command{
		Use:     "request [ROLE] --reason WHY",
		Aliases: []string{"req"},
		Short:   "Ask for access",
		Long: `Ask for a role or, with --rules, for exactly the permissions that you need.

ROLE is the name of a ClusterRole, or Role/NAME. The access holds in the
namespace of the request unless --namespaces, --selector or --cluster say
otherwise. It begins when the request is approved, and ends when the time of
--for is up or, if that is sooner, when the --task is over.

Exit status with --wait:
  0    the access is active
  1    the request could not be made, or an error occurred
  3    denied, by an approver or because no policy allows it
  4    lapsed: nobody decided in time
  5    failed: it cannot be granted
  6    the --timeout passed; the request still waits
  7    it ended in another way: withdrawn, revoked or already over
  130  interrupted; the request still waits`,
		Example: `  # Edit the namespace payments for an hour
  kubectl access request edit -n payments --for 1h --reason "INC-42: stuck consumers"

  # The same, and wait for the decision
  kubectl access request edit -n payments --for 1h --reason "INC-42: stuck consumers" --wait

  # For a workload, for as long as its Job runs
  kubectl access request edit -n payments --subject sa:payments/migrator --task job/migrate --reason "schema 42"

  # Two namespaces, namespaces by label, the whole cluster
  kubectl access request view -n payments --namespaces payments,billing --reason audit
  kubectl access request view -n payments --selector team=money --reason audit
  kubectl access request view --cluster --reason audit

  # Exactly some permissions, where the installation allows --rules
  kubectl access request -n payments --rules 'get,list pods/log' --rules 'patch deployments.apps api' --reason debugging

  # With a credential of the access's own, where a policy issues them
  kubectl access request edit -n payments --reason "INC-42: stuck consumers" --credential --wait

  # Tonight, by the policy break-glass
  kubectl access request admin -n payments --start 2026-05-04T22:00:00Z --policy break-glass --reason "planned failover"`,
		Annotations: map[string]string{roleAnnotation: "access-requester"},
		Args:        oneName("role", 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.Role = args[0]
			}
			return o.runRequest(cmd, a, out)
		},
		ValidArgsFunction: o.completeRoles,
	}
	out = newOutput(cmd, "created")
	o.requestFlags(cmd, &a)
	cmd.Flag("timeout").Usage = "How long to --wait. By default as long as it takes."
	return cmd
}

// requestFlags are all that a request can say.
func (o *options) requestFlags(cmd *cobra.Command, a *ask) {
	o.askFlags(cmd, a)
	o.taskFlags(cmd, a)
	f := cmd.Flags()
	f.StringArrayVar(&a.Subjects, "subject", nil, "Who gets the access instead of you: user:NAME, group:NAME, sa:NAMESPACE/NAME or spiffe://TRUST-DOMAIN/PATH. May be repeated.")
	f.StringVar(&a.Start, "start", "", "Not before: a time such as 2026-05-04T10:00:00Z, or +10m from now.")
	f.BoolVar(&a.Credential, "credential", false, "Ask for a credential of the access's own, instead of access for your own identity; 'kubectl access login' uses it. It can be opened on this machine alone.")
	f.BoolVar(&a.wait, "wait", false, "Wait until the access is active or never will be; the exit status says which.")
	complete(cmd, "subject", prefixes("user:", "group:", "sa:", "spiffe://"))
	complete(cmd, "start", fixed())
}

// askFlags are those of every command that asks.
func (o *options) askFlags(cmd *cobra.Command, a *ask) {
	f := cmd.Flags()
	f.StringVar(&a.RoleKind, "role-kind", "", "Kind of the role: ClusterRole, the default, or Role.")
	f.StringArrayVar(&a.Rules, "rules", nil, "Ask for these permissions instead of a role: verbs, resources and, if any, names. May be repeated.")
	f.StringSliceVar(&a.Namespaces, "namespaces", nil, "Namespaces in which the access holds.")
	f.StringVar(&a.Selector, "selector", "", "Labels of the namespaces in which the access holds.")
	f.BoolVar(&a.Cluster, "cluster", false, "The access holds in the whole cluster.")
	f.StringVar(&a.Name, "name", "", "Name of the request. By default one is generated.")
	complete(cmd, "role-kind", fixed(v1alpha1.ClusterRoleKind, v1alpha1.RoleKind))
	complete(cmd, "namespaces", o.completeNamespaces)
	for _, free := range []string{"rules", "selector", "name"} {
		complete(cmd, free, fixed())
	}
	o.whyFlags(cmd, a)
}

// whyFlags say why and for how long, whatever is asked for.
func (o *options) whyFlags(cmd *cobra.Command, a *ask) {
	f := cmd.Flags()
	f.StringVar(&a.Duration, "for", "", "How long, such as 30m, 1h30m or 2d. By default as long as the policy says.")
	f.StringVar(&a.Reason, "reason", "", "Why, in one line. Required.")
	f.StringVar(&a.Ticket, "ticket", "", "An external reference, such as INC-42.")
	f.StringVar(&a.Policy, "policy", "", "Use this policy and no other.")
	f.DurationVar(&a.timeout, "timeout", 0, "How long to wait for the access. By default as long as it takes.")
	complete(cmd, "for", fixed("15m", "30m", "1h", "2h", "4h", "8h"))
	complete(cmd, "policy", o.completePolicies)
	for _, free := range []string{"reason", "ticket", "timeout"} {
		complete(cmd, free, fixed())
	}
}

// taskFlags say with what the access ends.
func (o *options) taskFlags(cmd *cobra.Command, a *ask) {
	f := cmd.Flags()
	f.StringVar(&a.Task, "task", "", "The access ends with this object of the request's namespace: job/NAME, pod/NAME or KIND.GROUP/NAME.")
	f.StringVar(&a.CompleteWhen, "complete-when", "", "A CEL expression over object, request and granted that is true once the task is complete; nothing else counts then. Needed for kinds of which it is not known when they are over.")
	complete(cmd, "task", prefixes("job/", "pod/"))
	complete(cmd, "complete-when", fixed())
}

func (o *options) runRequest(cmd *cobra.Command, a ask, out *output) error {
	ctx := cmd.Context()
	c, request, err := o.prepare(cmd, a)
	if err != nil {
		return err
	}
	ask := c.Ask
	if a.Credential {
		ask = func(ctx context.Context, request *v1alpha1.AccessRequest) error { return o.askWithKey(ctx, c, request) }
	}
	if err := ask(ctx, request); err != nil {
		return err
	}
	if out.printer == nil {
		fmt.Fprintf(o.Out, "accessrequest.%s/%s created\n", v1alpha1.GroupVersion.Group, request.Name)
	}
	if a.wait {
		last, err := o.wait(ctx, c, request, a.timeout)
		if err == nil && a.Credential {
			o.sayHowToUse(last)
		}
		if out.printer != nil {
			err = errors.Join(err, out.printer.PrintObj(last, o.Out))
		}
		return err
	}
	if out.printer != nil {
		return out.printer.PrintObj(request, o.Out)
	}
	if term.StyleOf(o.Out).Terminal {
		fmt.Fprintf(o.ErrOut, "'kubectl access show %s -n %s' says whom to ask.\n", request.Name, request.Namespace)
	}
	return nil
}

// prepare makes the request that the flags describe, and does not send it yet.
func (o *options) prepare(cmd *cobra.Command, a ask) (*cluster.Client, *v1alpha1.AccessRequest, error) {
	spec, err := a.spec(time.Now())
	if err != nil {
		return nil, nil, usagef(cmd, "%w", err)
	}
	if err := a.LookUp(&spec, o.config.ToRESTMapper); err != nil {
		return nil, nil, err
	}
	c, err := cluster.Connect(o.config)
	if err != nil {
		return nil, nil, err
	}
	return c, a.Request(c.Namespace, spec), nil
}

// spec of the request, but for the requester and what LookUp finds.
func (a *ask) spec(now time.Time) (v1alpha1.AccessRequestSpec, error) {
	spec, err := a.Spec(now)
	return spec, errors.Join(err, a.checkWait())
}

func (a *ask) checkWait() error {
	if a.timeout != 0 && !a.wait {
		return errors.New("--timeout needs --wait")
	}
	return nil
}

// errTimeout is the cause when the time to --wait is up.
var errTimeout = errors.New("timeout")

// watch shows how a request comes along until it is active or never will be, no
// longer than the timeout, and returns its last state.
func (o *options) watch(ctx context.Context, c *cluster.Client, request *v1alpha1.AccessRequest, timeout time.Duration) (*v1alpha1.AccessRequest, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
		defer cancel()
	}
	line := &term.LiveLine{Out: o.ErrOut, Style: term.StyleOf(o.ErrOut)}
	defer line.End()
	last, err := c.Wait(ctx, request, func(current *v1alpha1.AccessRequest, err error) {
		if err != nil {
			line.Show("connection lost, trying again: " + err.Error())
			return
		}
		line.Show(view.Progress(current, time.Now()))
	})
	if over := (*accessclient.EndedError)(nil); errors.As(err, &over) {
		return last, outcome(last, time.Now())
	}
	if errors.Is(err, accessclient.ErrDeleted) {
		return last, &ended{exitOver, err.Error()}
	}
	return last, err
}

// wait is watch for somebody who leaves the request as it is when they no longer wait.
func (o *options) wait(ctx context.Context, c *cluster.Client, request *v1alpha1.AccessRequest, timeout time.Duration) (*v1alpha1.AccessRequest, error) {
	last, err := o.watch(ctx, c, request, timeout)
	switch {
	case errors.Is(err, errTimeout):
		err = &ended{exitTimeout, fmt.Sprintf("no decision within %s; the request still waits: %s", text.Duration(timeout), view.Progress(last, time.Now()))}
	case errors.Is(err, context.Canceled):
		err = &ended{exitInterrupted, fmt.Sprintf("interrupted; the request still waits: 'kubectl access release %s -n %s' withdraws it", request.Name, request.Namespace)}
	}
	return last, err
}

// exitStatuses are those of the ends that a script may want to tell apart.
var exitStatuses = map[v1alpha1.RequestPhase]int{
	v1alpha1.RequestDenied: exitDenied,
	v1alpha1.RequestLapsed: exitLapsed,
	v1alpha1.RequestFailed: exitFailed,
}

// outcome is nil for active access, else the end and its exit status.
func outcome(r *v1alpha1.AccessRequest, now time.Time) error {
	if r.Status.Phase == v1alpha1.RequestActive {
		return nil
	}
	return &ended{cmp.Or(exitStatuses[r.Status.Phase], exitOver), view.Progress(r, now)}
}
