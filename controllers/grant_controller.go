package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/rbac"
	"github.com/accessbroker/accessbroker/internal/task"
)

// overdueGrace is how long after a deadline the grant controller leaves the
// removal to the expirer, which runs on every replica, before it takes the
// access away itself.
const overdueGrace = time.Second

// clockSkew is how far the clocks of two replicas may differ: a binding that is
// gone this close to the deadline was taken by another replica, not by hand.
const clockSkew = 5 * time.Second

// verifyAgain is when to ask again while the API server's authorizer has not
// caught up with a removal.
const verifyAgain = 100 * time.Millisecond

// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessgrants/status,verbs=patch;update
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings;clusterrolebindings,verbs=get;list;watch;create;update;patch;delete

// GrantReconciler gives what an AccessGrant says and takes it away.
type GrantReconciler struct {
	Client client.Client
	// Live reads from the API server, not from the cache.
	Live     client.Reader
	Clock    clock.PassiveClock
	Journal  Journal
	Policies *Policies
	// Admission tells whether identities could be verified.
	Admission *Admission
	// Tasks watches the kinds of tasks; nil in tests that call Reconcile.
	Tasks *TaskWatcher
	// Retention of grants that have ended.
	Retention time.Duration
	// Backlog is the expirer's and the request controller's.
	Backlog *Backlog
	Metrics *Metrics

	// written is the phase that was last written to a grant, by its name, until
	// the cache shows it: what the cache shows before that has been dealt with.
	written sync.Map
	// given is the status of a grant, v1alpha1.AccessGrantStatus by its UID, from
	// when its bindings exist until that is recorded.
	given sync.Map
}

// behind tells whether the cache does not show yet what was written to a grant.
// What it lacks is on its way, and brings another reconcile.
func (r *GrantReconciler) behind(g *v1alpha1.AccessGrant) bool {
	written, ok := r.written.Load(g.Name)
	if !ok {
		return false
	}
	rank := []v1alpha1.GrantPhase{"", v1alpha1.GrantPending, v1alpha1.GrantActive, v1alpha1.GrantEnded}
	if slices.Index(rank, g.Status.Phase) < slices.Index(rank, written.(v1alpha1.GrantPhase)) {
		return true
	}
	r.written.Delete(g.Name)
	return false
}

// Reconcile brings one grant forward: is it over? then take, else give.
func (r *GrantReconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	g := &v1alpha1.AccessGrant{}
	if err := r.Client.Get(ctx, key.NamespacedName, g); err != nil {
		if apierrors.IsNotFound(err) {
			r.written.Delete(key.Name)
			r.Metrics.ended(key.Name)
			return reconcile.Result{}, r.Metrics.removal(r.removeOrphans(ctx, key.Name))
		}
		return reconcile.Result{}, fmt.Errorf("read grant: %w", err)
	}
	defer r.Backlog.end(key.Name) // nobody waits for one that cannot be given at once
	if r.behind(g) {
		return reconcile.Result{RequeueAfter: overdueGrace}, nil
	}
	now := r.Clock.Now()
	if g.Status.Phase == v1alpha1.GrantEnded {
		r.Metrics.ended(g.Name)
		return r.retain(ctx, g, now)
	}
	held := r.held(g)
	end, err := r.over(ctx, held, now)
	if end == nil && err == nil && held.Status.Phase != v1alpha1.GrantActive {
		// An error above is no reason not to look at the rest, but it is one
		// not to give.
		if end, err = r.notApproved(ctx, g, now); end == nil && err == nil {
			held, end, err = r.give(ctx, g, now)
		}
	}
	if end != nil || err == nil {
		r.Metrics.over(g.Name, end, now)
	}
	switch {
	case end != nil && end.Reason == v1alpha1.EndExpired && r.Backlog.waits(g.Spec.ExpirationTime.Time, now):
		return later(recordAgain), nil // the expirer takes the access; the record of it can wait
	case end != nil:
		return r.take(ctx, g, *end, now)
	case err != nil:
		return again(err)
	}
	if g.Status.Phase != v1alpha1.GrantActive {
		r.Backlog.end(g.Name)
		if r.Backlog.waits(g.Spec.NotBefore.Time, now) {
			return later(recordAgain), nil // others wait for access; that this one is given can be told later
		}
		if err := r.record(ctx, g, held); err != nil {
			return again(err)
		}
	}
	return reconcile.Result{RequeueAfter: g.Spec.ExpirationTime.Sub(now) + overdueGrace}, nil
}

