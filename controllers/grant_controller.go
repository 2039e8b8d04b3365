package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/rbac"
)

// overdueGrace is how long after a deadline the grant controller leaves the
// removal to the expirer, which runs on every replica, before it takes the
// access away itself.
const overdueGrace = time.Second

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
	r.Backlog.atStart(ctx)
	g := &v1alpha1.AccessGrant{}
	if err := r.Client.Get(ctx, key.NamespacedName, g); err != nil {
		if apierrors.IsNotFound(err) {
			r.written.Delete(key.Name)
			r.Metrics.ended(key.Name)
			return reconcile.Result{}, r.Metrics.removal(removeLeftovers(ctx, r.Client, r.Live, key.Name))
		}
		return reconcile.Result{}, fmt.Errorf("read grant: %w", err)
	}
	defer r.Backlog.end(key.Name) // nobody waits for one that cannot be given at once
	if r.behind(g) {
		return reconcile.Result{RequeueAfter: overdueGrace}, nil
	}
	now := r.Clock.Now()
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
func release(ctx context.Context, c client.Client, g *v1alpha1.AccessGrant) error {
	if g.DeletionTimestamp == nil || !controllerutil.ContainsFinalizer(g, v1alpha1.FinalizerRevoke) {
		return nil
	}
	next := g.DeepCopy()
	controllerutil.RemoveFinalizer(next, v1alpha1.FinalizerRevoke)
	return client.IgnoreNotFound(c.Patch(ctx, next, client.MergeFromWithOptions(g, client.MergeFromWithOptimisticLock{})))
}

func (r *GrantReconciler) reader() reader { return reader{cache: r.Client, live: r.Live} }

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
	return again(release(ctx, r.Client, next))
}
