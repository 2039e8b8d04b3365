// Package request takes an AccessRequest from its creation to its AccessGrant, and
// mirrors what becomes of the grant: advance is the life of a request, read from top
// to bottom.
package request

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lock"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/text"
)

// defaultPendingTimeout holds unless the policy of a request says otherwise.
const defaultPendingTimeout = 24 * time.Hour

// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessrequests,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessrequests/status,verbs=patch;update
// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accesspolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessgrants,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces;serviceaccounts,verbs=get;list;watch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;clusterroles,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler takes an AccessRequest from its creation to the
// AccessGrant, and mirrors what becomes of the grant.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server, not from the cache.
	Live   client.Reader
	Clock  clock.PassiveClock
	Status *record.Writer
	// Policies are shared with the other reconcilers, compiled once.
	Policies *resolve.Policies
	Names    resolve.Names
	// Reviews has what has ended and waits for a review.
	Reviews client.Reader
	// Settle is how long a new request waits for objects that do not exist yet.
	Settle time.Duration
	// Backlog counts the grants that are on their way.
	Backlog *queue.Backlog
	Metrics *record.Metrics
	// Wrote is called before a grant is written, when it is known to be as approved.
	Wrote func(*v1alpha1.AccessGrant, time.Time) (takeBack func())

	counted counted
}

// Reconcile brings one request forward: look, decide, write the status once.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	r.Backlog.AtStart(ctx)
	request := &v1alpha1.AccessRequest{}
	if err := r.Client.Get(ctx, key.NamespacedName, request); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	s := &step{AccessRequest: request.DeepCopy(), now: r.Clock.Now()}
	err := r.settle(s, r.advance(ctx, s))
	if err == nil && s.Status.Phase.Ended() && s.Status.GrantName == "" {
		err = r.unseen(ctx, request, s)
	}
	if err := errors.Join(err, r.Status.Request(ctx, request, s.AccessRequest, s.now)); err != nil {
		return record.Again(err)
	}
	return reconcile.Result{RequeueAfter: s.wait}, nil
}

// step is a request on its way to its next status.
type step struct {
	*v1alpha1.AccessRequest
	now time.Time
	// wait until something is due, 0 when only an event can change anything.
	wait time.Duration
	// taskWaits says what the task waits for before it runs.
	taskWaits string
	// found is true when it was found just now what the request extends. That is
	// recorded before a grant is written, which is checked against it.
	found bool
}

func (s *step) set(kind string, status metav1.ConditionStatus, reason, message string) {
	record.SetCondition(&s.Status.Conditions, s.now, kind, status, reason, message)
}

func (s *step) end(phase v1alpha1.RequestPhase, reason, message string) {
	s.wait = 0
	record.EndRequest(s.AccessRequest, s.now, phase, reason, message)
}

// until makes the reconciler look again at t, or sooner when that was asked for.
func (s *step) until(t time.Time) {
	if d := max(t.Sub(s.now), time.Millisecond); s.wait == 0 || d < s.wait {
		s.wait = d
	}
}

// advance is the life of a request, read from top to bottom.
func (r *Reconciler) advance(ctx context.Context, s *step) error {
	if s.Status.Phase == "" {
		s.Status.Phase = v1alpha1.RequestPending
	}
	g, err := r.grantOf(ctx, s.AccessRequest)
	if err != nil {
		return err
	}
	if g != nil {
		mirror(s, g)
		return nil
	}
	if s.Status.GrantName != "" {
		s.end(v1alpha1.RequestRevoked, string(v1alpha1.EndGrantDeleted), "the AccessGrant was deleted")
		return nil
	}
	if s.DeletionTimestamp != nil { // but a finalizer keeps it
		s.end(v1alpha1.RequestRevoked, string(v1alpha1.EndRequestDeleted), "the request was deleted before anything was granted")
		return nil
	}
	if err := r.lapse(ctx, s); err != nil || s.Status.Phase.Ended() {
		return err
	}
	if out := policy.Weigh(policy.BallotOf(s.AccessRequest)); s.Status.Policy == nil && out.Withdrawn {
		s.end(v1alpha1.RequestCompleted, v1alpha1.ReasonWithdrawn, out.Message)
		return nil
	}
	if err := r.extends(ctx, s); err != nil || s.Status.Phase.Ended() {
		return err
	}
	if locks, err := resolve.Locks(ctx, r.Client); err != nil {
		return err
	} else if l := lock.On(lock.OfRequest(s.Asked()), locks, s.now); l != nil {
		s.end(v1alpha1.RequestDenied, string(v1alpha1.EndLocked), lock.Why(l)+"; ask again when the lock is gone")
		return nil
	}
	want, err := r.Names.Resolve(ctx, s.AccessRequest)
	if err != nil {
		return err
	}
	if s.lostItsTask(want) || !taskNotOver(s, want) {
		return nil
	}
	stored := s.Status.Approvals
	match, err := r.match(ctx, s, want)
	if err != nil || match == nil || !sameAsBefore(s, want, match) {
		return err
	}
	outcome := weigh(s, want, match.Duration)
	if s.Status.Phase.Ended() || !outcome.Approved || s.found || !started(s) || !taskIsThere(s, want) {
		return nil
	}
	if sameStages(stored, outcome.Stages) {
		s.Status.Approvals = stored // who approved is told with the access, in one write
	}
	return r.write(ctx, s, want, match, outcome)
}