// held is a grant with what was given but is not recorded yet, to be read only.
func (r *GrantReconciler) held(g *v1alpha1.AccessGrant) *v1alpha1.AccessGrant {
	status, ok := r.given.Load(g.UID)
	if !ok || g.Status.Phase == v1alpha1.GrantActive {
		return g
	}
	held := *g
	held.Status = status.(v1alpha1.AccessGrantStatus)
	return &held
}

// release lets a grant that is over be deleted.
func (r *GrantReconciler) release(ctx context.Context, g *v1alpha1.AccessGrant) error {
	if g.DeletionTimestamp == nil || !controllerutil.ContainsFinalizer(g, v1alpha1.FinalizerRevoke) {
		return nil
	}
	next := g.DeepCopy()
	controllerutil.RemoveFinalizer(next, v1alpha1.FinalizerRevoke)
	return client.IgnoreNotFound(r.Client.Patch(ctx, next, client.MergeFromWithOptions(g, client.MergeFromWithOptimisticLock{})))
}

// retain keeps a grant that has ended: without access, and until it is old
// enough to be deleted after it was logged whole.
func (r *GrantReconciler) retain(ctx context.Context, g *v1alpha1.AccessGrant, now time.Time) (reconcile.Result, error) {
	if err := errors.Join(r.Metrics.removal(removeStrays(ctx, r.Client, r.Live, g, nil)), r.release(ctx, g)); err != nil {
		return again(err)
	}
	if g.DeletionTimestamp != nil || g.Status.EndedTime == nil {
		return reconcile.Result{}, nil
	}
	stay, up := overstay(g.Status.EndedTime.Time, r.Retention, now)
	if !up {
		return reconcile.Result{RequeueAfter: stay}, nil
	}
	r.Journal.grant("Deleted", "Forget", "kept for "+r.Retention.String()+" after its end", g)
	err := r.Client.Delete(ctx, g, client.Preconditions{UID: &g.UID, ResourceVersion: &g.ResourceVersion})
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

// over tells whether a grant is over, and why. The deadline comes first and
// needs nothing else; a question that cannot be answered is an error, and never
// an end.
func (r *GrantReconciler) over(ctx context.Context, g *v1alpha1.AccessGrant, now time.Time) (*grant.End, error) {
	if end := grant.Expired(g, now); end != nil {
		return end, nil
	}
	if g.DeletionTimestamp != nil {
		return &grant.End{Reason: v1alpha1.EndGrantDeleted, Message: "the AccessGrant was deleted"}, nil
	}
	var errs []error
	for _, check := range []func(context.Context, *v1alpha1.AccessGrant) (*grant.End, error){
		r.requestOver, r.policyOver, r.taskOver, r.roleOver, r.subjectOver, r.namespaceOver, r.bindingOver,
	} {
		end, err := check(ctx, g)
		if end != nil {
			return end, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (r *GrantReconciler) reader() reader { return reader{cache: r.Client, live: r.Live} }

// requestOver: the request was deleted, or somebody decided to end it.
func (r *GrantReconciler) requestOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	ref := g.Spec.RequestRef
	request := &v1alpha1.AccessRequest{}
	err := r.reader().Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, request)
	if apierrors.IsNotFound(err) || (err == nil && (request.UID != ref.UID || request.DeletionTimestamp != nil)) {
		return &grant.End{Reason: v1alpha1.EndRequestDeleted, Message: fmt.Sprintf("AccessRequest %s/%s was deleted", ref.Namespace, ref.Name)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return endedBy(weigh(request, 0)), nil
}

// endedBy is the end that somebody decided on, nil when nobody did.
func endedBy(outcome policy.Outcome) *grant.End {
	switch {
	case outcome.Denied:
		return &grant.End{Reason: v1alpha1.EndDenied, By: outcome.By, Message: outcome.Message}
	case outcome.Revoked:
		return &grant.End{Reason: v1alpha1.EndRevoked, By: outcome.By, Message: outcome.Message}
	case outcome.Withdrawn:
		return &grant.End{Reason: v1alpha1.EndReleased, By: outcome.By, Message: outcome.Message}
	}
	return nil
}

// policyOver: the policy was deleted, or changed so that it no longer allows
// this. Conditions are held against the moment of the grant: the end of the
// working hours does not end access that began within them.
func (r *GrantReconciler) policyOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	ref := g.Spec.PolicyRef
	object := &v1alpha1.AccessPolicy{}
	err := r.reader().Get(ctx, client.ObjectKey{Name: ref.Name}, object)
	if apierrors.IsNotFound(err) || (err == nil && (object.UID != ref.UID || object.DeletionTimestamp != nil)) {
		return &grant.End{Reason: v1alpha1.EndPolicyGone, Message: fmt.Sprintf("AccessPolicy %s was deleted", ref.Name)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if object.Generation == ref.Generation {
		return nil, nil
	}
	ask, err := r.askOf(ctx, g)
	if err != nil {
		return nil, err
	}
	allows, why, err := r.Policies.Compile(object).Allows(ctx, *ask, g.Spec.NotBefore.Time)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", ref.Name, err)
	}
	if !allows {
		return &grant.End{Reason: v1alpha1.EndPolicyChanged, Message: fmt.Sprintf("AccessPolicy %s was changed and no longer allows this: it %s", ref.Name, why)}, nil
	}
	return nil, nil
}

// askOf is what was asked for, as the grant records it.
func (r *GrantReconciler) askOf(ctx context.Context, g *v1alpha1.AccessGrant) (*policy.Request, error) {
	ref := g.Spec.RequestRef
	request := &v1alpha1.AccessRequest{}
	if err := r.reader().Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, request); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	object, err := asMap(request)
	if err != nil {
		return nil, err
	}
	duration := g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time)
	ask := &policy.Request{
		Object: object, Namespace: ref.Namespace, Requester: g.Spec.Requester,
		RoleRef: g.Spec.RoleRef, Rules: g.Spec.Rules, Cluster: g.Spec.Cluster, Duration: &duration, HasTask: g.Spec.Task != nil,
	}
	for _, s := range g.Spec.Subjects {
		ask.Subjects = append(ask.Subjects, s.Subject)
	}
	for _, ns := range g.Spec.Namespaces {
		namespace := namespaceMetadata()
		if err := r.reader().Get(ctx, client.ObjectKey{Name: ns.Name}, namespace); err != nil {
			return nil, fmt.Errorf("read namespace: %w", err)
		}
		object, err := asMap(namespace)
		if err != nil {
			return nil, err
		}
		ask.Namespaces = append(ask.Namespaces, policy.Namespace{Name: ns.Name, Labels: namespace.Labels, Object: object})
	}
	if g.Spec.Task != nil {
		object, err := r.reader().task(ctx, ref.Namespace, g.Spec.Task.TaskRef)
		if err != nil {
			return nil, err
		}
		if object != nil {
			ask.Task = object.Object
		}
	}
	return ask, nil
}

// impossibleEnd sorts an error of a look-up: what the lookup found to be
// impossible is an end, a failure of the lookup is not.
func impossibleEnd(err error, reason v1alpha1.EndReason) (*grant.End, error) {
	if no := (*impossible)(nil); errors.As(err, &no) {
		return &grant.End{Reason: reason, Message: no.message}, nil
	}
	return nil, err
}

// taskOver: the task is complete, failed, gone or replaced.
func (r *GrantReconciler) taskOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	ref := g.Spec.Task
	if ref == nil {
		return nil, nil
	}
	r.Tasks.Watch(ref.TaskRef)
	object, err := r.reader().task(ctx, g.Spec.RequestRef.Namespace, ref.TaskRef)
	if err != nil {
		return nil, err
	}
	if object == nil || object.GetUID() != ref.UID {
		return &grant.End{Reason: v1alpha1.EndTaskGone, Message: fmt.Sprintf("%s %s was deleted or replaced", ref.Kind, ref.Name)}, nil
	}
	state, why, err := evaluateTask(ref.TaskRef, object)
	if err != nil {
		return nil, err
	}
	switch state {
	case task.Completed:
		return &grant.End{Reason: v1alpha1.EndTaskCompleted, Message: why}, nil
	case task.Failed:
		return &grant.End{Reason: v1alpha1.EndTaskFailed, Message: why}, nil
	case task.Running:
	}
	return nil, nil
}

// roleOver: the role was deleted, replaced, or came to allow more than was
// approved.
func (r *GrantReconciler) roleOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	if g.Spec.RoleRef == nil {
		return nil, nil
	}
	gone := func(err error) (*grant.End, error) { return impossibleEnd(err, v1alpha1.EndRoleGone) }
	replaced := &grant.End{Reason: v1alpha1.EndRoleGone, Message: fmt.Sprintf("%s %s was deleted and made anew", g.Spec.RoleRef.Kind, g.Spec.RoleRef.Name)}
	var held []heldRole
	if g.Spec.RoleRef.Kind == v1alpha1.ClusterRoleKind {
		role, err := r.reader().role(ctx, "", *g.Spec.RoleRef)
		if err != nil {
			return gone(err)
		}
		if role.uid != g.Spec.RoleUID {
			return replaced, nil
		}
		held = append(held, role)
	} else {
		for _, ns := range g.Spec.Namespaces {
			role, err := r.reader().role(ctx, ns.Name, *g.Spec.RoleRef)
			if err != nil {
				return gone(err)
			}
			if role.uid != ns.RoleUID {
				return replaced, nil
			}
			held = append(held, role)
		}
	}
	if fingerprint(held...) == g.Spec.RulesHash {
		return nil, nil
	}
	return r.widened(ctx, g, held)
}

