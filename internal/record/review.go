package record

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Reviewed is what is known of the review of a grant that has ended.
type Reviewed struct {
	// By is who looked back, and Comment what they say; empty while nobody has.
	By, Comment string
	// Ignored are reviews that do not count, and why.
	Ignored []string
	// Reviewers may look back.
	Reviewers []string
	// RequestGone: nobody can look back any more.
	RequestGone bool
}

// maxReviewers bounds how many of those who may look back are named.
const maxReviewers = 8

// SetReviewed sets how the review of a grant that has ended stands, where there has to
// be one. Each state is a new moment.
func SetReviewed(g *v1alpha1.AccessGrant, now time.Time, r Reviewed) {
	due, wanted := grant.ReviewDue(g)
	if !wanted || g.Status.Review == v1alpha1.ReviewDone {
		return
	}
	status, reason, message := metav1.ConditionFalse, v1alpha1.ReasonWaitingForReview, ""
	state := v1alpha1.ReviewWaiting
	if grant.ReviewOverdue(g, now) {
		state, reason = v1alpha1.ReviewOverdue, v1alpha1.ReasonReviewOverdue
	}
	who := ""
	if len(r.Reviewers) > 0 {
		who = " by one of " + text.List(r.Reviewers, maxReviewers)
	}
	ref := g.Spec.RequestRef
	how := fmt.Sprintf("kubectl access review %s -n %s --comment …", ref.Name, ref.Namespace)
	switch {
	case r.By != "":
		state, status, reason = v1alpha1.ReviewDone, metav1.ConditionTrue, v1alpha1.ReasonReviewed
		message = "reviewed by " + r.By + ": " + text.Trim(r.Comment)
	case r.RequestGone:
		reason = v1alpha1.ReasonRequestGone
		message = fmt.Sprintf("the request was deleted before anybody looked back, and nobody can any more: %s gets nothing under policy %s while this grant is kept", g.Spec.Requester.Username, g.Spec.PolicyRef.Name)
	case state == v1alpha1.ReviewOverdue:
		message = fmt.Sprintf("nobody reviewed the access%s by %s: %s gets nothing more under policy %s until that is done: %s", who, text.Moment(due), g.Spec.Requester.Username, g.Spec.PolicyRef.Name, how)
	default:
		message = fmt.Sprintf("to be reviewed%s by %s: %s", who, text.Moment(due), how)
	}
	if status == metav1.ConditionFalse && len(r.Ignored) > 0 {
		message += " (not counted: " + strings.Join(r.Ignored, "; ") + ")"
	}
	conditions := &g.Status.Conditions
	if c := meta.FindStatusCondition(*conditions, v1alpha1.ConditionReviewed); c != nil && c.Reason != reason {
		meta.RemoveStatusCondition(conditions, v1alpha1.ConditionReviewed)
	}
	g.Status.Review = state
	SetCondition(conditions, now, v1alpha1.ConditionReviewed, status, reason, message)
}

// ShowReview copies what a grant says about its review to its request.
func ShowReview(request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant) {
	if g.Spec.ReviewWithin == nil {
		return
	}
	if request.Status.Review = g.Status.Review; g.Status.Phase != v1alpha1.GrantEnded {
		request.Status.Review = v1alpha1.ReviewAfterEnd
	}
	meta.RemoveStatusCondition(&request.Status.Conditions, v1alpha1.ConditionReviewed)
	if told := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReviewed); told != nil {
		meta.SetStatusCondition(&request.Status.Conditions, *told)
	}
}

// Review writes how the review of a grant stands, and tells when that has changed.
func (w *Writer) Review(ctx context.Context, before, after *v1alpha1.AccessGrant) error {
	written, err := w.patch(ctx, before, after)
	if !written {
		return err
	}
	w.Journal.review(before, after)
	if w.AfterEnd != nil {
		w.AfterEnd(before, after)
	}
	return nil
}

// review reports that the review of a grant has come to another state.
func (j Journal) review(before, after *v1alpha1.AccessGrant) {
	was, is := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionReviewed), meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReviewed)
	if is != nil && (was == nil || was.Reason != is.Reason) {
		j.grant(is.Reason, "Review", is.Message, after)
	}
}

// keepsForReview tells whether something that has ended must not be deleted yet:
// somebody still has to look back at it, and can.
func keepsForReview(review v1alpha1.ReviewState, conditions []metav1.Condition) bool {
	c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReviewed)
	return review.Open() && (c == nil || c.Reason != v1alpha1.ReasonRequestGone)
}

// reviewCensus counts what waits for a review, in a cache of its own: a scrape has
// everything else, too, while that is not filled.
type reviewCensus struct {
	client client.Reader
	clock  clock.PassiveClock
}

var reviewsDesc = prometheus.NewDesc("access_broker_reviews", "Grants that have ended and that nobody has looked back at: waiting, or overdue, which stops their requesters.", []string{"state"}, nil)

// Describe implements prometheus.Collector.
func (c *reviewCensus) Describe(ch chan<- *prometheus.Desc) { ch <- reviewsDesc }

// Collect implements prometheus.Collector.
func (c *reviewCensus) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var grants v1alpha1.AccessGrantList
	if err := c.client.List(ctx, &grants, client.UnsafeDisableDeepCopy); err != nil {
		logf.Log.WithName("metrics").Info("reviews are left out of a scrape", "error", err.Error())
		return
	}
	overdue, now := 0, c.clock.Now()
	for i := range grants.Items {
		if grant.ReviewOverdue(&grants.Items[i], now) {
			overdue++
		}
	}
	ch <- prometheus.MustNewConstMetric(reviewsDesc, prometheus.GaugeValue, float64(len(grants.Items)-overdue), "waiting")
	ch <- prometheus.MustNewConstMetric(reviewsDesc, prometheus.GaugeValue, float64(overdue), "overdue")
}
