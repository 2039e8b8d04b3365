package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

// ask is what the flags of `request` say.
type ask struct {
	role, roleKind     string
	rules              []string
	namespaces         []string
	selector           string
	cluster            bool
	subjects           []string
	task, completeWhen string
	duration, start    string
	reason, ticket     string
	policy, name       string
	credential         bool
	wait               bool
	timeout            time.Duration
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
				a.role = args[0]
			}
			return o.runRequest(cmd, a, out)
		},
		ValidArgsFunction: o.completeRoles,
	}
	out = newOutput(cmd, "created")
	o.askFlags(cmd, &a)
	o.taskFlags(cmd, &a)
	f := cmd.Flags()
	f.StringArrayVar(&a.subjects, "subject", nil, "Who gets the access instead of you: user:NAME, group:NAME, sa:NAMESPACE/NAME or spiffe://TRUST-DOMAIN/PATH. May be repeated.")
	f.StringVar(&a.start, "start", "", "Not before: a time such as 2026-05-04T10:00:00Z, or +10m from now.")
	f.BoolVar(&a.credential, "credential", false, "Ask for a credential of the access's own, instead of access for your own identity; 'kubectl access login' uses it. It can be opened on this machine alone.")
	f.BoolVar(&a.wait, "wait", false, "Wait until the access is active or never will be; the exit status says which.")
	cmd.Flag("timeout").Usage = "How long to --wait. By default as long as it takes."
	complete(cmd, "subject", prefixes("user:", "group:", "sa:", "spiffe://"))
	complete(cmd, "start", fixed())
	return cmd
}

// askFlags are those of every command that asks.
func (o *options) askFlags(cmd *cobra.Command, a *ask) {
	f := cmd.Flags()
	f.StringVar(&a.roleKind, "role-kind", "", "Kind of the role: ClusterRole, the default, or Role.")
	f.StringArrayVar(&a.rules, "rules", nil, "Ask for these permissions instead of a role: verbs, resources and, if any, names. May be repeated.")
	f.StringSliceVar(&a.namespaces, "namespaces", nil, "Namespaces in which the access holds.")
	f.StringVar(&a.selector, "selector", "", "Labels of the namespaces in which the access holds.")
	f.BoolVar(&a.cluster, "cluster", false, "The access holds in the whole cluster.")
	f.StringVar(&a.name, "name", "", "Name of the request. By default one is generated.")
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
	f.StringVar(&a.duration, "for", "", "How long, such as 30m, 1h30m or 2d. By default as long as the policy says.")
	f.StringVar(&a.reason, "reason", "", "Why, in one line. Required.")
	f.StringVar(&a.ticket, "ticket", "", "An external reference, such as INC-42.")
	f.StringVar(&a.policy, "policy", "", "Use this policy and no other.")
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
	f.StringVar(&a.task, "task", "", "The access ends with this object of the request's namespace: job/NAME, pod/NAME or KIND.GROUP/NAME.")
	f.StringVar(&a.completeWhen, "complete-when", "", "A CEL expression over object, request and granted that is true once the task is complete; nothing else counts then. Needed for kinds of which it is not known when they are over.")
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
	if a.credential {
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
		if err == nil && a.credential {
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
	if err := a.lookUp(&spec, o.config.ToRESTMapper); err != nil {
		return nil, nil, err
	}
	c, err := cluster.Connect(o.config)
	if err != nil {
		return nil, nil, err
	}
	request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: a.name}, Spec: spec}
	if a.name == "" {
		request.GenerateName = namePrefix(&spec)
	}
	return c, request, nil
}

