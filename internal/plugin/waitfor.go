package plugin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
)

func (o *options) newWaitForCommand() *cobra.Command {
	w := &waitFor{options: o}
	cmd := &cobra.Command{
		Use:   "wait-for [ROLE]",
		Short: "Hold a workload until its access is there",
		Long: `Wait until the access of a workload is there, as its first step: an init
container of a Pod, with the Pod's own ServiceAccount. It needs the ClusterRole
access-requester in its namespace, and nothing else.

With a ROLE or --rules, the workload asks for itself. The name of the request
follows from the --task, its --task-uid and what is asked for, so that a step
that is tried again finds the request that it made before. Without, somebody else
asks: wait-for waits for the --request of that name, or for one that names the
--task and gives the access to this ServiceAccount.

It never withdraws a request: the next try goes on waiting. An API server that
does not answer is asked again.

Exit status:
  0    the access is active
  1    the request could not be made, or an error occurred
  3    denied, by an approver or because no policy allows it
  4    lapsed: nobody decided in time
  5    failed: it cannot be granted
  6    the --timeout passed; the request still waits
  7    it ended in another way: withdrawn, revoked or already over
  130  interrupted; the request still waits`,
		Example: `  # In the init container of a Job; the labels come from the downward API
  kubectl-access wait-for edit --namespaces shop --task "job/$JOB_NAME" --task-uid "$JOB_UID" --reason "deploy the shop"

  # Somebody asks for the Job
  kubectl-access wait-for --task "job/$JOB_NAME" --task-uid "$JOB_UID" --timeout 10m`,
		Annotations: map[string]string{roleAnnotation: "access-requester"},
		Args:        oneName("role", 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				w.ask.Role = args[0]
			}
			return w.run(cmd)
		},
		ValidArgsFunction: o.completeRoles,
	}
	o.askFlags(cmd, &w.ask)
	o.taskFlags(cmd, &w.ask)
	f := cmd.Flags()
	f.StringVar(&w.uid, "task-uid", "", "UID of the --task: of a Job, the label batch.kubernetes.io/controller-uid of its Pods.")
	f.StringVar(&w.request, "request", "", "Wait for the request of this name, which somebody else makes.")
	complete(cmd, "task-uid", fixed())
	complete(cmd, "request", o.completeRequests(func(*v1alpha1.AccessRequest, v1alpha1.UserInfo) bool { return true }))
	return cmd
}

// waitFor holds a workload.
type waitFor struct {
	*options
	ask          ask
	uid, request string
}

func (w *waitFor) run(cmd *cobra.Command) error {
	asks := w.ask.Role != "" || len(w.ask.Rules) > 0
	switch {
	case asks && w.request != "":
		return usagef(cmd, "--request waits for what somebody else asks for: leave the role and --rules out")
	case asks && w.ask.Task != "" && w.uid == "" && w.ask.Name == "":
		return usagef(cmd, "say which --task it is, with --task-uid: a step that is tried again must not ask again")
	case asks && w.ask.Task == "" && w.ask.Name == "":
		return usagef(cmd, "say what the access is for, with --task and --task-uid, or give the request a --name: a step that is tried again must not ask again")
	case !asks && w.request == "" && w.ask.Task == "":
		return usagef(cmd, "name a role to ask for, or what to wait for with --request or --task")
	}
	ctx := cmd.Context()
	if w.ask.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, w.ask.timeout, errTimeout)
		defer cancel()
	}
	w.ask.wait = true
	find := w.find
	if asks {
		find = w.askOnce
	}
	c, request, err := find(ctx, cmd)
	if err == nil {
		// The timeout is the context's.
		request, err = w.watch(ctx, c, request, 0)
	}
	waits := "nobody has asked yet"
	if request != nil && request.UID != "" {
		waits = "request " + request.Name + " still waits: " + view.Progress(request, time.Now())
	}
	switch {
	case errors.Is(err, errTimeout):
		return &ended{exitTimeout, fmt.Sprintf("no access within %s; %s", text.Duration(w.ask.timeout), waits)}
	case errors.Is(err, context.Canceled):
		return &ended{exitInterrupted, "interrupted; " + waits}
	}
	return err
}

