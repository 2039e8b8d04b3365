package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
)

// reviewIn lets a policy ask for a review within an hour.
func reviewIn(p *v1alpha1.AccessPolicySpec) {
	p.ReviewWithin = &metav1.Duration{Duration: time.Hour}
}

// reviewed brings the review of a grant forward, with the caches as the API server is.
func (w *world) reviewed(request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant) reconcile.Result {
	w.t.Helper()
	w.followed(request)
	w.followed(g)
	result, err := w.reviews.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)})
	if err != nil {
		w.t.Fatalf("reconcile the review: %v", err)
	}
	return result
}

// followed waits until the cache of reviews has what the API server has.
func (w *world) followed(o client.Object) {
	w.t.Helper()
	err := lab.Until(w.t.Context(), 10*time.Second, func(ctx context.Context) (bool, error) {
		live, seen := o.DeepCopyObject().(client.Object), o.DeepCopyObject().(client.Object)
		liveErr, seenErr := e.Admin.Get(ctx, client.ObjectKeyFromObject(o), live), reviews.Get(ctx, client.ObjectKeyFromObject(o), seen)
		if liveErr != nil || !awaits(live) {
			return seenErr != nil, client.IgnoreNotFound(liveErr)
		}
		return seenErr == nil && seen.GetResourceVersion() == live.GetResourceVersion(), nil
	})
	if err != nil {
		w.t.Fatalf("the cache of reviews does not follow %T %s: %v", o, o.GetName(), err)
	}
}

func awaits(o client.Object) bool {
	if g, ok := o.(*v1alpha1.AccessGrant); ok {
		return g.Status.Review.Open()
	}
	return o.(*v1alpha1.AccessRequest).Status.Review.Open()
}

// look writes the verdict Review.
func (w *world) look(c client.Client, request *v1alpha1.AccessRequest, comment string) error {
	body := fmt.Sprintf(`{"status":{"decisions":[{"verdict":"Review","comment":%q}]}}`, comment)
	return c.Status().Patch(w.t.Context(), request.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(body)))
}

// ended is access that was held and whose time is up, and that waits for a review.
func (w *world) ended() (*v1alpha1.AccessRequest, *v1alpha1.AccessGrant) {
	w.t.Helper()
	request, g := w.active()
	if got := w.request(request).Status.Review; got != v1alpha1.ReviewAfterEnd {
		w.t.Fatalf("the review of an active request is %q", got)
	}
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	return request, w.wantEnded(g, v1alpha1.EndExpired)
}

// wantReview tells what the grant and, unless it is gone, the request say of the review.
func (w *world) wantReview(request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant, state v1alpha1.ReviewState, reason, message string) {
	w.t.Helper()
	current := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(w.t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
		w.t.Fatal(err)
	}
	says := func(what string, got v1alpha1.ReviewState, conditions []metav1.Condition) {
		w.t.Helper()
		c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReviewed)
		if got != state || c == nil || c.Reason != reason || (c.Status == metav1.ConditionTrue) != (state == v1alpha1.ReviewDone) || !strings.Contains(c.Message, message) {
			w.t.Errorf("the %s says %q, %+v; want %s %s: %s", what, got, c, state, reason, message)
		}
	}
	says("grant", current.Status.Review, current.Status.Conditions)
	if request != nil {
		r := w.request(request)
		says("request", r.Status.Review, r.Status.Conditions)
	}
}

// A review waits for its deadline, is overdue from then on, and is done when somebody
// who did not benefit has looked back, however late.
func TestReview(t *testing.T) {
	w := newWorld(t, reviewIn)
	request, g := w.ended()
	w.wantReview(request, g, v1alpha1.ReviewWaiting, v1alpha1.ReasonWaitingForReview, "to be reviewed")
	if wait := w.reviewed(request, g).RequeueAfter; wait <= 0 || wait > time.Hour {
		t.Errorf("it comes back after %s", wait)
	}
	w.wantReview(request, g, v1alpha1.ReviewWaiting, v1alpha1.ReasonWaitingForReview, "by one of group:sre by")

	w.clock.SetTime(g.Status.EndedTime.Add(time.Hour - time.Second))
	w.reviewed(request, g)
	w.wantReview(request, g, v1alpha1.ReviewWaiting, v1alpha1.ReasonWaitingForReview, "")
	w.clock.SetTime(g.Status.EndedTime.Add(time.Hour))
	w.reviewed(request, g)
	w.wantReview(request, g, v1alpha1.ReviewOverdue, v1alpha1.ReasonReviewOverdue, "alice gets nothing more under policy "+w.policy.Name)

	if err := w.look(bob, request, "restarted the consumers, nothing else"); err != nil {
		t.Fatal(err)
	}
	w.reviewed(request, g)
	w.wantReview(request, g, v1alpha1.ReviewDone, v1alpha1.ReasonReviewed, "reviewed by bob: restarted the consumers, nothing else")
	w.followed(g) // it has left the cache
}

