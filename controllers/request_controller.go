package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/rbac"
	"github.com/accessbroker/accessbroker/internal/task"
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
	// Tasks watches the kinds of tasks; nil in tests that call Reconcile.
	Tasks *TaskWatcher
	// Retention of requests that are over.
	Retention time.Duration
	// Backlog is told of access that is on its way.
	Backlog *Backlog
	Metrics *Metrics

	matched matches
}

// matches remembers, by requester, the requests that were matched to a policy
// until the cache shows it, so that the limits on them hold in a burst.
type matches struct {
	mu   sync.Mutex
	what map[string]map[types.UID]match
	// full is when a requester last had a request refused for too many.
	full map[string]time.Time
}

type match struct {
	request client.ObjectKey
	policy  string
}

// Reconcile brings one request forward: look, decide, write the status once.
func (r *RequestReconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	request := &v1alpha1.AccessRequest{}
	if err := r.Client.Get(ctx, key.NamespacedName, request); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Clock.Now()
	if request.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	if request.Status.Phase.Ended() {
		return r.retain(ctx, request, now)
	}
	next := &requestStep{AccessRequest: request.DeepCopy(), now: now}
	err := r.advance(ctx, next)
	if no := (*impossible)(nil); errors.As(err, &no) {
		next.end(v1alpha1.RequestFailed, no.reason, no.message)
		err = nil
	}
	written, writeErr := patchStatus(ctx, r.Client, request, next.AccessRequest)
	if written {
		r.Metrics.wroteRequest(request, next.AccessRequest, now)
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
	if err := r.lapse(ctx, s); err != nil || s.Status.Phase.Ended() {
		return err
	}
	want, err := reader{cache: r.Client, live: r.Live}.resolve(ctx, s.AccessRequest)
	if err != nil {
		return err
	}
	match, outcome, err := r.decide(ctx, s, want)
	if err != nil || match == nil {
		return err
	}
	if !outcome.Approved || !r.started(s) || !r.taskIsThere(s, want) {
		return nil
	}
	return r.grant(ctx, s, want, match, &outcome)
}

// grantOf finds the grant of a request by its name, which follows from the
// request's UID.
func (r *RequestReconciler) grantOf(ctx context.Context, request *v1alpha1.AccessRequest) (*v1alpha1.AccessGrant, error) {
	given := &v1alpha1.AccessGrant{}
	key := client.ObjectKey{Name: grant.Name(request.Name, request.UID)}
	err := r.Client.Get(ctx, key, given)
	if apierrors.IsNotFound(err) && request.Status.GrantName != "" {
		err = r.Live.Get(ctx, key, given)
	}
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
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonApproved, approvedBy(given))
		s.set(v1alpha1.ConditionGranted, metav1.ConditionTrue, v1alpha1.ReasonGranted, fmt.Sprintf("%s in %s for %s until %s",
			given.Spec.Summary.Role, given.Spec.Summary.Scope, given.Spec.Summary.Subjects, given.Spec.ExpirationTime.UTC().Format(time.RFC3339)))
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
	message := fmt.Sprintf("not decided within %s; ask again", timeout)
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionApproved); c != nil && c.Reason == v1alpha1.ReasonWaitingForTask {
		message = fmt.Sprintf("%s %s did not appear within %s; ask again", s.Spec.Task.Kind, s.Spec.Task.Name, timeout)
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
	s.Status.Rules, s.Status.RulesHash = want.lines, want.rulesHash
	s.Status.Risks = risks(want.rules)
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

// findLive looks for a policy without the cache, which may not have seen one
// that was just made: that is no reason to deny for good.
func (r *RequestReconciler) findLive(ctx context.Context, s *requestStep, begin time.Time) (policy.Match, error) {
	candidates, err := r.Policies.AllLive(ctx)
	if err != nil {
		return policy.Match{}, err
	}
	want, err := reader{cache: r.Live, live: r.Live}.resolve(ctx, s.AccessRequest)
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
		Requester:  request.Spec.Requester,
		Subjects:   identity.Subjects(&request.Spec),
		Approvers:  request.Status.Approvers,
		Required:   required,
		Decisions:  request.Status.Decisions,
	})
}

