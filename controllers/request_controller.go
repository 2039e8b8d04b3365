package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/text"
)

// defaultPendingTimeout holds for a request that no policy has been matched to.
const defaultPendingTimeout = 24 * time.Hour

// maxMatching bounds how long the conditions of all policies may take for one
// request.
const maxMatching = 10 * time.Second

// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessrequests,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessrequests/status,verbs=patch;update
// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accesspolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessgrants,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces;serviceaccounts,verbs=get;list;watch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;clusterroles,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// RequestReconciler takes an AccessRequest from its creation to the
// AccessGrant, and mirrors what becomes of the grant.
type RequestReconciler struct {
	Client client.Client
	// Live reads from the API server, not from the cache.
	Live    client.Reader
	Clock   clock.PassiveClock
	Journal Journal
	// Policies are shared with the other reconcilers, compiled once.
	Policies *Policies
	// Tasks are shared with the grant controller; nil in tests without one.
	Tasks *Tasks
	// Settle is how long a new request waits for what is missing.
	Settle time.Duration
	// Backlog is told of access that is on its way.
	Backlog *Backlog
	Metrics *Metrics

	matched matches
}

// Reconcile brings one request forward: look, decide, write the status once.
func (r *RequestReconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	r.Backlog.atStart(ctx)
	request := &v1alpha1.AccessRequest{}
	if err := r.Client.Get(ctx, key.NamespacedName, request); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Clock.Now()
	next := &requestStep{AccessRequest: request.DeepCopy(), now: now}
	err := r.settle(next, r.advance(ctx, next))
	if err == nil && next.Status.Phase.Ended() && next.Status.GrantName == "" {
		err = r.unseen(ctx, request, next)
	}
	written, writeErr := patchStatus(ctx, r.Client, request, next.AccessRequest)
	if written {
		r.Metrics.wroteRequest(request, next.AccessRequest, now)
	}
	if written {
		r.Journal.task(next.AccessRequest, request.Status.Conditions, next.Status.Conditions)
	}
	if written && request.Status.Phase != next.Status.Phase {
		r.Journal.request(string(next.Status.Phase), lastWord(next.Status.Conditions), next.AccessRequest)
	}
	if err := errors.Join(err, writeErr); err != nil {
		return again(err)
	}
	return reconcile.Result{RequeueAfter: next.wait}, nil
}

// requestStep is a request on its way to its next status.
type requestStep struct {
	*v1alpha1.AccessRequest
	now time.Time
	// wait until something is due, 0 when only an event can change anything.
	wait time.Duration
}

func (s *requestStep) set(kind string, status metav1.ConditionStatus, reason, message string) {
	setCondition(&s.Status.Conditions, s.now, kind, status, reason, message)
}

func (s *requestStep) end(phase v1alpha1.RequestPhase, reason, message string) {
	s.Status.Phase = phase
	s.wait = 0
	if awaiting(s.AccessRequest) {
		meta.RemoveStatusCondition(&s.Status.Conditions, v1alpha1.ConditionPolicyMatched)
	}
	s.set(v1alpha1.ConditionEnded, metav1.ConditionTrue, reason, message)
	if meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionGranted) {
		s.set(v1alpha1.ConditionGranted, metav1.ConditionFalse, reason, message)
	}
}

// until makes the reconciler look again at a moment, the soonest of all asked for.
func (s *requestStep) until(t time.Time) {
	if d := max(t.Sub(s.now), time.Millisecond); s.wait == 0 || d < s.wait {
		s.wait = d
	}
}

