package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/refusal"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// maxRounds is how often a command is run again because one more right is missing.
const maxRounds = 8

func (o *options) newForCommand() *cobra.Command {
	f := &forCommand{runner: runner{options: o}}
	cmd := &cobra.Command{
		Use:   "for -- COMMAND [ARGS]",
		Short: "Run a command, and ask for what it is refused",
		Long: `Run a command; where the API server refuses it for want of rights, ask for
exactly those, and run it again with the access.

What was refused is read from the standard error of the command, which is shown
as it comes, and checked with the API server: only what you really may not do
counts, and only what was refused to you. Where a policy offers it, exactly the
missing permissions are asked for, otherwise the smallest role that allows them.
A role whose rules you may not read is asked for when no other is offered, and
the request is withdrawn when the role turns out to be too little.

You see the proposal and are asked before anything is. With --yes you are not;
without a terminal and without --yes, the proposal is printed as a command, and
nothing is asked for. The access is given back when the command ends, as by
'kubectl access run'.

Exit status: that of the command, or as 'kubectl access run' has it, and
  8    something is missing, and you did not want to ask, or nobody could be asked`,
		Example: `  kubectl access for -- kubectl delete pod api-0 -n payments

  # Without questions
  kubectl access for --yes --reason "INC-42: stuck consumers" -- kubectl rollout restart deployment/api -n payments`,
		Annotations: map[string]string{roleAnnotation: "access-requester"},
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash > 0 || dash < 0 && len(args) > 0 {
				return usagef(cmd, "unexpected argument %q: the command goes after --, and what it needs is found out", args[0])
			}
			return f.takeCommand(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return f.runFor(cmd) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	o.whyFlags(cmd, &f.ask)
	cmd.Flag("reason").Usage = "Why, in one line. On a terminal you are asked for it."
	f.stopFlag(cmd)
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "Ask for what is missing without asking you. Needs --reason.")
	return cmd
}

// forCommand runs a command until it has the rights that it needs.
type forCommand struct {
	runner
	yes   bool
	input *replayed
	// asked are the lines of what was asked for already.
	asked []string
}

func (f *forCommand) runFor(cmd *cobra.Command) error {
	if f.yes && strings.TrimSpace(f.ask.Reason) == "" {
		return usagef(cmd, "--yes asks without asking you: say why, with --reason")
	}
	if err := f.check(cmd); err != nil {
		return err
	}
	if f.ask.Reason != "" {
		checked := f.ask
		checked.Role, checked.wait = "any", true
		if _, err := checked.spec(time.Now()); err != nil {
			return usagef(cmd, "%w", err)
		}
	}
	c, err := cluster.Connect(f.config)
	if err != nil {
		return err
	}
	f.cluster = c
	stop := f.listen()
	defer stop()
	f.input = replay(f.In)
	ctx := context.WithoutCancel(cmd.Context())
	err = f.rounds(ctx)
	f.releaseAll(ctx, err)
	return err
}

// rounds run the command, and again as long as each round finds what else is missing.
func (f *forCommand) rounds(ctx context.Context) error {
	for range maxRounds {
		said := &tail{}
		var holding *v1alpha1.AccessRequest
		if len(f.held) > 0 {
			holding = f.held[len(f.held)-1]
		}
		err := f.run(ctx, holding, func(c *exec.Cmd) (func(), error) {
			c.Stderr = io.MultiWriter(f.ErrOut, said)
			// A process that the command leaves behind may hold its end open.
			c.WaitDelay = time.Second
			return f.input.feed(c)
		})
		failed := (*finished)(nil)
		if !errors.As(err, &failed) || failed.status > exitSignal {
			return err // it went well, or a signal ended it
		}
		again, problem := f.propose(ctx, refusal.Parse(said.String()))
		if problem != nil {
			return problem
		}
		if !again {
			return err
		}
	}
	return hintf("Ask for a role that allows all of it: 'kubectl access policies'.", "the command was refused something else each of %d times", maxRounds)
}

// propose says what is missing, and asks for it when it is wanted. again tells that
// it is there now.
func (f *forCommand) propose(ctx context.Context, refused []refusal.Right) (again bool, err error) {
	if len(refused) == 0 {
		return false, nil
	}
	var missing []refusal.Right
	err = f.heeding(ctx, func(ctx context.Context) (err error) {
		missing, err = f.missing(ctx, refused)
		return err
	})
	if err != nil || len(missing) == 0 {
		return false, f.interrupted(err)
	}
	places := refusal.ByPlace(missing)
	var requests []*v1alpha1.AccessRequest
	for _, place := range places {
		var request *v1alpha1.AccessRequest
		err := f.heeding(ctx, func(ctx context.Context) (err error) {
			request, err = f.requestFor(ctx, place)
			return err
		})
		if err != nil {
			return false, f.interrupted(err)
		}
		requests = append(requests, request)
	}
	if err := f.wanted(ctx, requests); err != nil {
		return false, err
	}
	for i, request := range requests {
		if _, err := f.get(ctx, request, enough(places[i].Rules())); err != nil {
			return false, err
		}
	}
	return true, f.interrupted(f.heeding(ctx, func(ctx context.Context) error { return f.inForce(ctx, missing) }))
}

// interrupted gives a signal its exit status.
func (f *forCommand) interrupted(err error) error {
	if s := (signalled{}); errors.As(err, &s) {
		return &ended{s.status(), s.String()}
	}
	return err
}

// missing are the rights that were refused to us and that we really do not have.
func (f *forCommand) missing(ctx context.Context, refused []refusal.Right) ([]refusal.Right, error) {
	me, err := f.cluster.Me(ctx)
	if err != nil {
		return nil, err
	}
	looked, err := f.cluster.Refused(ctx, me.Username, refused)
	if err != nil {
		return nil, err
	}
	for _, r := range looked.Others {
		f.tell("%s was refused to %s, and you are %s: nothing is asked for", r, r.User, me.Username)
	}
	for _, r := range looked.Held {
		f.tell("you may %s as far as the API server's roles go: it was something else that refused it", r)
	}
	for _, r := range looked.Missing {
		if slices.Contains(f.asked, r.String()) {
			return nil, fmt.Errorf("you were given access for it and still may not %s", r)
		}
		f.asked = append(f.asked, r.String())
	}
	return looked.Missing, nil
}

func (f *forCommand) tell(format string, args ...any) {
	fmt.Fprintln(f.ErrOut, term.Clean("kubectl access: "+fmt.Sprintf(format, args...)))
}

// requestFor is the request for the best that policies offer for missing rights.
func (f *forCommand) requestFor(ctx context.Context, place refusal.Place) (*v1alpha1.AccessRequest, error) {
	missing := place.Rules()
	offers, err := f.cluster.OffersFor(ctx, place.Namespace, f.ask.Policy, missing)
	if err != nil {
		return nil, err
	}
	if len(offers) == 0 {
		return nil, &ended{exitUnasked, "you may not " + place.String() + ", and no policy offers it to you; 'kubectl access policies' lists what you may ask for"}
	}
	f.tell("you may not %s", place)
	best := offers[0]
	request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: f.cluster.Namespace}}
	f.ask.wait = true
	checked := f.ask
	checked.Role, checked.Reason = "any", cmp.Or(checked.Reason, "any") // checked in wanted
	if request.Spec, err = checked.spec(time.Now()); err != nil {
		return nil, err
	}
	request.Spec.Reason, request.Spec.RoleRef = f.ask.Reason, best.Role
	if best.Role == nil {
		request.Spec.Rules = view.Each(missing, func(r rbacv1.PolicyRule) v1alpha1.PolicyRule { return v1alpha1.PolicyRule(r) })
	}
	switch {
	case place.Namespace == "":
		request.Spec.Scope = &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
	case !given(f.config.Namespace):
		request.Namespace = place.Namespace
	case place.Namespace != request.Namespace:
		request.Spec.Scope = &v1alpha1.Scope{Namespaces: []string{place.Namespace}}
	}
	request.GenerateName = asking.NamePrefix(&request.Spec)
	if !best.Known {
		f.tell("whether %s allows it you may not read; if it does not, the request is withdrawn", text.Role(best.Role))
	}
	return request, nil
}