// firstMatch refuses what is better told before anybody is asked to decide.
func (r *RequestReconciler) firstMatch(ctx context.Context, s *requestStep, match *policy.Match, want *resolved) error {
	p := match.Policy
	if most := p.Spec.MaxPendingPerRequester; most != nil {
		waiting, err := r.queue(ctx, s.AccessRequest, p.Name, int(*most))
		if err != nil {
			return err
		}
		if waiting >= int(*most) {
			s.end(v1alpha1.RequestDenied, v1alpha1.ReasonTooManyPending, fmt.Sprintf(
				"%s has %d requests waiting under policy %q, which allows %d at a time", s.Spec.Requester.Username, waiting, p.Name, *most))
			return nil
		}
	}
	if err := r.mayBind(ctx, want); err != nil {
		return err
	}
	// Who holds the access for good should hear of it, and so should those who
	// are asked to approve.
	held, err := askForAccess(ctx, r.Client, r.Live, newGrant(s.AccessRequest, want, match, nil, s.now), maxQuestionsBefore)
	if err != nil {
		return err
	}
	if len(held.others) > 0 {
		s.set(v1alpha1.ConditionStandingAccess, metav1.ConditionTrue, v1alpha1.ReasonOtherBindings, "held without this request: "+held.listed())
	}
	return nil
}

// queue counts the requester's other requests that wait under the policy, and
// counts this one from then on if they are less than most. Requests that are
// not matched yet may come to wait under another policy, or under none: they do
// not count.
func (r *RequestReconciler) queue(ctx context.Context, request *v1alpha1.AccessRequest, policyName string, most int) (waiting int, err error) {
	r.matched.mu.Lock()
	defer r.matched.mu.Unlock()
	requester := request.Spec.Requester.Username
	list := &v1alpha1.AccessRequestList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{indexPendingOf: requester}, client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("count pending requests: %w", err)
	}
	for i := range list.Items {
		if other := &list.Items[i]; other.UID != request.UID && other.Status.Policy.Name == policyName {
			waiting++
		}
	}
	unseen := map[types.UID]match{}
	for uid, m := range r.matched.what[requester] {
		other := &v1alpha1.AccessRequest{}
		err := r.Client.Get(ctx, m.request, other)
		if client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("count pending requests: %w", err)
		}
		if err != nil || other.UID != uid || other.Status.Policy != nil || other.Status.Phase.Ended() {
			continue
		}
		unseen[uid] = m
		if uid != request.UID && m.policy == policyName {
			waiting++
		}
	}
	if waiting < most {
		unseen[request.UID] = match{client.ObjectKeyFromObject(request), policyName}
	}
	if r.matched.what == nil {
		r.matched.what, r.matched.full = map[string]map[types.UID]match{}, map[string]time.Time{}
	}
	if waiting >= most {
		r.matched.full[requester] = r.Clock.Now()
	}
	r.matched.what[requester] = unseen
	if len(unseen) == 0 {
		delete(r.matched.what, requester)
	}
	return waiting, nil
}

// floodFor is how long a requester who had too many requests waiting stands
// behind the others.
const floodFor = time.Minute

// floods tells whether a requester has lately had too many requests waiting.
func (r *RequestReconciler) floods(requester string) bool {
	r.matched.mu.Lock()
	defer r.matched.mu.Unlock()
	since, ok := r.matched.full[requester]
	if ok && r.Clock.Now().Sub(since) > floodFor {
		delete(r.matched.full, requester)
		return false
	}
	return ok
}

