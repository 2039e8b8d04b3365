package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

func (o *options) newRunCommand() *cobra.Command {
	r := &runner{options: o}
	cmd := &cobra.Command{
		Use:   "run [ROLE] --reason WHY -- COMMAND [ARGS]",
		Short: "Run a command with access that ends with it",
		Long: `Ask for access, wait for it, run a command with it, and give it back.

The access is released when the command ends, whatever way. The command runs as
you do, with your kubeconfig, so it needs no changes; --context, --kubeconfig
and --namespace hold for it, too. Its input, output, terminal, signals and exit
status are its own.

With --credential, the command alone has the access, and you do not: it runs as
an identity of the access, with a kubeconfig of its own that goes when it ends.

Ctrl-C while the request waits withdraws it. When the access ends before the
command does, this is said on standard error and the command goes on, without
the access; with --stop-on-end it gets SIGTERM. If this process is killed, or
the API server is down at the end, the access lasts to its deadline.

Exit status: that of the command, 128 and the number of the signal that ended
it, or before it has begun:
  1    the request could not be made, or an error occurred
  3    denied, by an approver or because no policy allows it
  4    lapsed: nobody decided in time
  5    failed: it cannot be granted
  6    the --timeout passed; the request is withdrawn
  7    it ended in another way: withdrawn, revoked or already over
  126  the command cannot be started
  127  there is no such command; nothing was asked for
  130  interrupted with Ctrl-C, or 128 and the number of another signal; the
       request is withdrawn`,
		Example: `  # Restart a Deployment, with access to do so for as long as that takes
  kubectl access run edit -n payments --reason "INC-42: stuck consumers" -- kubectl rollout restart deployment/api

  # With a credential that nobody but the command has
  kubectl access run edit -n payments --reason "INC-42" --credential -- ./migrate.sh

  # A shell that has the access
  kubectl access run edit -n payments --for 1h --reason "INC-42" -- bash

  # In CI: give up when nobody approves within ten minutes
  kubectl access run deployer -n shop --timeout 10m --reason "release 1.4" -- ./deploy.sh`,
		Annotations: map[string]string{roleAnnotation: "access-requester"},
		Args:        r.takeCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() == 1 {
				r.ask.Role = args[0]
			}
			return r.runOnce(cmd)
		},
		ValidArgsFunction: r.completeRoleAndCommand,
	}
	o.askFlags(cmd, &r.ask)
	o.taskFlags(cmd, &r.ask)
	r.stopFlag(cmd)
	cmd.Flags().BoolVar(&r.ask.Credential, "credential", false, "Ask for a credential of the access's own, which the command alone has, instead of access for your own identity.")
	return cmd
}

// runner runs a command with access that it asks for before and gives back after.
type runner struct {
	*options
	ask       ask
	stopOnEnd bool

	// command as it was typed, and the path of its program.
	command []string
	path    string
	cluster *cluster.Client
	// key of the issued credential that the command alone has, nil where it runs as we
	// do.
	key     *credential.Key
	signals chan os.Signal
	// held are the requests to release at the end.
	held []*v1alpha1.AccessRequest
}

func (r *runner) stopFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.stopOnEnd, "stop-on-end", false, "When the access ends before the command does, send it SIGTERM: open connections, such as those of exec and port-forward, outlive the access otherwise.")
}

// takeCommand takes what is after -- as the command, and leaves at most one role.
func (r *runner) takeCommand(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	switch {
	case dash < 0 || dash == len(args):
		return usagef(cmd, "name the command after --, as in: %s … -- kubectl get pods", cmd.CommandPath())
	case dash > 1:
		return usagef(cmd, "name one role; you named %d", dash)
	}
	r.command = slices.Clone(args[dash:])
	return nil
}

// completeRoleAndCommand completes the role and, where there is one or --rules, the
// words of the command as a shell does.
func (r *runner) completeRoleAndCommand(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || len(r.ask.Rules) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return r.completeRoles(cmd, args, typed)
}