func (r *GrantReconciler) widened(ctx context.Context, g *v1alpha1.AccessGrant, held []heldRole) (*grant.End, error) {
	approved, err := approvedRules(g)
	if err != nil {
		return nil, err
	}
	// Of a Role that differs by namespace the grant knows the sum, not what
	// was approved where: any change of it counts as widening.
	wider := len(held) > 1
	if !wider {
		covered, _ := rbac.Covers(approved, held[0].rules)
		wider = !covered
	}
	if !wider {
		return nil, nil
	}
	object := &v1alpha1.AccessPolicy{}
	if err := r.reader().Get(ctx, client.ObjectKey{Name: g.Spec.PolicyRef.Name}, object); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if object.Spec.OnRoleWidened == v1alpha1.OnRoleWidenedKeep {
		return nil, nil
	}
	return &grant.End{Reason: v1alpha1.EndRoleWidened, Message: fmt.Sprintf("%s %s came to allow more than was approved", g.Spec.RoleRef.Kind, g.Spec.RoleRef.Name)}, nil
}

// subjectOver: a ServiceAccount was deleted or replaced; one that is made anew
// would inherit its predecessor's bindings.
func (r *GrantReconciler) subjectOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	for _, s := range g.Spec.Subjects {
		if s.Kind != v1alpha1.ServiceAccountKind {
			continue
		}
		gone, err := r.gone(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, serviceAccountMetadata(), s.UID)
		if err != nil {
			return nil, err
		}
		if gone {
			return &grant.End{Reason: v1alpha1.EndSubjectGone, Message: fmt.Sprintf("ServiceAccount %s/%s was deleted", s.Namespace, s.Name)}, nil
		}
	}
	return nil, nil
}