// inTurn queues requests, and those of who floods the broker behind all others.
func (r *RequestReconciler) inTurn() handler.EventHandler {
	first := &handler.EnqueueRequestForObject{}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			queue, ok := q.(priorityqueue.PriorityQueue[reconcile.Request])
			if !ok || !r.floods(e.Object.(*v1alpha1.AccessRequest).Spec.Requester.Username) {
				first.Create(ctx, e, q)
				return
			}
			queue.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(handler.LowPriority)}, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
		},
		UpdateFunc: first.Update, DeleteFunc: first.Delete, GenericFunc: first.Generic,
	}
}

// mayBind asks whether the broker itself may bind the role, so that nobody is
// asked to approve what cannot be granted.
func (r *RequestReconciler) mayBind(ctx context.Context, want *resolved) error {
	ref := want.ask.RoleRef
	if ref == nil {
		return r.mayWrite(ctx, want)
	}
	resource, namespaces := "clusterroles", []string{""}
	if ref.Kind == v1alpha1.RoleKind {
		resource, namespaces = "roles", nil
		for _, ns := range want.namespaces {
			namespaces = append(namespaces, ns.Name)
		}
	}
	for _, namespace := range namespaces {
		allowed, err := r.mayI(ctx, authorizationv1.ResourceAttributes{Resource: resource, Verb: "bind", Name: ref.Name, Namespace: namespace})
		if err != nil {
			return err
		}
		if !allowed {
			return impossiblef(v1alpha1.ReasonNotSupported, "the broker may not bind %s %s: an administrator lists the roles it may bind in the ClusterRole access-broker-grantable-roles", ref.Kind, ref.Name)
		}
	}
	return nil
}

// mayWrite asks whether the broker itself may write a role with the rules: it
// must hold all of them.
func (r *RequestReconciler) mayWrite(ctx context.Context, want *resolved) error {
	resource, namespaces := "clusterroles", []string{""}
	if !want.ask.Cluster {
		resource, namespaces = "roles", nil
		for _, ns := range want.namespaces {
			namespaces = append(namespaces, ns.Name)
		}
	}
	for _, namespace := range namespaces {
		allowed, err := r.mayI(ctx, authorizationv1.ResourceAttributes{Resource: resource, Verb: "create", Namespace: namespace})
		if err != nil {
			return err
		}
		if !allowed {
			return impossiblef(v1alpha1.ReasonNotSupported, "rules of one's own are not enabled in this installation (config/components/adhoc-rules): ask for an existing role with roleRef")
		}
		held := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: cmp.Or(namespace, metav1.NamespaceDefault)}}
		if err := r.Client.Create(ctx, held); err != nil {
			return fmt.Errorf("ask what the broker holds: %w", err)
		}
		if covered, missing := rbac.Covers(rulesOf(held.Status), toRBAC(want.rules)); !covered && !held.Status.Incomplete {
			return impossiblef(v1alpha1.ReasonNotSupported, "rules: the broker does not hold %s itself: an administrator lists in the ClusterRole access-broker-adhoc-ceiling what rules may ask for", describeRules(missing))
		}
	}
	return nil
}

func rulesOf(status authorizationv1.SubjectRulesReviewStatus) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, rule := range status.ResourceRules {
		out = append(out, rbacv1.PolicyRule{Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames})
	}
	for _, rule := range status.NonResourceRules {
		out = append(out, rbacv1.PolicyRule{Verbs: rule.Verbs, NonResourceURLs: rule.NonResourceURLs})
	}
	return out
}

func describeRules(rules []rbacv1.PolicyRule) string {
	var out []string
	for _, rule := range rules[:min(len(rules), 5)] {
		out = append(out, strings.Join(rule.Verbs, ",")+" "+strings.Join(slices.Concat(rule.Resources, rule.NonResourceURLs), ","))
	}
	return strings.Join(out, "; ")
}