// advance is the life of a request, read from top to bottom.
func (r *RequestReconciler) advance(ctx context.Context, s *requestStep) error {
	if s.Status.Phase == "" {
		s.Status.Phase = v1alpha1.RequestPending
	}
	given, err := r.grantOf(ctx, s.AccessRequest)
	if err != nil {
		return err
	}
	if given != nil {
		r.mirror(s, given)
		return nil
	}
	if s.Status.GrantName != "" {
		s.end(v1alpha1.RequestRevoked, string(v1alpha1.EndGrantDeleted), "the AccessGrant was deleted")
		return nil
	}
	if s.DeletionTimestamp != nil { // and a finalizer keeps it
		s.end(v1alpha1.RequestRevoked, string(v1alpha1.EndRequestDeleted), "the request was deleted before anything was granted")
		return nil
	}
	if err := r.lapse(ctx, s); err != nil || s.Status.Phase.Ended() {
		return err
	}
	if out := weigh(s.AccessRequest, 0); s.Status.Policy == nil && out.Withdrawn {
		s.end(v1alpha1.RequestCompleted, v1alpha1.ReasonWithdrawn, out.Message)
		return nil
	}
	want, err := reader{cache: r.Client, live: r.Live, tasks: r.Tasks}.resolve(ctx, s.AccessRequest)
	if err != nil {
		return err
	}
	if s.lostItsTask(want) || !r.taskNotOver(s, want) {
		return nil
	}
	match, outcome, err := r.decide(ctx, s, want)
	if err != nil || match == nil {
		return err
	}
	if !outcome.Approved || !r.started(s) || !r.taskIsThere(s, want) {
		return nil
	}
	return r.grant(ctx, s, want, match, outcome.Approvers)
}

// grantOf finds the grant of a request by its name, which follows from the
// request's UID.
func (r *RequestReconciler) grantOf(ctx context.Context, request *v1alpha1.AccessRequest) (*v1alpha1.AccessGrant, error) {
	given, err := r.readGrant(ctx, r.Client, request)
	if given == nil && err == nil && request.Status.GrantName != "" {
		return r.readGrant(ctx, r.Live, request)
	}
	return given, err
}

// readGrant is nil when there is no grant of the request.
func (r *RequestReconciler) readGrant(ctx context.Context, from client.Reader, request *v1alpha1.AccessRequest) (*v1alpha1.AccessGrant, error) {
	given := &v1alpha1.AccessGrant{}
	err := from.Get(ctx, client.ObjectKey{Name: grant.Name(request.Name, request.UID)}, given)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read grant: %w", err)
	}
	if given.Spec.RequestRef.UID != request.UID {
		return nil, impossiblef(string(v1alpha1.EndNameTaken), "AccessGrant %s belongs to another request", given.Name)
	}
	return given, nil
}

// unseen looks, before a request ends without a grant, for one that the cache does
// not show: it was made a moment ago, or has ended before the request was told of
// it. What became of the grant is then what became of the request.
func (r *RequestReconciler) unseen(ctx context.Context, request *v1alpha1.AccessRequest, s *requestStep) error {
	given, err := r.readGrant(ctx, r.Live, request)
	if err != nil || given != nil {
		s.AccessRequest, s.wait = request.DeepCopy(), staleAgain
	}
	if given != nil {
		r.mirror(s, given)
	}
	return err
}

// mirror tells the request what became of its grant.
func (r *RequestReconciler) mirror(s *requestStep, given *v1alpha1.AccessGrant) {
	switch given.Status.Phase {
	case v1alpha1.GrantActive, v1alpha1.GrantEnded:
	default:
		return // the grant controller is at it
	}
	s.Status.GrantName = given.Name
	s.Status.ExpirationTime = given.Spec.ExpirationTime.DeepCopy()
	if given.Status.Phase == v1alpha1.GrantActive {
		s.Status.Phase = v1alpha1.RequestActive
		mirrorTask(s, given)
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonApproved, approvedBy(given))
		reason, message := v1alpha1.ReasonGranted, fmt.Sprintf("%s in %s for %s until %s",
			given.Spec.Summary.Role, given.Spec.Summary.Scope, given.Spec.Summary.Subjects, given.Spec.ExpirationTime.UTC().Format(time.RFC3339))
		if c := meta.FindStatusCondition(given.Status.Conditions, v1alpha1.ConditionAccessRemoved); c != nil && c.Status == metav1.ConditionFalse {
			reason, message = c.Reason, c.Message
		}
		s.set(v1alpha1.ConditionGranted, metav1.ConditionTrue, reason, message)
		return
	}
	// An end that somebody forged may give no reason.
	reason := cmp.Or(given.Status.EndReason, v1alpha1.EndRevoked)
	message := string(reason)
	if c := meta.FindStatusCondition(given.Status.Conditions, v1alpha1.ConditionAccessGiven); c != nil {
		message = c.Message
	}
	s.end(grant.RequestPhase(reason), string(reason), message)
}

