package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/task"
)

// lookAgain is how long a task that anybody waits for goes without a look,
// whatever the watch tells.
const lookAgain = time.Minute

// unservedFor is how long the API server must have served no version of a kind
// before its objects are taken for gone.
const unservedFor = 5 * time.Minute

// task reads a task, nil when it does not exist. It reads live: whether a task is
// over must not be told from an old copy. A version that is not served any more
// says nothing about the object, which is there under another one.
func (r reader) task(ctx context.Context, namespace string, ref v1alpha1.TaskRef) (*unstructured.Unstructured, error) {
	kind := kindOf(ref)
	object, err := r.taskAs(ctx, kind, namespace, ref.Name)
	if notServed(err) {
		r.tasks.kinds.rediscover()
		mapping, mapErr := r.tasks.kinds.mapping(kind)
		if mapErr != nil && !meta.IsNoMatchError(mapErr) {
			return nil, fmt.Errorf("find the resource of %s: %w", kind, mapErr)
		}
		if mapErr == nil && mapping.GroupVersionKind != kind {
			object, err = r.taskAs(ctx, mapping.GroupVersionKind, namespace, ref.Name)
		}
	}
	switch {
	case err == nil:
		return object, nil
	case notServed(err):
		return nil, impossiblef(v1alpha1.ReasonTaskNotServed, "task: the API server knows no kind %s of %s", ref.Kind, ref.APIVersion)
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return nil, notListed(kind.GroupKind(), strings.ToLower(ref.Kind)+"s", nil)
	}
	return nil, fmt.Errorf("read task %s %s/%s: %w", ref.Kind, namespace, ref.Name, err)
}

func (r reader) taskAs(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	err := r.live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	return object, err
}

// notServed tells that there is no such kind, which is not an answer about any
// object of it.
func notServed(err error) bool {
	return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// untold is that nobody can say whether a task is over. It is told, and it is no
// end: the deadline holds.
type untold struct{ reason, message string }

func (e *untold) Error() string { return e.message }

// taskTrouble takes what is to be told of the task out of what went wrong.
func taskTrouble(err error) (*untold, error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if trouble := (*untold)(nil); errors.As(err, &trouble) {
			return trouble, nil
		}
		return nil, err
	}
	var (
		found *untold
		rest  []error
	)
	for _, each := range joined.Unwrap() {
		trouble, other := taskTrouble(each)
		if trouble != nil {
			found = trouble
		}
		rest = append(rest, other)
	}
	return found, errors.Join(rest...)
}

// tellTask keeps the condition TaskWatched, which is there while it cannot be told
// whether the task is over.
func tellTask(conditions *[]metav1.Condition, now time.Time, trouble *untold) {
	before := meta.FindStatusCondition(*conditions, v1alpha1.ConditionTaskWatched)
	if before != nil && (trouble == nil || before.Reason != trouble.reason) {
		meta.RemoveStatusCondition(conditions, v1alpha1.ConditionTaskWatched) // another trouble began now
	}
	if trouble != nil {
		setCondition(conditions, now, v1alpha1.ConditionTaskWatched, metav1.ConditionFalse, trouble.reason,
			trouble.message+"; until that is mended, the access lasts to its deadline")
	}
}

// mirrorTask tells the request what its grant says of the task.
func mirrorTask(s *requestStep, given *v1alpha1.AccessGrant) {
	meta.RemoveStatusCondition(&s.Status.Conditions, v1alpha1.ConditionTaskWatched)
	if told := meta.FindStatusCondition(given.Status.Conditions, v1alpha1.ConditionTaskWatched); told != nil {
		meta.SetStatusCondition(&s.Status.Conditions, *told)
	}
}

// watched records what keeps the broker from telling whether the task of an active
// grant is over, and says when to look again.
func (r *GrantReconciler) watched(ctx context.Context, g *v1alpha1.AccessGrant, trouble *untold, now time.Time) (reconcile.Result, error) {
	look := g.Spec.ExpirationTime.Sub(now) + overdueGrace
	if g.Spec.Task == nil {
		return reconcile.Result{RequeueAfter: look}, nil
	}
	if g.Status.Phase == v1alpha1.GrantActive { // otherwise it has been written just now, and is looked at again
		next := g.DeepCopy()
		tellTask(&next.Status.Conditions, now, trouble)
		written, err := patchStatus(ctx, r.Client, g, next)
		if err != nil {
			return again(err)
		}
		if written {
			r.Journal.task(next, g.Status.Conditions, next.Status.Conditions)
		}
	}
	return reconcile.Result{RequeueAfter: min(look, lookAgain)}, nil
}

// task tells of what keeps the broker from telling whether a task is over.
func (j Journal) task(regarding runtime.Object, before, after []metav1.Condition) {
	old, told := meta.FindStatusCondition(before, v1alpha1.ConditionTaskWatched), meta.FindStatusCondition(after, v1alpha1.ConditionTaskWatched)
	if told != nil && (old == nil || old.Message != told.Message) {
		j.event(regarding, corev1.EventTypeWarning, told.Reason, "Watch", told.Message)
	}
}