// namespaceOver: a namespace was deleted or replaced.
func (r *GrantReconciler) namespaceOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	for _, ns := range g.Spec.Namespaces {
		gone, err := r.gone(ctx, client.ObjectKey{Name: ns.Name}, namespaceMetadata(), ns.UID)
		if err != nil {
			return nil, err
		}
		if gone {
			return &grant.End{Reason: v1alpha1.EndNamespaceGone, Message: fmt.Sprintf("namespace %s was deleted", ns.Name)}, nil
		}
	}
	return nil, nil
}

// gone tells whether an object was deleted, is being deleted or was replaced.
func (r *GrantReconciler) gone(ctx context.Context, key client.ObjectKey, object *metav1.PartialObjectMetadata, uid types.UID) (bool, error) {
	err := r.reader().Get(ctx, key, object)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s %s: %w", object.Kind, key, err)
	}
	return object.UID != uid || object.DeletionTimestamp != nil, nil
}

// bindingOver: somebody deleted, changed or recreated a binding. What the
// cache shows is confirmed by a live read: it may be older than the binding.
func (r *GrantReconciler) bindingOver(ctx context.Context, g *v1alpha1.AccessGrant) (*grant.End, error) {
	if len(g.Status.Bindings) == 0 {
		return nil, nil // not given yet
	}
	for _, want := range objectsOf(g) {
		uid := recordedUID(g, want)
		intact := func(reader client.Reader) (bool, error) {
			seen, err := rbac.Get(ctx, reader, want)
			return seen != nil && seen.Meta.UID == uid && want.Intact(*seen), err
		}
		ok, err := intact(r.Client)
		if err == nil && !ok {
			ok, err = intact(r.Live)
		}
		if err != nil {
			return nil, err
		}
		if !ok && g.Spec.ExpirationTime.Sub(r.Clock.Now()) < clockSkew {
			return &grant.End{Reason: v1alpha1.EndExpired, Message: "another replica, whose clock is ahead, took the access at the deadline"}, nil
		}
		if !ok {
			return &grant.End{Reason: v1alpha1.EndBindingTouched, Message: fmt.Sprintf("%s %s was deleted, changed or recreated by somebody else", want.Kind, types.NamespacedName{Namespace: want.Namespace, Name: want.Name})}, nil
		}
	}
	return nil, nil
}