func approvedBy(given *v1alpha1.AccessGrant) string {
	if given.Spec.Summary.Approvers == "" {
		return "policy " + given.Spec.PolicyRef.Name + " asks for no approval"
	}
	return "approved by " + given.Spec.Summary.Approvers
}

// lapse ends a request that was not decided in time, or whose task did not
// appear in time. It needs nothing but the stored request and the clock.
func (r *RequestReconciler) lapse(ctx context.Context, s *requestStep) error {
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
		if s.Spec.Task == nil {
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
		message = fmt.Sprintf("%s %s did not begin within %s (%s); ask again", s.Spec.Task.Kind, s.Spec.Task.Name, text.Duration(timeout), c.Message)
	}
	s.end(v1alpha1.RequestLapsed, v1alpha1.ReasonLapsed, message)
	return nil
}

// decide matches the request to a policy, tells everybody whom to ask and
// weighs the decisions. The match is nil when there is no policy to decide by.
func (r *RequestReconciler) decide(ctx context.Context, s *requestStep, want *resolved) (*policy.Match, policy.Outcome, error) {
	candidates, err := r.Policies.All(ctx)
	if err != nil {
		return nil, policy.Outcome{}, err
	}
	begin := s.now
	if s.Spec.StartTime != nil && s.Spec.StartTime.After(begin) {
		begin = s.Spec.StartTime.Time
	}
	// Each condition is bounded by itself; this bounds all of them together.
	findCtx, cancel := context.WithTimeout(ctx, maxMatching)
	defer cancel()
	match := policy.Find(findCtx, candidates, want.ask, begin)
	if match.Answer == policy.NotAllowed {
		if match, err = r.findLive(findCtx, s, begin); err != nil {
			return nil, policy.Outcome{}, err
		}
	}
	switch match.Answer {
	case policy.NotAllowed:
		if !match.About && r.awaits(s, &impossible{waits: v1alpha1.ReasonWaitingForPolicy, message: match.Message}) {
			return nil, policy.Outcome{}, nil
		}
		s.set(v1alpha1.ConditionPolicyMatched, metav1.ConditionFalse, v1alpha1.ReasonNoPolicy, match.Message)
		s.end(v1alpha1.RequestDenied, v1alpha1.ReasonNoPolicy, match.Message)
		return nil, policy.Outcome{}, nil
	case policy.Unknown:
		s.Status.Policy, s.Status.RequiredApprovals, s.Status.Approvers = nil, nil, nil
		s.set(v1alpha1.ConditionPolicyMatched, metav1.ConditionFalse, v1alpha1.ReasonPolicyNotReady, match.Message)
		return nil, policy.Outcome{}, nil
	case policy.Allowed:
	}
	if s.Status.Policy == nil {
		if err := r.firstMatch(ctx, s, &match, want); err != nil {
			return nil, policy.Outcome{}, err
		}
		if s.Status.Phase.Ended() {
			return nil, policy.Outcome{}, nil
		}
	}
	s.Status.Policy = policyRef(match.Policy)
	s.Status.RequiredApprovals = ptr.To(int32(match.Policy.Required())) //nolint:gosec // the schema bounds it to 16
	s.Status.Approvers = match.Policy.Spec.Approvers
	s.Status.Rules, s.Status.Pins, s.Status.RulesHash = want.lines, want.pins(), want.rulesHash
	s.Status.Risks = want.risks
	s.set(v1alpha1.ConditionPolicyMatched, metav1.ConditionTrue, v1alpha1.ReasonMatched, match.Message)

	outcome := weigh(s.AccessRequest, match.Policy.Required())
	switch {
	case outcome.Denied:
		s.end(v1alpha1.RequestDenied, v1alpha1.ReasonDenied, outcome.Message)
	case outcome.Revoked:
		s.end(v1alpha1.RequestRevoked, string(v1alpha1.EndRevoked), outcome.Message)
	case outcome.Withdrawn:
		s.end(v1alpha1.RequestCompleted, v1alpha1.ReasonWithdrawn, outcome.Message)
	case !outcome.Approved:
		s.Status.Phase = v1alpha1.RequestPending
		s.set(v1alpha1.ConditionApproved, metav1.ConditionFalse, v1alpha1.ReasonWaitingForApproval, outcome.Message)
	}
	return &match, outcome, nil
}