// spec of the request, but for the requester and what lookUp finds.
func (a ask) spec(now time.Time) (v1alpha1.AccessRequestSpec, error) {
	spec := v1alpha1.AccessRequestSpec{Reason: a.reason, Ticket: a.ticket, PolicyName: a.policy}
	switch {
	case a.role == "" && len(a.rules) == 0:
		return spec, errors.New("name a role, or give --rules; 'kubectl access policies' lists what you may ask for")
	case a.role != "" && len(a.rules) > 0:
		return spec, errors.New("ask for a role or for --rules, not for both")
	case strings.TrimSpace(a.reason) == "":
		return spec, errors.New("say why you need it, with --reason")
	case a.timeout != 0 && !a.wait:
		return spec, errors.New("--timeout needs --wait")
	case a.completeWhen != "" && a.task == "":
		return spec, errors.New("--complete-when needs --task")
	case a.credential && len(a.subjects) > 0:
		return spec, errors.New("--credential and --subject exclude each other: only you get the credential; whoever needs the access asks for themselves")
	}
	err := errors.Join(checkLine("--reason", a.reason, maxReason), checkLine("--ticket", a.ticket, maxTicket))
	if err != nil {
		return spec, err
	}
	if spec.Scope, err = a.scope(); err != nil {
		return spec, err
	}
	for _, word := range a.subjects {
		subject, err := parseSubject(word)
		if err != nil {
			return spec, fmt.Errorf("--subject: %w", err)
		}
		spec.Subjects = append(spec.Subjects, subject)
	}
	if a.duration != "" {
		d, err := parseDuration(a.duration)
		if err != nil {
			return spec, fmt.Errorf("--for: %w", err)
		}
		spec.Duration = &metav1.Duration{Duration: d}
	}
	if a.start != "" {
		start, err := parseMoment(a.start, now)
		if err != nil {
			return spec, fmt.Errorf("--start: %w", err)
		}
		spec.StartTime = &metav1.Time{Time: start}
	}
	if a.role != "" {
		if spec.RoleRef, err = parseRole(a.role, a.roleKind); err != nil {
			return spec, err
		}
	}
	return spec, nil
}

func (a ask) scope() (*v1alpha1.Scope, error) {
	named, selected := len(a.namespaces) > 0, a.selector != ""
	switch {
	case named && selected, named && a.cluster, selected && a.cluster:
		return nil, errors.New("--namespaces, --selector and --cluster exclude each other")
	case named:
		return &v1alpha1.Scope{Namespaces: slices.Compact(slices.Sorted(slices.Values(a.namespaces)))}, nil
	case selected:
		selector, err := parseSelector(a.selector)
		if err != nil {
			return nil, fmt.Errorf("--selector: %w", err)
		}
		return &v1alpha1.Scope{NamespaceSelector: selector}, nil
	case a.cluster:
		return &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}, nil
	}
	return nil, nil
}

// lookUp asks the cluster for the kinds that the task and the rules name.
func (a ask) lookUp(spec *v1alpha1.AccessRequestSpec, discover func() (meta.RESTMapper, error)) error {
	if a.task != "" {
		spec.Task = wellKnownTask(a.task)
	}
	if (a.task == "" || spec.Task != nil) && len(a.rules) == 0 {
		return a.checkTask(spec)
	}
	mapper, err := discover()
	if err != nil {
		return err
	}
	if a.task != "" && spec.Task == nil {
		if spec.Task, err = parseTask(a.task, mapper); err != nil {
			return fmt.Errorf("--task: %w", err)
		}
	}
	if err := a.checkTask(spec); err != nil {
		return err
	}
	for _, rule := range a.rules {
		rules, err := parseRule(rule, mapper)
		if err != nil {
			return fmt.Errorf("--rules: %w", err)
		}
		spec.Rules = append(spec.Rules, rules...)
	}
	return nil
}

func (a ask) checkTask(spec *v1alpha1.AccessRequestSpec) error {
	if spec.Task == nil {
		return nil
	}
	spec.Task.CompleteWhen = a.completeWhen
	return checkTask(spec.Task)
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// namePrefix makes the name of a request tell what it is for.
func namePrefix(spec *v1alpha1.AccessRequestSpec) string {
	if spec.RoleRef == nil {
		return nameLike("rules", "")
	}
	return nameLike(spec.RoleRef.Name, "role")
}

// nameLike begins the name of an object as what it is about is called; otherwise is
// for what has no letter or digit.
func nameLike(what, otherwise string) string {
	name := cmp.Or(strings.Trim(notInName.ReplaceAllString(strings.ToLower(what), "-"), "-"), otherwise)
	return strings.TrimRight(name[:min(len(name), 40)], "-") + "-"
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