// mayI asks the API server whether the broker may do something to RBAC objects.
// One that is starting says no to everything, to what the broker lives by too:
// that is no answer.
func (r *RequestReconciler) mayI(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	for _, question := range []authorizationv1.ResourceAttributes{what, {Resource: "rolebindings", Verb: "create"}} {
		allowed, err := r.ask(ctx, question)
		if err != nil {
			return false, err
		}
		if allowed {
			return question == what, nil
		}
	}
	return false, errors.New("the API server does not know the broker's role: it is starting, or config/rbac is not installed")
}

func (r *RequestReconciler) ask(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	what.Group, what.Version = rbacv1.GroupName, "v1"
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	if err := r.Client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask what the broker may do: %w", err)
	}
	return review.Status.Allowed, nil
}

// started holds an approved request back until its startTime.
func (r *RequestReconciler) started(s *requestStep) bool {
	if s.Spec.StartTime == nil || !s.now.Before(s.Spec.StartTime.Time) {
		return true
	}
	s.Status.Phase = v1alpha1.RequestApproved
	s.wait = 0
	s.until(s.Spec.StartTime.Time)
	s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonWaitingForStart, "approved; waits for "+s.Spec.StartTime.UTC().Format(time.RFC3339))
	return false
}

// taskIsThere holds an approved request back until its task exists, and fails
// one whose task is over.
func (r *RequestReconciler) taskIsThere(s *requestStep, want *resolved) bool {
	ref := s.Spec.Task
	if ref == nil {
		return true
	}
	r.Tasks.Watch(*ref)
	if want.task == nil {
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonWaitingForTask, fmt.Sprintf("approved; waits for %s %s to exist", ref.Kind, ref.Name))
		return false
	}
	state, why, err := evaluateTask(*ref, want.task)
	switch {
	case err != nil:
		s.end(v1alpha1.RequestFailed, v1alpha1.ReasonInvalid, "task.completeWhen: "+err.Error())
	case state != task.Running:
		s.end(v1alpha1.RequestFailed, v1alpha1.ReasonTaskOver, "the task is over already: "+why)
	default:
		return true
	}
	return false
}

// grant writes the AccessGrant: the intent, with its deadline, before any
// binding. What people may have changed since the cache last heard of it, the
// decisions and the policy, must be what was weighed; a role or namespace that
// changes in this moment ends the grant as soon as it is seen.
func (r *RequestReconciler) grant(ctx context.Context, s *requestStep, want *resolved, match *policy.Match, outcome *policy.Outcome) error {
	given := newGrant(s.AccessRequest, want, match, outcome.Approvers, s.now)
	r.Backlog.begin(given, s.now)
	made := false
	defer func() {
		if !made {
			r.Backlog.end(given.Name)
		}
	}()
	fresh, err := r.fresh(ctx, s.AccessRequest, match.Policy)
	if err != nil {
		return err
	}
	if !fresh {
		s.wait = staleAgain // the newer version is on its way, and most likely comes sooner
		return nil
	}
	err = r.Client.Create(ctx, given)
	if apierrors.IsAlreadyExists(err) {
		return nil // it was made before a restart, or the cache is behind; its deadline stands
	}
	if err != nil {
		return fmt.Errorf("write grant: %w", err)
	}
	made = true
	r.Metrics.wroteGrant(s.AccessRequest, given.Name, s.now)
	return nil
}

// fresh asks the API server whether the request and the policy are those that
// were weighed. It reads their metadata alone: this lies between an approval and
// the access.
func (r *RequestReconciler) fresh(ctx context.Context, request *v1alpha1.AccessRequest, p *policy.Policy) (bool, error) {
	var sameRequest, samePolicy bool
	group, groupCtx := errgroup.WithContext(ctx)
	read := func(kind string, key client.ObjectKey, same *bool, is func(*metav1.PartialObjectMetadata) bool) {
		group.Go(func() error {
			live := &metav1.PartialObjectMetadata{}
			live.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
			err := r.Live.Get(groupCtx, key, live)
			if client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("look whether %s %s has changed: %w", kind, key, err)
			}
			*same = err == nil && is(live)
			return nil
		})
	}
	read("AccessRequest", client.ObjectKeyFromObject(request), &sameRequest, func(live *metav1.PartialObjectMetadata) bool {
		return live.UID == request.UID && live.ResourceVersion == request.ResourceVersion
	})
	read("AccessPolicy", client.ObjectKey{Name: p.Name}, &samePolicy, func(live *metav1.PartialObjectMetadata) bool {
		return live.UID == p.UID && live.Generation == p.Generation && live.DeletionTimestamp == nil
	})
	err := group.Wait()
	return sameRequest && samePolicy, err
}