func (r *runner) runOnce(cmd *cobra.Command) error {
	if err := r.check(cmd); err != nil {
		return err
	}
	r.ask.wait = true
	c, request, err := r.prepare(cmd, r.ask)
	if err != nil {
		return err
	}
	if r.ask.Credential {
		if r.key, err = credential.NewKey(); err != nil {
			return err
		}
		request.Spec.CredentialKey = r.key.Public()
	}
	r.cluster = c
	stop := r.listen()
	defer stop()
	ctx := context.WithoutCancel(cmd.Context())
	request, err = r.get(ctx, request, nil)
	if err == nil {
		err = r.run(ctx, request, nil)
	}
	r.releaseAll(ctx, err)
	return err
}

// check finds what is wrong before anything is asked for.
func (r *runner) check(cmd *cobra.Command) error {
	for _, flag := range []string{
		"as", "as-group", "as-uid", "as-user-extra", "server", "token", "tls-server-name",
		"certificate-authority", "client-certificate", "client-key", "insecure-skip-tls-verify",
	} {
		if f := cmd.Flag(flag); f != nil && f.Changed {
			return usagef(cmd, "--%s would not reach the command, which signs in by the kubeconfig alone: put it there, and name it with --kubeconfig or --context", flag)
		}
	}
	path, err := exec.LookPath(r.command[0])
	if err != nil {
		return notStarted(r.command[0], err)
	}
	r.path = path
	return nil
}

// notStarted says why a command cannot be run, with the status that a shell has for it.
func notStarted(command string, err error) error {
	status, hint := exitNotFound, ""
	switch {
	case errors.Is(err, exec.ErrDot):
		hint = "; write ./" + command + " for the one in this folder"
	case !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, fs.ErrNotExist):
		status = exitNotStarted
	}
	if wrapped := (*exec.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &ended{status, fmt.Sprintf("cannot run %s: %v%s; nothing was asked for", term.Clean(command), err, hint)}
}

// listen hands on signals from now on. A signal that is ignored, as under nohup,
// stays so, for the command too.
func (r *runner) listen() (stop func()) {
	r.signals = make(chan os.Signal, 16)
	signal.Notify(r.signals, slices.DeleteFunc(slices.Clone(passed), signal.Ignored)...)
	return func() { signal.Stop(r.signals) }
}

// signalled says which signal ended what there was to wait for.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }

func (s signalled) status() int {
	if n, ok := s.Signal.(syscall.Signal); ok {
		return exitSignal + int(n)
	}
	return exitInterrupted
}