// taskNotOver fails a request whose task is over already, before anybody is asked
// and at the grant, and tells of a completeWhen that errs.
func (r *RequestReconciler) taskNotOver(s *requestStep, want *resolved) bool {
	if s.Spec.Task == nil {
		return true
	}
	s.until(s.now.Add(lookAgain))
	if want.task == nil {
		tellTask(&s.Status.Conditions, s.now, nil)
		return true
	}
	state, why, err := task.Evaluate(want.task, want.completeWhen, task.Access{Request: want.ask.Object, Granted: s.now})
	if state.Over() {
		s.end(v1alpha1.RequestFailed, v1alpha1.ReasonTaskOver, fmt.Sprintf("the task is over already: %s; %s", why, task.Another(kindOf(*s.Spec.Task).GroupKind())))
		return false
	}
	var trouble *untold
	if err != nil {
		trouble = &untold{v1alpha1.ReasonCompleteWhenErrs, "it cannot be told whether the task is over: " + err.Error()}
	}
	tellTask(&s.Status.Conditions, s.now, trouble)
	if state == task.Held {
		want.taskHeld = why
	}
	return true
}

// taskIsThere holds an approved request back until its task exists and runs.
func (r *RequestReconciler) taskIsThere(s *requestStep, want *resolved) bool {
	ref := s.Spec.Task
	switch {
	case ref == nil:
		return true
	case want.task == nil:
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonWaitingForTask, fmt.Sprintf("approved; waits for %s %s to exist", ref.Kind, ref.Name))
	case want.taskHeld != "":
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonWaitingForTask, fmt.Sprintf("approved; %s: the access begins when it runs", want.taskHeld))
	default:
		return true
	}
	return false
}

// taskOver: the task is complete, failed, gone or replaced. What keeps the broker
// from telling is told, as *untold.
func (r *GrantReconciler) taskOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	ref := g.Spec.Task
	if ref == nil {
		return nil, nil
	}
	from, namespace := r.reader(), g.Spec.RequestRef.Namespace
	r.Tasks.Watch(ctx, from, namespace, ref.TaskRef)
	object, err := from.task(ctx, namespace, ref.TaskRef)
	if no := (*impossible)(nil); errors.As(err, &no) {
		return r.taskUnreadable(g, no)
	}
	if err != nil {
		return nil, err
	}
	completeWhen, err := compileTask(ref.TaskRef)
	if err != nil {
		return nil, &untold{v1alpha1.ReasonCompleteWhenErrs, err.Error()}
	}
	request := &v1alpha1.AccessRequest{}
	if err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: g.Spec.RequestRef.Name}, request); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	access := task.Access{Granted: g.Spec.NotBefore.Time}
	if access.Request, err = asMap(request); err != nil {
		return nil, err
	}
	if object == nil || object.GetUID() != ref.UID {
		// The watch may have seen what became of it.
		if state, why := r.Tasks.last(namespace, ref.TaskRef, ref.UID, completeWhen, access); state.Over() {
			return taskEnd(state, why+", and was deleted"), nil
		}
		return &grant.End{Reason: v1alpha1.EndTaskGone, Message: fmt.Sprintf("%s %s was deleted or replaced", ref.Kind, ref.Name)}, nil
	}
	state, why, err := task.Evaluate(object, completeWhen, access)
	if err != nil {
		return nil, &untold{v1alpha1.ReasonCompleteWhenErrs, "it cannot be told whether the task is over: " + err.Error()}
	}
	return taskEnd(state, why), nil
}

func taskEnd(state task.State, why string) *grant.End {
	switch state {
	case task.Completed:
		return &grant.End{Reason: v1alpha1.EndTaskCompleted, Message: why}
	case task.Failed:
		return &grant.End{Reason: v1alpha1.EndTaskFailed, Message: why}
	case task.Running, task.Held: // one that is suspended again keeps its clock
	}
	return nil
}

// taskUnreadable: objects of the kind cannot be read. That is no end, unless the
// API server has known no such kind for so long that its objects must be gone.
func (r *GrantReconciler) taskUnreadable(g *v1alpha1.AccessGrant, no *impossible) (*grant.End, error) {
	told := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionTaskWatched)
	if no.reason == v1alpha1.ReasonTaskNotServed && told != nil && told.Reason == no.reason && r.Clock.Now().Sub(told.LastTransitionTime.Time) > unservedFor {
		return &grant.End{Reason: v1alpha1.EndTaskGone, Message: fmt.Sprintf("the API server has served no kind %s of %s for %s, so the task is gone", g.Spec.Task.Kind, g.Spec.Task.APIVersion, unservedFor)}, nil
	}
	reason := v1alpha1.ReasonTaskUnreadable
	if no.reason == v1alpha1.ReasonTaskNotServed {
		reason = no.reason
	}
	return nil, &untold{reason, no.message}
}

// requestsFor turns names into reconcile requests.
func requestsFor(names ...types.NamespacedName) []reconcile.Request {
	out := make([]reconcile.Request, len(names))
	for i, name := range names {
		out[i].NamespacedName = name
	}
	return out
}