// newGrant is the record of what was approved, complete with its deadline. The
// deadline is cut to whole seconds, as the API stores it: never later than
// what was approved. Of the decisions it records those that counted.
func newGrant(request *v1alpha1.AccessRequest, want *resolved, match *policy.Match, approvers []string, now time.Time) *v1alpha1.AccessGrant {
	given := &v1alpha1.AccessGrant{}
	given.Name = grant.Name(request.Name, request.UID)
	controllerutil.AddFinalizer(given, v1alpha1.FinalizerRevoke)
	given.Spec = v1alpha1.AccessGrantSpec{
		RequestRef:     v1alpha1.RequestRef{Namespace: request.Namespace, ObjectRef: v1alpha1.ObjectRef{Name: request.Name, UID: request.UID}},
		Requester:      request.Spec.Requester,
		Subjects:       want.subjects,
		RoleRef:        request.Spec.RoleRef,
		RoleUID:        want.roleUID,
		Namespaces:     want.namespaces,
		Cluster:        want.ask.Cluster,
		PolicyRef:      *policyRef(match.Policy),
		Reason:         request.Spec.Reason,
		Ticket:         request.Spec.Ticket,
		RoleRules:      want.lines,
		RulesHash:      want.rulesHash,
		NotBefore:      metav1.NewTime(now.Truncate(time.Second)),
		ExpirationTime: metav1.NewTime(now.Add(match.Duration).Truncate(time.Second)),
	}
	for _, d := range request.Status.Decisions {
		if d.Verdict == v1alpha1.VerdictApprove && slices.Contains(approvers, d.Username) {
			given.Spec.Decisions = append(given.Spec.Decisions, d)
		}
	}
	if request.Spec.RoleRef == nil {
		given.Spec.Rules, given.Spec.RoleRules = want.rules, nil
	}
	if want.task != nil {
		given.Spec.Task = &v1alpha1.GrantTask{TaskRef: *request.Spec.Task, UID: want.task.GetUID()}
	}
	given.Spec.Summary = grant.Summarize(&given.Spec)
	return given
}

func policyRef(p *policy.Policy) *v1alpha1.PolicyRef {
	return &v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: p.Name, UID: p.UID}, Generation: p.Generation}
}

func risks(rules []v1alpha1.PolicyRule) []v1alpha1.Risk {
	var out []v1alpha1.Risk
	for _, risk := range rbac.Risks(toRBAC(rules)) {
		out = append(out, v1alpha1.Risk{Kind: risk.Kind, Message: risk.Message})
	}
	return slices.Clip(out)
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

// retain deletes a request that has been over for long enough, after it was
// logged whole.
func (r *RequestReconciler) retain(ctx context.Context, request *v1alpha1.AccessRequest, now time.Time) (reconcile.Result, error) {
	ended := meta.FindStatusCondition(request.Status.Conditions, v1alpha1.ConditionEnded)
	if ended == nil {
		return reconcile.Result{}, nil
	}
	stay, up := overstay(ended.LastTransitionTime.Time, r.Retention, now)
	if !up {
		return reconcile.Result{RequeueAfter: stay}, nil
	}
	r.Journal.request("Deleted", ended.Message, request)
	err := r.Client.Delete(ctx, request, client.Preconditions{UID: &request.UID, ResourceVersion: &request.ResourceVersion})
	return reconcile.Result{}, client.IgnoreNotFound(err)
}