// heeding runs a step whose context ends at a signal.
func (r *runner) heeding(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	var listening sync.WaitGroup
	listening.Go(func() {
		select {
		case s := <-r.signals:
			cancel(signalled{s})
		case <-over:
		}
	})
	err := step(ctx)
	close(over)
	listening.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// get asks and waits until the access is there. When it never will be, or nobody
// waits any more, no request is left that waits. look, which may be nil, errs when
// what was asked for is not wanted any more.
func (r *runner) get(ctx context.Context, request *v1alpha1.AccessRequest, look func(*v1alpha1.AccessRequest) error) (*v1alpha1.AccessRequest, error) {
	generated := request.Name == ""
	if generated { // by us, so that it is known when the answer does not arrive
		request.Name, request.GenerateName = request.GenerateName+utilrand.String(8), ""
	}
	err := r.heeding(ctx, func(ctx context.Context) error { return r.cluster.Ask(ctx, request) })
	if err != nil {
		var status apierrors.APIStatus
		unanswered := !errors.As(err, &status) && !utilnet.IsConnectionRefused(err)
		if s := (signalled{}); request.UID == "" && !generated && errors.As(err, &s) {
			return nil, &ended{s.status(), s.String()}
		}
		if request.UID != "" || generated && unanswered { // it may be there all the same
			return nil, r.withdrawn(ctx, request, err)
		}
		return nil, err
	}
	fmt.Fprintf(r.ErrOut, "accessrequest.%s/%s created in %s\n", v1alpha1.GroupVersion.Group, request.Name, request.Namespace)
	last := request
	err = r.heeding(ctx, func(ctx context.Context) (err error) {
		watching, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		if look != nil {
			go func() { cancel(r.follow(watching, request, look)) }()
		}
		last, err = r.watch(watching, r.cluster, request, r.ask.timeout)
		return err
	})
	if err == nil && look != nil {
		err = look(last)
	}
	if err == nil {
		r.held = append(r.held, last)
		return last, nil
	}
	if over := (*ended)(nil); errors.As(err, &over) {
		return last, err
	}
	return last, r.withdrawn(ctx, last, err)
}

// follow ends with what look says of a request.
func (r *runner) follow(ctx context.Context, request *v1alpha1.AccessRequest, look func(*v1alpha1.AccessRequest) error) (found error) {
	err := r.cluster.Follow(ctx, request, func(current *v1alpha1.AccessRequest) bool {
		found = look(current)
		return found != nil
	}, func(error) {})
	return errors.Join(found, err)
}

// withdrawn takes a request back that nobody waits for any more, and says why.
func (r *runner) withdrawn(ctx context.Context, request *v1alpha1.AccessRequest, why error) error {
	told := fmt.Sprintf("%s is withdrawn", request.Name)
	if err := r.release(ctx, request, "nobody waits for it any more"); err != nil {
		told = notReleased(request, err)
	}
	var s signalled
	switch {
	case errors.As(why, &s):
		return &ended{s.status(), s.String() + "; " + told}
	case errors.Is(why, errTimeout):
		return &ended{exitTimeout, fmt.Sprintf("no decision within %s; %s: %s", text.Duration(r.ask.timeout), told, view.Progress(request, time.Now()))}
	}
	return fmt.Errorf("%w\n%s", why, told)
}

// run runs the command with the access of a request, nil for none, and errs with how
// it ended.
func (r *runner) run(ctx context.Context, request *v1alpha1.AccessRequest, wire func(*exec.Cmd) (done func(), err error)) error {
	env, cleanup, err := r.environment(ctx, request)
	if err != nil {
		return err
	}
	defer cleanup()
	select {
	case s := <-r.signals: // just before the command began
		return &ended{signalled{s}.status(), s.String()}
	default:
	}
	command, done, err := r.start(r.path, r.command, env, wire)
	if errors.Is(err, syscall.ENOEXEC) { // a script that does not say by what, as every shell runs it
		command, done, err = r.start("/bin/sh", append([]string{"sh", r.path}, r.command[1:]...), env, wire)
	}
	if err != nil {
		return &ended{exitNotStarted, fmt.Sprintf("cannot run %s: %v", term.Clean(r.command[0]), err)}
	}
	defer done()
	exited := make(chan error, 1)
	go func() { exited <- command.Wait() }()
	following, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan error, 1)
	if request != nil {
		go func() { over <- r.cluster.WaitEnd(following, request) }()
	}
	for {
		select {
		case s := <-r.signals:
			if passes(s, command.Process.Pid) {
				_ = command.Process.Signal(s) // it may have ended already
			}
		case err := <-over:
			r.accessEnded(err, command.Process)
		case err := <-exited:
			if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) && !errors.Is(err, exec.ErrWaitDelay) {
				return err
			}
			if status := statusOf(command.ProcessState); status != 0 {
				return &finished{status}
			}
			return nil
		}
	}
}

// start starts a program. done ends what was begun for it, and is for after its end.
func (r *runner) start(path string, args, env []string, wire func(*exec.Cmd) (func(), error)) (command *exec.Cmd, done func(), err error) {
	command = &exec.Cmd{Path: path, Args: args, Env: env, Stdin: r.In, Stdout: r.Out, Stderr: r.ErrOut}
	done = func() {}
	if wire != nil {
		if done, err = wire(command); err != nil {
			return nil, nil, err
		}
	}
	if err := command.Start(); err != nil {
		done()
		return nil, nil, err
	}
	return command, done, nil
}