// wanted shows what would be asked for, and errs unless it is wanted.
func (f *forCommand) wanted(ctx context.Context, requests []*v1alpha1.AccessRequest) error {
	if f.yes {
		return nil
	}
	commands := view.Each(requests, func(r *v1alpha1.AccessRequest) string { return requestCommand(r, &f.ask) })
	if !printers.IsTerminal(f.In) {
		fmt.Fprintln(f.ErrOut, "To ask for it:\n  "+strings.Join(commands, "\n  "))
		return &ended{exitUnasked, "nothing was asked for: there is no terminal to ask you at; --yes asks without"}
	}
	for _, r := range requests {
		what := text.Role(r.Spec.RoleRef)
		if r.Spec.RoleRef == nil {
			what = "exactly that"
		}
		f.tell("to ask for: %s in %s", what, strings.Replace(text.Scope(r.Namespace, r.Spec.Scope), text.WholeCluster, "the whole cluster", 1))
	}
	err := f.heeding(ctx, func(ctx context.Context) error {
		fmt.Fprint(f.ErrOut, "Ask for it, and run the command again? [y/N] ")
		answer, err := readLine(ctx, f.In)
		if err != nil {
			return err
		}
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return &ended{exitUnasked, "nothing was asked for"}
		}
		for strings.TrimSpace(f.ask.Reason) == "" {
			fmt.Fprint(f.ErrOut, "Why? ")
			line, err := readLine(ctx, f.In)
			if err != nil {
				return err
			}
			if line == "" {
				return &ended{exitUnasked, "nothing was asked for: it needs a reason"}
			}
			line = strings.TrimSpace(line)
			if err := asking.CheckLine("the reason", line, asking.MaxReason); err != nil {
				f.tell("%v", err)
				continue
			}
			f.ask.Reason = line
		}
		for _, r := range requests {
			r.Spec.Reason = f.ask.Reason
		}
		return nil
	})
	return f.interrupted(err)
}

