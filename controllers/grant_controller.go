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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
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
	// Tasks are shared with the request controller; nil in tests without one.
	Tasks *Tasks
	// Backlog is the expirer's and the request controller's.
	Backlog *Backlog
	Metrics *Metrics

	// handedOver brings grants whose access was struck to Reconcile.
	handedOver chan event.GenericEvent

	// written is the phase that was last written to a grant, by its name, until
	// the cache shows it: what the cache shows before that has been dealt with.
	written sync.Map
	// given is the status of a grant, v1alpha1.AccessGrantStatus by its UID, from
	// when its bindings exist until that is recorded.
	given sync.Map
	// ends is why the access of a grant was struck, a struckFor by its UID, until
	// that is recorded: the cause may be gone by then.
	ends sync.Map
	// weighed is what a grant was last held against, a string by its UID.
	weighed sync.Map
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

// Reconcile brings one grant forward: give, or record what was given and taken.
// Whether access that is held must end is for Judge.
func (r *GrantReconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	r.Backlog.atStart(ctx)
	g := &v1alpha1.AccessGrant{}
	if err := r.Client.Get(ctx, key.NamespacedName, g); err != nil {
		if apierrors.IsNotFound(err) {
			r.written.Delete(key.Name)
			r.Metrics.ended(key.Name)
			left, err := removeLeftovers(ctx, r.Client, r.Live, key.Name)
			return lookAgainAt(left), r.Metrics.removal(err)
		}
		return reconcile.Result{}, fmt.Errorf("read grant: %w", err)
	}
	defer r.Backlog.end(key.Name) // nobody waits for one that cannot be given at once
	if r.behind(g) {
		return reconcile.Result{RequeueAfter: overdueGrace}, nil
	}
	now := r.Clock.Now()
	if struck, ok := r.ends.Load(g.UID); ok {
		return r.conclude(ctx, g, struck.(struckFor), now)
	}
	if end := grant.Expired(g, now); end != nil {
		r.Metrics.over(g.Name, end, now)
		return r.conclude(ctx, g, struckFor{*end, g.Spec.ExpirationTime.Time}, now)
	}
	held := r.held(g)
	if held.Status.Phase != v1alpha1.GrantActive {
		end, err := r.over(ctx, held, now)
		_, err = taskTrouble(err) // Judge tells of it
		if end == nil && err == nil {
			// An error above is no reason not to look at the rest, but it is one
			// not to give.
			if end, err = r.notApproved(ctx, g, now); end == nil && err == nil {
				held, end, err = r.give(ctx, g, now)
			}
		}
		if end != nil {
			r.Metrics.over(g.Name, end, now)
			return r.take(ctx, g, *end, now)
		}
		if err != nil {
			return again(err)
		}
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
	look := g.Spec.ExpirationTime.Sub(now) + overdueGrace
	if g.Spec.Task != nil {
		look = min(look, lookAgain)
	}
	return reconcile.Result{RequeueAfter: look}, nil
}

// struckFor is why and when the access of a grant was struck.
type struckFor struct {
	grant.End
	at time.Time
}

// conclude verifies and records the end of a grant, when nobody waits for access
// to be taken or given any more.
func (r *GrantReconciler) conclude(ctx context.Context, g *v1alpha1.AccessGrant, struck struckFor, now time.Time) (reconcile.Result, error) {
	if r.Backlog.waits(struck.at, now) {
		return later(recordAgain), nil
	}
	return r.take(ctx, g, struck.End, now)
}

// forget drops what is remembered of a grant that is over.
func (r *GrantReconciler) forget(g *v1alpha1.AccessGrant) {
	r.Metrics.ended(g.Name)
	for _, memory := range []*sync.Map{&r.given, &r.ends, &r.weighed} {
		memory.Delete(g.UID)
	}
}

// Judge looks whether access that is held must end before its deadline, and if so
// strikes it: a pass of its own, behind which verifying, recording and giving
// wait, and which waits for none of them. The deadline is the expirer's.
func (r *GrantReconciler) Judge(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	r.Backlog.atStart(ctx)
	g := &v1alpha1.AccessGrant{}
	if err := r.Client.Get(ctx, key.NamespacedName, g); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	held := r.held(g)
	if held.Status.Phase != v1alpha1.GrantActive || r.behind(g) {
		return reconcile.Result{}, nil // not given yet, or over
	}
	now := r.Clock.Now()
	_, known := r.ends.Load(g.UID)
	if !known {
		end, err := r.over(ctx, held, now)
		trouble, err := taskTrouble(err)
		if end != nil || err == nil {
			r.Metrics.over(g.Name, end, now)
		}
		switch {
		case err != nil:
			return again(err)
		case grant.Expired(g, now) != nil:
			return reconcile.Result{}, nil
		case end == nil:
			return r.watched(ctx, g, trouble, now)
		}
		r.ends.Store(g.UID, struckFor{*end, now})
	}
	err := r.Backlog.removing(func() error {
		_, err := strike(ctx, r.Client, r.Live, held)
		return err
	})
	r.handOver(ctx, g)
	return reconcile.Result{}, r.Metrics.removal(err)
}

// handOver brings a grant to Reconcile.
func (r *GrantReconciler) handOver(ctx context.Context, g *v1alpha1.AccessGrant) {
	if r.handedOver == nil {
		return
	}
	select {
	case r.handedOver <- event.GenericEvent{Object: g}:
	case <-ctx.Done():
	}
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

func (r *GrantReconciler) reader() reader {
	return reader{cache: r.Client, live: r.Live, tasks: r.Tasks}
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
	left, err := removeBindings(ctx, r.Client, r.Live, held)
	if err != nil {
		return reconcile.Result{}, errors.Join(r.Metrics.removal(err), r.tellRefusal(ctx, g, held, end, err, now))
	}
	remaining, err := askForAccess(ctx, r.Client, r.Live, g, maxQuestions)
	if err != nil {
		return reconcile.Result{}, err
	}
	if remaining.ours {
		return reconcile.Result{RequeueAfter: verifyAgain}, nil
	}
	gone := r.Clock.Now() // a removal may have taken its time
	next := held.DeepCopy()
	next.Status.Phase = v1alpha1.GrantEnded
	next.Status.EndedTime = &metav1.Time{Time: gone}
	next.Status.EndReason, next.Status.EndedBy = end.Reason, end.By
	message := end.Message + late(g, gone)
	setCondition(&next.Status.Conditions, gone, v1alpha1.ConditionAccessGiven, metav1.ConditionFalse, string(end.Reason), message)
	remaining.report(&next.Status.Conditions, left, gone)
	written, err := patchStatus(ctx, r.Client, g, next)
	if err != nil {
		return again(err)
	}
	if written {
		r.written.Store(g.Name, next.Status.Phase)
		r.forget(g)
		r.Journal.grant(string(v1alpha1.GrantEnded), "Take", string(end.Reason)+": "+message, next)
	}
	return again(release(ctx, r.Client, next))
}

// tellRefusal writes on a grant that is over that its access stands, and why.
func (r *GrantReconciler) tellRefusal(ctx context.Context, g, held *v1alpha1.AccessGrant, end grant.End, why error, now time.Time) error {
	next := held.DeepCopy()
	message := fmt.Sprintf("the access is over (%s: %s) and still there: %v", end.Reason, end.Message, why)
	setCondition(&next.Status.Conditions, now, v1alpha1.ConditionAccessRemoved, metav1.ConditionFalse, v1alpha1.ReasonRemovalRefused, message)
	before := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAccessRemoved)
	written, err := patchStatus(ctx, r.Client, g, next)
	if written {
		r.written.Store(g.Name, next.Status.Phase)
		if before == nil {
			r.Journal.grant(v1alpha1.ReasonRemovalRefused, "Take", message, next)
		}
	}
	return err
}

// late says how long access stood after it should have ended, when its removal
// was refused.
func late(g *v1alpha1.AccessGrant, gone time.Time) string {
	c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAccessRemoved)
	if c == nil || c.Status != metav1.ConditionFalse {
		return ""
	}
	due := c.LastTransitionTime.Time
	if g.Spec.ExpirationTime.Time.Before(due) {
		due = g.Spec.ExpirationTime.Time
	}
	return fmt.Sprintf("; it was removed %s late, after this: %s", gone.Sub(due).Round(time.Second), c.Message)
}
