package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Exit statuses of `request --wait`, documented in its help. Those of `run`, `for`
// and `wait-for` are the same, and a few more.
const (
	exitError   = 1
	exitDenied  = 3
	exitLapsed  = 4
	exitFailed  = 5
	exitTimeout = 6
	exitOver    = 7
	exitUnasked = 8

	exitNotStarted = 126 // as a shell has it for what is no program
	exitNotFound   = 127

	exitSignal      = 128 // and the number of the signal
	exitInterrupted = 130 // as a shell has it for Ctrl-C
)

// ended is an end of waiting with its own exit status.
type ended struct {
	status  int
	message string
}

func (e *ended) Error() string { return e.message }

// finished is the end of a command that was run: it has said itself what there is
// to say.
type finished struct{ status int }

func (f *finished) Error() string { return fmt.Sprintf("the command ended with status %d", f.status) }

// silent tells whether there is nothing to say about an error.
func silent(err error) bool {
	_, ok := err.(*finished) //nolint:errorlint // joined with another error it is not silent
	return ok
}

// advised is an error with advice, of this room or of another.
type advised interface {
	error
	Advice() string
}

// hinted is such an error of this room.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// Advice says what to do about it.
func (e *hinted) Advice() string { return e.hint }

func hintf(hint, format string, args ...any) error {
	return &hinted{err: fmt.Errorf(format, args...), hint: hint}
}

// usagef is a mistake on the command line.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return hintf("See '"+cmd.CommandPath()+" --help'.", format, args...)
}

func exitStatus(err error) int {
	if e := (*ended)(nil); errors.As(err, &e) {
		return e.status
	}
	if f := (*finished)(nil); errors.As(err, &f) {
		return f.status
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return exitError
}

// roleAnnotation on a command names the ClusterRole that its users need.
const roleAnnotation = "role"

var refused = regexp.MustCompile(`(?s)^.*?ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request: (.*)$`)

// explain says what went wrong and what to do about it. role is the ClusterRole
// that the command needs.
func explain(err error, role string) string {
	message := text.Lines(err.Error())
	var (
		over        *ended
		hint        advised
		unreachable *url.Error
		status      apierrors.APIStatus
	)
	switch {
	case errors.As(err, &over):
		return message
	case errors.As(err, &hint):
		return message + "\n" + hint.Advice()
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &unreachable):
		return "cannot reach the API server: " + term.Clean(unreachable.Err.Error()) + "\nIs the cluster up, and is it the right --context?"
	case clientcmd.IsEmptyConfig(err):
		return "there is no kubeconfig\nSet KUBECONFIG, or use --kubeconfig."
	case !errors.As(err, &status):
		return message
	}
	message = term.Clean(err.Error())
	if match := refused.FindStringSubmatch(status.Status().Message); match != nil {
		return term.Clean(match[1])
	}
	switch {
	case cluster.NotServed(err):
		return "Access Broker is not installed on this cluster: the API server has no " + v1alpha1.GroupVersion.Group + "\n" +
			"An administrator installs it with 'kubectl apply -k config/default'. Is it the right --context?"
	case apierrors.IsNotFound(err):
		return message + "\nSee 'kubectl access list --all' for your requests, in all namespaces."
	case apierrors.IsForbidden(err) && strings.Contains(message, "cannot impersonate"):
		return message + "\nYou may not act as somebody else: leave --as and --as-group out."
	case apierrors.IsForbidden(err) && role != "":
		return message + "\nAsk an administrator to bind the ClusterRole " + role + " to you."
	case apierrors.IsUnauthorized(err):
		return message + "\nThe API server does not know you: log in again, or check --context. " +
			"A workload's token must be of an issuer, and for an --audience, that the API server accepts."
	case apierrors.IsInvalid(err):
		return invalid(err, message)
	}
	return message
}

// invalid lists what is wrong, field by field.
func invalid(err error, message string) string {
	lines := view.Each(cluster.Invalid(err), func(w cluster.Wrong) string { return w.Field + ": " + w.Message })
	if len(lines) == 0 {
		return message
	}
	return "the API server does not accept this:\n  " + strings.Join(lines, "\n  ")
}