// lostItsTask ends a request whose task was there and is gone: whatever has its
// name now is another task, for which nobody asked.
func (s *requestStep) lostItsTask(want *resolved) bool {
	pins := s.Status.Pins
	if pins == nil || pins.Task == nil || pins.Task.UID == "" || (want.task != nil && want.task.GetUID() == pins.Task.UID) {
		return false
	}
	s.end(v1alpha1.RequestFailed, string(v1alpha1.EndTaskGone),
		fmt.Sprintf("%s %s was deleted or replaced before the access was given: ask again", s.Spec.Task.Kind, s.Spec.Task.Name))
	return true
}

// findLive looks for a policy without the cache, which may not have seen one
// that was just made: that is no reason to deny for good.
func (r *RequestReconciler) findLive(ctx context.Context, s *requestStep, begin time.Time) (policy.Match, error) {
	candidates, err := r.Policies.AllLive(ctx)
	if err != nil {
		return policy.Match{}, err
	}
	want, err := reader{cache: r.Live, live: r.Live, tasks: r.Tasks}.resolve(ctx, s.AccessRequest)
	if err != nil {
		return policy.Match{}, err
	}
	return policy.Find(ctx, candidates, want.ask, begin), nil
}

// weigh counts the decisions of a request against what its status says of the
// policy and the role.
func weigh(request *v1alpha1.AccessRequest, required int) policy.Outcome {
	return policy.Weigh(policy.Ballot{
		RequestUID: request.UID,
		RulesHash:  request.Status.RulesHash,
		HashBefore: request.Status.Pins.HashBefore(),
		Requester:  request.Spec.Requester,
		Subjects:   identity.Subjects(&request.Spec),
		Approvers:  request.Status.Approvers,
		Required:   required,
		Decisions:  request.Status.Decisions,
	})
}

// started holds an approved request back until its startTime.
func (r *RequestReconciler) started(s *requestStep) bool {
	if s.Spec.StartTime == nil || !s.now.Before(s.Spec.StartTime.Time) {
		return true
	}
	s.Status.Phase = v1alpha1.RequestApproved
	s.wait = 0
	s.until(s.Spec.StartTime.Time)
	if s.Spec.Task != nil {
		s.until(s.now.Add(lookAgain))
	}
	s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonWaitingForStart, "approved; waits for "+s.Spec.StartTime.UTC().Format(time.RFC3339))
	return false
}

// lastWord is what the furthest condition says.
func lastWord(conditions []metav1.Condition) string {
	for _, kind := range []string{v1alpha1.ConditionEnded, v1alpha1.ConditionGranted, v1alpha1.ConditionApproved, v1alpha1.ConditionPolicyMatched} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil {
			return c.Message
		}
	}
	return ""
}