// objectsOf is all that a grant wants: the roles before what binds them.
func objectsOf(g *v1alpha1.AccessGrant) []grant.Binding {
	return append(grant.Roles(g), grant.Bindings(g)...)
}

// recordedUID is the UID that a binding was created with, empty when that was
// not recorded.
func recordedUID(g *v1alpha1.AccessGrant, want grant.Binding) types.UID {
	i := slices.IndexFunc(g.Status.Bindings, func(ref v1alpha1.BindingRef) bool {
		return ref.Kind == want.Kind && ref.Namespace == want.Namespace && ref.Name == want.Name
	})
	if i < 0 {
		return ""
	}
	return g.Status.Bindings[i].UID
}

// give creates the bindings and returns the grant as it is to be recorded, or an
// end when they can never be created.
func (r *GrantReconciler) give(ctx context.Context, g *v1alpha1.AccessGrant, now time.Time) (*v1alpha1.AccessGrant, *grant.End, error) {
	held := g.DeepCopy()
	enforced, reason, message, err := r.Admission.condition(ctx)
	if err != nil {
		return nil, nil, err
	}
	setCondition(&held.Status.Conditions, now, v1alpha1.ConditionAdmissionEnforced, enforced, reason, message)
	held.Status.Bindings = nil
	for _, want := range objectsOf(g) {
		uid, err := rbac.Apply(ctx, r.Client, r.Live, want)
		if err != nil {
			end, err := notGrantable(err, now.Sub(g.Spec.NotBefore.Time))
			return nil, end, err
		}
		held.Status.Bindings = append(held.Status.Bindings, want.Ref(uid))
	}
	held.Status.Phase = v1alpha1.GrantActive
	held.Status.GrantedTime = &metav1.Time{Time: now}
	setCondition(&held.Status.Conditions, now, v1alpha1.ConditionAccessGiven, metav1.ConditionTrue, v1alpha1.ReasonGranted,
		fmt.Sprintf("%d bindings exist", len(held.Status.Bindings)))
	r.given.Store(g.UID, held.Status)
	r.Metrics.active(g.Name, r.Clock.Now())
	return held, nil, nil
}