// askOnce makes the request, unless an earlier try has made it.
func (w *waitFor) askOnce(ctx context.Context, cmd *cobra.Command) (*cluster.Client, *v1alpha1.AccessRequest, error) {
	c, request, err := w.prepare(cmd, w.ask)
	if err != nil {
		return nil, nil, err
	}
	if request.Name == "" {
		if request.Name, err = onceName(request.Asked(), w.uid); err != nil {
			return nil, nil, err
		}
		request.GenerateName = ""
	}
	asked := request.DeepCopy()
	err = w.trying(ctx, func() error {
		asked.DeepCopyInto(request)
		return c.AskOnce(ctx, request)
	})
	if err == nil {
		fmt.Fprintf(w.ErrOut, "accessrequest.%s/%s in %s\n", v1alpha1.GroupVersion.Group, request.Name, request.Namespace)
	}
	return c, request, err
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// onceName is the name of a request that follows from what is asked for, and for what.
func onceName(spec *v1alpha1.AccessRequestSpec, uid string) (string, error) {
	asked, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(uid+"\n"), asked...))
	name := notInName.ReplaceAllString(spec.Task.Name, "-")
	return name[:min(len(name), 40)] + "-" + hex.EncodeToString(sum[:8]), nil
}

// trying does something as long as the API server does not answer: a Pod may begin
// before its network does.
func (w *waitFor) trying(ctx context.Context, do func() error) error {
	line := &term.LiveLine{Out: w.ErrOut, Style: term.StyleOf(w.ErrOut)}
	defer line.End()
	for {
		err := do()
		if err == nil || ctx.Err() == nil && !passing(err) {
			return err
		}
		line.Show("no answer, trying again: " + err.Error())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(releaseAgain):
		}
	}
}

// passing tells whether an error may be another one, or none, in a moment: nobody
// answered, or not now.
func passing(err error) bool {
	var unanswered *url.Error
	return errors.As(err, &unanswered) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}

// find waits for the request that somebody else makes.
func (w *waitFor) find(ctx context.Context, _ *cobra.Command) (*cluster.Client, *v1alpha1.AccessRequest, error) {
	c, err := cluster.Connect(w.config)
	if err != nil {
		return nil, nil, err
	}
	spec := v1alpha1.AccessRequestSpec{}
	if err := (asking.Form{Task: w.ask.Task, CompleteWhen: cmp.Or(w.ask.CompleteWhen, "true")}).LookUp(&spec, w.config.ToRESTMapper); err != nil {
		return nil, nil, err
	}
	var me v1alpha1.UserInfo
	if err := w.trying(ctx, func() (err error) { me, err = c.Me(ctx); return err }); err != nil {
		return nil, nil, err
	}
	line := &term.LiveLine{Out: w.ErrOut, Style: term.StyleOf(w.ErrOut)}
	defer line.End()
	var found *v1alpha1.AccessRequest
	err = c.FollowAll(ctx, c.Namespace, func(all []v1alpha1.AccessRequest) bool {
		found = w.newest(all, spec.Task, me)
		if found == nil {
			line.Show("waiting for somebody to ask")
		}
		return found != nil
	}, func(err error) { line.Show("connection lost, trying again: " + err.Error()) })
	if err == nil && !view.Mine(found, me) {
		err = fmt.Errorf("request %s gives the access to %s, and this is %s: ask with --subject for this one",
			found.Name, text.List(text.Subjects(identity.Subjects(&found.Spec)), 3), me.Username)
	}
	return c, found, err
}

// newest is the last request that is meant. One that has been used up is not: it was
// for an earlier task of the same name.
func (w *waitFor) newest(all []v1alpha1.AccessRequest, task *v1alpha1.TaskRef, me v1alpha1.UserInfo) *v1alpha1.AccessRequest {
	meant := view.Keep(all, func(r *v1alpha1.AccessRequest) bool {
		if w.request != "" {
			return r.Name == w.request
		}
		over := r.Status.Phase == v1alpha1.RequestCompleted || r.Status.Phase == v1alpha1.RequestExpired || r.Status.Phase == v1alpha1.RequestRevoked
		return !over && view.Mine(r, me) && names(r, task, types.UID(w.uid))
	})
	if len(meant) == 0 {
		return nil
	}
	return new(slices.MaxFunc(meant, func(a, b v1alpha1.AccessRequest) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	}))
}

// names tells whether a request is for a task of that UID, as far as it is known.
func names(r *v1alpha1.AccessRequest, task *v1alpha1.TaskRef, uid types.UID) bool {
	of := r.Asked().Task
	if of == nil || of.Kind != task.Kind || of.Name != task.Name || groupOf(of) != groupOf(task) {
		return false
	}
	pins := r.Status.Pins
	return uid == "" || pins == nil || pins.Task == nil || pins.Task.UID == "" || pins.Task.UID == uid
}

func groupOf(task *v1alpha1.TaskRef) string {
	return schema.FromAPIVersionAndKind(task.APIVersion, task.Kind).Group
}