// A restart between the two writes of a review loses nothing: the request is told when
// it is looked at again.
func TestReviewIsToldToTheRequestLater(t *testing.T) {
	w := newWorld(t, reviewIn)
	request, g := w.ended()
	w.reviewed(request, g)
	if err := w.look(bob, request, "fine"); err != nil {
		t.Fatal(err)
	}
	w.followed(request)
	done := g.DeepCopy()
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), done); err != nil {
		t.Fatal(err)
	}
	// As if only the first write had been made.
	stored := done.DeepCopy()
	stored.Status.Review = v1alpha1.ReviewDone
	meta.SetStatusCondition(&stored.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReviewed, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReviewed, Message: "reviewed by bob: fine"})
	if err := watching.Status().Patch(t.Context(), stored, client.MergeFrom(done)); err != nil {
		t.Fatal(err)
	}
	w.reviewed(request, g)
	w.wantReview(request, g, v1alpha1.ReviewDone, v1alpha1.ReasonReviewed, "reviewed by bob: fine")
}

// Whoever should have been reviewed and was not gets nothing more under this policy, and
// is told what to have reviewed. Another policy, and the time before the deadline, do
// not know of it.
func TestOverdueReviewStopsTheRequester(t *testing.T) {
	w := newWorld(t, reviewIn)
	other := w.policy.DeepCopy()
	other.ObjectMeta = metav1.ObjectMeta{Name: "other-" + w.namespace}
	w.create(other)
	request, g := w.ended()
	w.followed(g)

	early := w.ask()
	w.fresh(other)
	w.reconcileRequest(early)
	if got := w.request(early); got.Status.Phase != v1alpha1.RequestPending {
		t.Errorf("before the deadline of the review the next request is %s: %v", got.Status.Phase, got.Status.Conditions)
	}

	// Nobody has recorded that it is overdue: the time is enough.
	w.clock.SetTime(g.Status.EndedTime.Add(time.Hour))
	w.followed(request)
	late := w.ask()
	w.reconcileRequest(late)
	w.reconcileRequest(early)
	for _, next := range []*v1alpha1.AccessRequest{late, early} {
		got := w.request(next)
		c := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionEnded)
		if got.Status.Phase != v1alpha1.RequestDenied || c == nil || c.Reason != v1alpha1.ReasonReviewOverdue ||
			!strings.Contains(c.Message, "request "+w.namespace+"/"+request.Name) || !strings.Contains(c.Message, "group:sre") {
			t.Errorf("the next request is %s: %+v", got.Status.Phase, c)
		}
	}
	elsewhere := w.ask(func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = other.Name })
	w.reconcileRequest(elsewhere)
	if got := w.request(elsewhere); got.Status.Phase != v1alpha1.RequestPending {
		t.Errorf("under another policy the next request is %s: %v", got.Status.Phase, got.Status.Conditions)
	}

	if err := w.look(bob, request, "all is well"); err != nil {
		t.Fatal(err)
	}
	w.reviewed(request, g)
	w.followed(g)
	again := w.ask()
	w.reconcileRequest(again)
	if got := w.request(again); got.Status.Phase != v1alpha1.RequestPending {
		t.Errorf("after the review the next request is %s: %v", got.Status.Phase, got.Status.Conditions)
	}
}

// An approved request is refused too when a review falls due before the grant.
func TestReviewFallsDueBeforeTheGrant(t *testing.T) {
	w := newWorld(t, reviewIn)
	_, g := w.ended()
	w.followed(g)
	next := w.ask()
	w.reconcileRequest(next)
	w.decide(bob, next, v1alpha1.VerdictApprove)
	w.clock.SetTime(g.Status.EndedTime.Add(time.Hour))
	w.reconcileRequest(next)
	if got := w.request(next); got.Status.Phase != v1alpha1.RequestDenied {
		t.Errorf("the request is %s", got.Status.Phase)
	}
}

// When the request is gone, with its namespace for instance, nobody can review it, and
// the block stays.
func TestReviewWhoseRequestIsGone(t *testing.T) {
	w := newWorld(t, reviewIn)
	request, g := w.ended()
	w.followed(request)
	if err := watching.Delete(t.Context(), w.request(request)); err != nil { // as the broker
		t.Fatal(err)
	}
	w.reviewed(request, g)
	w.wantReview(nil, g, v1alpha1.ReviewWaiting, v1alpha1.ReasonRequestGone, "the request was deleted before anybody looked back")
	w.clock.SetTime(g.Status.EndedTime.Add(time.Hour))
	w.reviewed(request, g)
	w.followed(g)
	next := w.ask()
	w.reconcileRequest(next)
	if got := w.request(next); got.Status.Phase != v1alpha1.RequestDenied || !strings.Contains(fmt.Sprint(got.Status.Conditions), g.Name) {
		t.Errorf("the next request is %s: %v", got.Status.Phase, got.Status.Conditions)
	}
}