// accessEnded tells that the command goes on without the access.
func (r *runner) accessEnded(why error, command *os.Process) {
	over := (*accessclient.EndedError)(nil)
	said := ""
	switch {
	case errors.As(why, &over):
		said = view.Progress(over.Request, time.Now())
	case errors.Is(why, accessclient.ErrDeleted):
		said = why.Error()
	default: // it can no longer be told, which is no end
		return
	}
	then := "the command goes on without it"
	if r.stopOnEnd {
		then = "the command is told to stop"
	}
	fmt.Fprintf(r.ErrOut, "kubectl access: the access is over, %s: %s\n", then, term.Clean(said))
	if r.stopOnEnd {
		_ = terminate(command)
	}
}

// How long a release is tried for, and how long before it is tried again.
const (
	releaseWithin = 15 * time.Second
	releaseAgain  = time.Second
)

// release gives access back or withdraws a request. A first signal meanwhile says
// what goes on, because Ctrl-C may have been meant for the command; a second one
// leaves it to its deadline.
func (r *runner) release(ctx context.Context, request *v1alpha1.AccessRequest, comment string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, releaseWithin, errors.New("the API server does not answer"))
	defer cancel()
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	over := make(chan struct{})
	defer close(over)
	go func() {
		for n := 0; ; n++ {
			select {
			case s := <-r.signals:
				if n > 0 {
					leave(signalled{s})
					return
				}
				fmt.Fprintf(r.ErrOut, "releasing %s; once more leaves it to its deadline\n", request.Name)
			case <-over:
				return
			}
		}
	}()
	line := &term.LiveLine{Out: r.ErrOut, Style: term.StyleOf(r.ErrOut)}
	defer line.End()
	for {
		err := r.cluster.Release(ctx, request, comment)
		if err == nil || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) {
			return err
		}
		line.Show("not released yet, trying again: " + err.Error())
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(releaseAgain):
		}
	}
}

// releaseAll gives back what is held, after a command that ended with err.
func (r *runner) releaseAll(ctx context.Context, err error) {
	comment := "the command ended"
	if f := (*finished)(nil); errors.As(err, &f) {
		comment = f.Error()
	}
	for _, request := range r.held {
		if err := r.release(ctx, request, comment); err != nil {
			fmt.Fprintln(r.ErrOut, "kubectl access: "+notReleased(request, err))
		}
	}
	r.held = nil
}

// notReleased says what is left, until when, and what to do.
func notReleased(request *v1alpha1.AccessRequest, err error) string {
	until := "it ends at its deadline at the latest"
	if deadline := request.Status.ExpirationTime; deadline != nil {
		until = "it ends at " + text.Moment(deadline.Time)
	}
	return fmt.Sprintf("%s could not be released: %s\n%s; to end it sooner: kubectl access release %s -n %s",
		request.Name, explain(err, "access-requester"), until, request.Name, request.Namespace)
}

// environment is what the command runs in with the access of a request, nil for as it
// is here, and what takes away what was made for it.
func (r *runner) environment(ctx context.Context, request *v1alpha1.AccessRequest) (env []string, cleanup func(), err error) {
	if r.key != nil && request != nil {
		return r.issuedEnvironment(ctx, request)
	}
	return kubeconfigFor(r.config)
}

// given tells whether a flag of kubectl was.
func given(flag *string) bool { return flag != nil && *flag != "" }

// statusOf is the exit status of a command as a shell has it.
func statusOf(state *os.ProcessState) int {
	if ended, ok := state.Sys().(syscall.WaitStatus); ok && ended.Signaled() {
		return exitSignal + int(ended.Signal())
	}
	return state.ExitCode()
}