// record makes a grant Active.
func (r *GrantReconciler) record(ctx context.Context, g, held *v1alpha1.AccessGrant) error {
	next := held.DeepCopy()
	written, err := patchStatus(ctx, r.Client, g, next)
	if written {
		r.written.Store(g.Name, next.Status.Phase)
		r.given.Delete(g.UID)
		r.Journal.grant(string(v1alpha1.GrantActive), "Give", fmt.Sprintf("%s in %s for %s until %s",
			g.Spec.Summary.Role, g.Spec.Summary.Scope, g.Spec.Summary.Subjects, g.Spec.ExpirationTime.UTC().Format(time.RFC3339)), next)
	}
	return err
}

// startingUp is how long an API server may refuse what is allowed: while it
// starts it answers Forbidden before it knows the roles and the admission
// policies.
const startingUp = 10 * time.Second

// notGrantable sorts the errors of a creation that has been tried for a while:
// what will never succeed ends the grant, anything else is tried again.
func notGrantable(err error, tried time.Duration) (*grant.End, error) {
	switch {
	case errors.Is(err, rbac.ErrNameTaken):
		return &grant.End{Reason: v1alpha1.EndNameTaken, Message: err.Error()}, nil
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return &grant.End{Reason: v1alpha1.EndNamespaceGone, Message: err.Error()}, nil
	case apierrors.IsForbidden(err) && tried < startingUp:
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return &grant.End{Reason: v1alpha1.EndNotGrantable, Message: err.Error()}, nil
	}
	return nil, err
}

// take removes the access, asks the API server whether it is gone, and only
// then records the end.
func (r *GrantReconciler) take(ctx context.Context, g *v1alpha1.AccessGrant, end grant.End, now time.Time) (reconcile.Result, error) {
	held := r.held(g)
	if err := removeBindings(ctx, r.Client, r.Live, held); err != nil {
		return reconcile.Result{}, r.Metrics.removal(err)
	}
	remaining, err := askForAccess(ctx, r.Client, r.Live, g, maxQuestions)
	if err != nil {
		return reconcile.Result{}, err
	}
	if remaining.ours {
		return reconcile.Result{RequeueAfter: verifyAgain}, nil
	}
	next := held.DeepCopy()
	next.Status.Phase = v1alpha1.GrantEnded
	next.Status.EndedTime = &metav1.Time{Time: now}
	next.Status.EndReason, next.Status.EndedBy = end.Reason, end.By
	setCondition(&next.Status.Conditions, now, v1alpha1.ConditionAccessGiven, metav1.ConditionFalse, string(end.Reason), end.Message)
	remaining.report(&next.Status.Conditions, now)
	written, err := patchStatus(ctx, r.Client, g, next)
	if err != nil {
		return again(err)
	}
	if written {
		r.written.Store(g.Name, next.Status.Phase)
		r.given.Delete(g.UID)
		r.Metrics.ended(g.Name)
		r.Journal.grant(string(v1alpha1.GrantEnded), "Take", string(end.Reason)+": "+end.Message, next)
	}
	return again(r.release(ctx, next))
}