// grantOf finds the grant of a request by its name, which follows from the
// request's UID.
func (r *Reconciler) grantOf(ctx context.Context, request *v1alpha1.AccessRequest) (*v1alpha1.AccessGrant, error) {
	g, err := r.readGrant(ctx, r.Client, request)
	if g == nil && err == nil && request.Status.GrantName != "" {
		return r.readGrant(ctx, r.Live, request)
	}
	if g != nil && !cached.Sealed(g.Status.Credential) && !equality.Semantic.DeepEqual(g.Status.Credential, request.Status.Credential) {
		return r.readGrant(ctx, r.Live, request) // the cache has no credentials, and the requester waits for this one
	}
	return g, err
}

// readGrant is nil when there is no grant of the request.
func (r *Reconciler) readGrant(ctx context.Context, from client.Reader, request *v1alpha1.AccessRequest) (*v1alpha1.AccessGrant, error) {
	g := &v1alpha1.AccessGrant{}
	err := from.Get(ctx, client.ObjectKey{Name: grant.Name(request.Name, request.UID)}, g)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read grant: %w", err)
	}
	if g.Spec.RequestRef.UID != request.UID {
		return nil, resolve.Impossiblef(string(v1alpha1.EndNameTaken), "AccessGrant %s belongs to another request", g.Name)
	}
	return g, nil
}

// unseen looks for a grant that the cache does not show, before a request ends
// without one: the grant was made a moment ago, or ended before the request recorded
// it. The request then follows its grant.
func (r *Reconciler) unseen(ctx context.Context, request *v1alpha1.AccessRequest, s *step) error {
	g, err := r.readGrant(ctx, r.Live, request)
	if err != nil || g != nil {
		s.AccessRequest, s.wait = request.DeepCopy(), record.StaleAgain
	}
	if g != nil {
		mirror(s, g)
	}
	return err
}

// lapse ends a request that was not decided in time, or whose task did not appear in
// time. It needs only the stored request, its policy and the clock.
func (r *Reconciler) lapse(ctx context.Context, s *step) error {
	timeout := defaultPendingTimeout
	if s.Status.Policy != nil {
		p := &v1alpha1.AccessPolicy{}
		err := r.Client.Get(ctx, client.ObjectKey{Name: s.Status.Policy.Name}, p)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read policy: %w", err)
		}
		if err == nil && p.Spec.PendingTimeout != nil {
			timeout = p.Spec.PendingTimeout.Duration
		}
	}
	since := s.CreationTimestamp.Time
	if s.Status.Phase == v1alpha1.RequestApproved {
		if s.Asked().Task == nil {
			return nil
		}
		if s.Spec.StartTime != nil && s.Spec.StartTime.After(since) {
			since = s.Spec.StartTime.Time
		}
	}
	deadline := since.Add(timeout)
	if s.now.Before(deadline) {
		s.until(deadline)
		return nil
	}
	message := fmt.Sprintf("not decided within %s; ask again", text.Duration(timeout))
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionApproved); c != nil && c.Reason == v1alpha1.ReasonWaitingForTask {
		message = fmt.Sprintf("%s %s did not begin within %s (%s); ask again", s.Asked().Task.Kind, s.Asked().Task.Name, text.Duration(timeout), c.Message)
	}
	s.end(v1alpha1.RequestLapsed, v1alpha1.ReasonLapsed, message)
	return nil
}

// started holds an approved request back until its startTime.
func started(s *step) bool {
	if s.Spec.StartTime == nil || !s.now.Before(s.Spec.StartTime.Time) {
		return true
	}
	s.Status.Phase = v1alpha1.RequestApproved
	s.wait = 0
	s.until(s.Spec.StartTime.Time)
	if s.Asked().Task != nil {
		s.until(s.now.Add(resolve.LookAgain))
	}
	s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonWaitingForStart, "approved; waits for "+text.Moment(s.Spec.StartTime.Time))
	return false
}