// requestCommand is a request as somebody would type it.
func requestCommand(r *v1alpha1.AccessRequest, a *ask) string {
	form := a.Form
	if form.Role = ""; r.Spec.RoleRef != nil {
		form.Role = view.RoleArgument(*r.Spec.RoleRef)
	}
	form.Rules = refusal.Lines(v1alpha1.RBACRules(r.Spec.Rules))
	if scope := r.Spec.Scope; scope != nil {
		form.Namespaces, form.Cluster = scope.Namespaces, scope.Cluster != nil
	}
	return form.Command(r.Namespace)
}

// enough errs when it turns out that a role does not allow what is missing.
func enough(missing []rbacv1.PolicyRule) func(*v1alpha1.AccessRequest) error {
	return func(r *v1alpha1.AccessRequest) error {
		if len(r.Status.Rules) == 0 {
			return nil
		}
		allowed, whole, err := rules.ParseLines(r.Status.Rules)
		if err != nil || !whole {
			return nil //nolint:nilerr // what cannot be read is no reason to give up
		}
		if covered, lacks := rules.Covers(allowed, missing); !covered {
			return hintf("Ask for another role: 'kubectl access policies' lists them.", "%s does not allow %s", text.Role(r.Spec.RoleRef), strings.Join(refusal.Lines(lacks), "; "))
		}
		return nil
	}
}

// How long an API server may take to heed a binding, and how often it is asked: no more
// often than a client may.
const (
	heedsWithin = 10 * time.Second
	heedsAgain  = 200 * time.Millisecond
)

// inForce waits until the API server itself allows what was missing.
func (f *forCommand) inForce(ctx context.Context, rights []refusal.Right) error {
	ctx, cancel := context.WithTimeout(ctx, heedsWithin)
	defer cancel()
	for _, r := range rights {
		for {
			may, err := f.cluster.May(ctx, r)
			if err != nil && ctx.Err() == nil {
				return err
			}
			if may {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the access is there and you still may not %s", r)
			case <-time.After(heedsAgain):
			}
		}
	}
	return nil
}