// removeBindings takes away every binding of a grant: those that it wants, and
// whatever else carries its label and is owned by it. It returns nil once a
// live read shows that they are gone.
func removeBindings(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant) error {
	var errs []error
	wanted := objectsOf(g)
	for _, want := range slices.Backward(wanted) {
		errs = append(errs, rbac.Remove(ctx, c, live, want, recordedUID(g, want)))
	}
	return errors.Join(append(errs, removeStrays(ctx, c, live, g, wanted))...)
}

// removeStrays takes away bindings that carry the grant's label and are owned
// by it, but are not among the wanted. Of a grant that has ended none is wanted.
func removeStrays(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant, wanted []grant.Binding) error {
	strays, err := strayBindings(ctx, c, g, wanted)
	if err != nil {
		return err
	}
	var errs []error
	for _, stray := range strays {
		errs = append(errs, rbac.Remove(ctx, c, live, stray, ""))
	}
	return errors.Join(errs...)
}

// removeOrphans takes away bindings of a grant that does not exist any more:
// somebody took its finalizer off and deleted it without its dependents. That a
// binding was the grant's is told by its label and by its name, which is the
// grant's too; one under another name is not the broker's.
func (r *GrantReconciler) removeOrphans(ctx context.Context, name string) error {
	gone := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: name}}
	orphans, err := strayBindings(ctx, r.Client, gone, nil)
	if err != nil || len(orphans) == 0 {
		return err
	}
	// The cache may only be behind.
	if err := r.Live.Get(ctx, client.ObjectKey{Name: name}, &v1alpha1.AccessGrant{}); !apierrors.IsNotFound(err) {
		return err
	}
	var errs []error
	for _, orphan := range orphans {
		errs = append(errs, rbac.Remove(ctx, r.Client, r.Live, orphan, ""))
	}
	return errors.Join(errs...)
}

// strayBindings are bindings with the grant's label that the grant does not want.
func strayBindings(ctx context.Context, c client.Reader, g *v1alpha1.AccessGrant, wanted []grant.Binding) ([]grant.Binding, error) {
	var strays []grant.Binding
	add := func(kind string, o client.Object) {
		stray := grant.Binding{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), Grant: g.Name, GrantUID: g.UID}
		if !slices.ContainsFunc(wanted, func(w grant.Binding) bool {
			return w.Kind == kind && w.Namespace == stray.Namespace && w.Name == stray.Name
		}) {
			strays = append(strays, stray)
		}
	}
	labelled := client.MatchingFields{indexBindingGrant: g.Name}
	for _, of := range []struct {
		kind string
		list client.ObjectList
	}{
		{grant.RoleBindingKind, &rbacv1.RoleBindingList{}},
		{grant.ClusterRoleBindingKind, &rbacv1.ClusterRoleBindingList{}},
		{grant.RoleKind, &rbacv1.RoleList{}},
		{grant.ClusterRoleKind, &rbacv1.ClusterRoleList{}},
	} {
		if err := c.List(ctx, of.list, labelled, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list what belongs to the grant: %w", err)
		}
		_ = meta.EachListItem(of.list, func(o runtime.Object) error {
			add(of.kind, o.(client.Object))
			return nil
		})
	}
	return strays, nil
}

// approvedRules are the rules that a grant was approved for.
func approvedRules(g *v1alpha1.AccessGrant) ([]rbacv1.PolicyRule, error) {
	if g.Spec.RoleRef == nil {
		return toRBAC(g.Spec.Rules), nil
	}
	rules, err := rbac.ParseLines(g.Spec.RoleRules)
	if err != nil {
		return nil, fmt.Errorf("roleRules: %w", err)
	}
	return rules, nil
}

func toRBAC(rules []v1alpha1.PolicyRule) []rbacv1.PolicyRule {
	out := make([]rbacv1.PolicyRule, len(rules))
	for i, rule := range rules {
		out[i] = rbacv1.PolicyRule(rule)
	}
	return out
}
