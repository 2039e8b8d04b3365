package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
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

// TaskKindsRole is the ClusterRole in which an administrator lists the kinds that
// a task may be of.
const TaskKindsRole = "access-broker-task-kinds"

// lookAgain is how long a task that anybody waits for goes without a look,
// whatever the watch tells.
const lookAgain = time.Minute

// unservedFor is how long the API server must have served no version of a kind
// before its objects are taken for gone.
const unservedFor = 5 * time.Minute

// taskVerbs are what the list must allow for a kind: without list and watch, an
// end would be missed.
var taskVerbs = []string{"get", "list", "watch"}

// kindMapper maps kinds to resources. What it has discovered it believes until
// rediscover, so a version that was withdrawn is found out by reading.
type kindMapper struct {
	fresh func() (meta.RESTMapper, error)

	mu      sync.Mutex
	current meta.RESTMapper
}

// mapping of a kind in the version that is named, or in the one that the API
// server prefers where that is not served.
func (m *kindMapper) mapping(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	mapper, err := m.mapper()
	if err != nil {
		return nil, err
	}
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return mapper.RESTMapping(kind.GroupKind())
	}
	return mapping, err
}

func (m *kindMapper) mapper() (_ meta.RESTMapper, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil {
		m.current, err = m.fresh()
	}
	return m.current, err
}

// rediscover forgets what was discovered.
func (m *kindMapper) rediscover() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = nil
}

func kindOf(ref v1alpha1.TaskRef) schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
}

// admitTask is the one test of what may be a task, before anybody is asked and at
// the grant: an administrator lists its kind, objects of the kind lie in a
// namespace and can be watched, and their end is known or told.
func (r reader) admitTask(ctx context.Context, ref v1alpha1.TaskRef) (*task.CompleteWhen, error) {
	kind := kindOf(ref)
	mapping, err := r.admitKind(ctx, kind)
	if err != nil {
		return nil, err
	}
	if mapping.GroupVersionKind.Version != kind.Version {
		served := mapping.GroupVersionKind
		return nil, impossiblef(v1alpha1.ReasonInvalid, "task: the API server does not serve %s as %s: ask again with apiVersion %s", kind.Kind, ref.APIVersion, served.GroupVersion())
	}
	return compileTask(ref)
}

// admitKind tells whether objects of a kind may be tasks, and where they are.
func (r reader) admitKind(ctx context.Context, kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	if why := neverTask(kind.GroupKind()); why != "" {
		return nil, impossiblef(v1alpha1.ReasonNotSupported, "task: %s cannot be a task, whatever %s lists: %s", kind.Kind, TaskKindsRole, why)
	}
	mapping, err := r.listedKind(ctx, kind)
	if no := (*impossible)(nil); errors.As(err, &no) {
		// The cache may not have heard of the last change of the list.
		return reader{cache: r.live, live: r.live, tasks: r.tasks}.listedKind(ctx, kind)
	}
	return mapping, err
}

func (r reader) listedKind(ctx context.Context, kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	role := &rbacv1.ClusterRole{}
	err := r.Get(ctx, client.ObjectKey{Name: TaskKindsRole}, role)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read ClusterRole %s: %w", TaskKindsRole, err)
	}
	list := kindList(role.Rules)
	if !list.names(kind.Group) { // nothing is discovered for kinds that nobody lists
		return nil, notListed(kind.GroupKind(), strings.ToLower(kind.Kind)+"s", nil)
	}
	mapping, err := r.tasks.kinds.mapping(kind)
	if meta.IsNoMatchError(err) {
		return nil, missingf(v1alpha1.ReasonWaitingForKind, v1alpha1.ReasonInvalid, "task: the API server knows no kind %s of %s", kind.Kind, kind.GroupVersion())
	}
	if err != nil {
		return nil, fmt.Errorf("find the resource of %s: %w", kind, err)
	}
	resource := mapping.Resource.Resource
	if missing := list.missing(kind.GroupKind(), resource); len(missing) > 0 {
		return nil, notListed(kind.GroupKind(), resource, missing)
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return nil, impossiblef(v1alpha1.ReasonInvalid, "task: a task lies in the namespace of its request, and a %s lies in none", kind.Kind)
	}
	return mapping, nil
}

// neverTask says why objects of a kind are never tasks. completeWhen answers
// about what its author may not read, so nothing that is confidential may be one.
func neverTask(kind schema.GroupKind) string {
	switch {
	case kind.Group == v1alpha1.GroupVersion.Group:
		return "it is one of the broker's own kinds"
	case kind == schema.GroupKind{Kind: "Secret"}:
		return "completeWhen would tell what it holds"
	}
	return ""
}

func notListed(kind schema.GroupKind, resource string, missing []string) error {
	how := fmt.Sprintf("an administrator adds apiGroups [%q], resources [%s], verbs [%s] to the ClusterRole %s", kind.Group, resource, strings.Join(taskVerbs, ", "), TaskKindsRole)
	if len(missing) > 0 && len(missing) < len(taskVerbs) {
		return missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "task: the broker may not %s objects of kind %s, so it would miss their end: %s", strings.Join(missing, " and "), kind.Kind, how)
	}
	return missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "task: %s is not among the kinds that a task may be of here: %s", kind.Kind, how)
}

// kindList is the list of kinds that an administrator wrote.
type kindList []rbacv1.PolicyRule

// names tells whether the list names anything of a group.
func (l kindList) names(group string) bool {
	return slices.ContainsFunc(l, func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.APIGroups, group) || slices.Contains(rule.APIGroups, rbacv1.APIGroupAll)
	})
}

// missing are the verbs that the list does not allow for a kind. A rule for
// objects by their names is no list of kinds. A wildcard is meant for tasks: it
// does not name the built-in kinds that are not made to end.
func (l kindList) missing(kind schema.GroupKind, resource string) []string {
	missing := slices.Clone(taskVerbs)
	wild := task.Known(kind) || !builtIn(kind.Group)
	for _, rule := range l {
		group := slices.Contains(rule.APIGroups, kind.Group) || slices.Contains(rule.APIGroups, rbacv1.APIGroupAll)
		named := slices.Contains(rule.Resources, resource) || wild && slices.Contains(rule.Resources, rbacv1.ResourceAll)
		if !group || !named || len(rule.ResourceNames) > 0 {
			continue
		}
		missing = slices.DeleteFunc(missing, func(verb string) bool {
			return slices.Contains(rule.Verbs, verb) || slices.Contains(rule.Verbs, rbacv1.VerbAll)
		})
	}
	return missing
}

// builtIn tells whether a group is one of Kubernetes' own.
func builtIn(group string) bool {
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
}

// compileTask compiles completeWhen, which must be there where the kind does not
// tell its end.
func compileTask(ref v1alpha1.TaskRef) (*task.CompleteWhen, error) {
	kind := kindOf(ref).GroupKind()
	if ref.CompleteWhen == "" {
		if task.Known(kind) {
			return nil, nil
		}
		return nil, impossiblef(v1alpha1.ReasonInvalid, "task: when a %s is over is not known here: say it in completeWhen, for example: %s", kind.Kind, task.Example(kind))
	}
	completeWhen, err := task.Compile(ref.CompleteWhen)
	if err != nil {
		return nil, impossiblef(v1alpha1.ReasonInvalid, "task.completeWhen: %v", err)
	}
	return completeWhen, nil
}

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