// A policy that grants automatically may have people to look back: a stage with count 0.
// One that names nobody at all cannot ask for a review.
func TestReviewOfAnAutomaticPolicy(t *testing.T) {
	w := newWorld(t, func(p *v1alpha1.AccessPolicySpec) {
		reviewIn(p)
		p.Approvals[0].Count = ptr.To[int32](0)
	})
	request := w.ask()
	w.reconcileRequest(request)
	g := w.grantOf(request)
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	if err := w.look(bob, request, "nothing odd"); err != nil {
		t.Fatal(err)
	}
	w.reviewed(request, g)
	w.wantReview(request, g, v1alpha1.ReviewDone, v1alpha1.ReasonReviewed, "bob")
}

// Requests and grants that are to be reviewed outlive their retention, and go with the
// next look after the review. Where nobody can review, the grant goes with its retention.
func TestRetentionWaitsForTheReview(t *testing.T) {
	w := newWorld(t, reviewIn)
	request, g := w.ended()
	late := g.Status.EndedTime.Add(48 * time.Hour)
	look := func() {
		t.Helper()
		archive := &record.Archive{
			Client: broker.GetClient(), Live: broker.GetAPIReader(), Clock: clocktesting.NewFakeClock(late),
			Journal: w.requests.Status.Journal, Backlog: &queue.Backlog{}, Metrics: w.requests.Metrics, Retention: record.Retention{Requests: time.Hour, Grants: 24 * time.Hour},
		}
		if err := archive.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(o client.Object) bool {
		return apierrors.IsNotFound(e.Admin.Get(t.Context(), client.ObjectKeyFromObject(o), o.DeepCopyObject().(client.Object)))
	}
	for range 2 { // the first look only marks the grant of a request that it deletes next
		look()
	}
	if gone(request) || gone(g) {
		t.Fatal("the record went before anybody looked back")
	}
	w.clock.SetTime(late)
	w.reviewed(request, g)
	for range 2 {
		look()
	}
	if gone(request) || gone(g) {
		t.Fatal("the record went while the review was overdue")
	}
	if err := w.look(bob, request, "better late than never"); err != nil {
		t.Fatal(err)
	}
	w.reviewed(request, g)
	err := lab.Until(t.Context(), 10*time.Second, func(context.Context) (bool, error) {
		look()
		return gone(request) && gone(g), nil
	})
	if err != nil {
		t.Errorf("after the review the record is kept: request gone %v, grant gone %v", gone(request), gone(g))
	}

	w = newWorld(t, reviewIn)
	request, g = w.ended()
	w.followed(request)
	if err := watching.Delete(t.Context(), w.request(request)); err != nil {
		t.Fatal(err)
	}
	w.reviewed(request, g)
	late = g.Status.EndedTime.Add(24*time.Hour - time.Second)
	if look(); gone(g) {
		t.Error("a grant that nobody can review went before its time")
	}
	late = g.Status.EndedTime.Add(24 * time.Hour)
	if look(); !gone(g) {
		t.Error("a grant that nobody can review is kept for ever")
	}
}

// The metric counts what waits and what is overdue, and each state is told once, as an
// Event of its own.
func TestReviewIsCountedAndTold(t *testing.T) {
	w := newWorld(t, reviewIn)
	registry := w.measure()
	told := w.reviews.Status.Journal.Recorder.(*events.FakeRecorder)
	count := func(state string) float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if family.GetName() == "access_broker_reviews" && m.GetLabel()[0].GetValue() == state {
					return m.GetGauge().GetValue()
				}
			}
		}
		t.Fatalf("nothing counts what is %s", state)
		return 0
	}
	request, g := w.active()
	waits, overdue := count("waiting"), count("overdue") // of other tests
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	g = w.wantEnded(g, v1alpha1.EndExpired)
	w.reviewed(request, g)
	w.reviewed(request, g)
	if n := count("waiting") + count("overdue"); n != waits+overdue+1 {
		t.Errorf("%v are counted, %v before", n, waits+overdue)
	}
	before := count("overdue")
	w.clock.SetTime(g.Status.EndedTime.Add(time.Hour))
	w.reviewed(request, g)
	w.reviewed(request, g)
	if n := count("overdue"); n <= before {
		t.Errorf("%v are overdue, %v before", n, before)
	}
	if err := w.look(bob, request, "fine"); err != nil {
		t.Fatal(err)
	}
	w.reviewed(request, g)
	w.followed(g)
	var got []string
	for len(told.Events) > 0 {
		if event := <-told.Events; strings.Contains(event, "Review") {
			got = append(got, strings.Join(strings.Fields(event)[:2], " "))
		}
	}
	if want := "Normal WaitingForReview, Warning ReviewOverdue, Normal Reviewed"; strings.Join(got, ", ") != want {
		t.Errorf("told are %q, want %s", got, want)
	}
}
