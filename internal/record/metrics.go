package record

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// Metrics of the broker. No label holds anything that a user chose.
type Metrics struct {
	timeToDecision   *prometheus.HistogramVec
	approvalToActive prometheus.Histogram
	revocationLag    prometheus.Histogram
	revocationErrors prometheus.Counter
	usageEnds        *prometheus.CounterVec
	findings         *prometheus.CounterVec
	leftBehind       prometheus.Counter
	outlived         prometheus.Counter

	mu sync.Mutex
	// granted has the grants that are not Active yet, and when each was written.
	// ending has the grants that must end early, and when the broker first saw that.
	granted, ending map[string]time.Time
	// endedRequests and endedGrants are how many have ended; endedRequests is nil
	// until the first look.
	endedRequests map[v1alpha1.RequestPhase]int
	endedGrants   int
}

// NewMetrics makes and registers the metrics. It counts what is in the cache at each
// scrape, so that the numbers are right after a restart. reviews is the cache of what
// waits for a review.
func NewMetrics(registry prometheus.Registerer, c, reviews client.Reader, clk clock.PassiveClock, version string) (*Metrics, error) {
	m := &Metrics{
		timeToDecision: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "access_broker_request_decision_seconds", Help: "Time from the creation of a request to its decision: approved, denied by an approver, refused by the broker, or lapsed.",
			Buckets: []float64{.1, 1, 10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600},
		}, []string{"decision"}),
		approvalToActive: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "access_broker_grant_activation_seconds", Help: "Time from the last approval seen to every binding created.",
			Buckets: prometheus.ExponentialBuckets(.002, 2, 14),
		}),
		revocationLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "access_broker_revocation_lag_seconds", Help: "Time from a grant's deadline to the last of its bindings removed.",
			Buckets: prometheus.ExponentialBuckets(.001, 2, 18),
		}),
		revocationErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "access_broker_revocation_failures_total", Help: "Attempts to remove what a grant gave that failed and will be tried again.",
		}),
		usageEnds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "access_broker_usage_ends_total", Help: "Grants that ended for what was observed of their use, by reason.",
		}, []string{"reason"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "access_broker_suspicious_uses_total", Help: "Suspicious uses of grants that were seen, each once a grant, by the action that the policy wants.",
		}, []string{"action"}),
		leftBehind: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "access_broker_left_behind_total", Help: "Objects that were created with access and still existed after its end.",
		}),
		outlived: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "access_broker_sessions_outlived_total", Help: "Sessions that were open after the end of the access that they began with.",
		}),
		granted: map[string]time.Time{},
		ending:  map[string]time.Time{},
	}
	for _, decision := range decisionsObserved {
		m.timeToDecision.WithLabelValues(decision)
	}
	for _, reason := range endsOfUsage {
		m.usageEnds.WithLabelValues(string(reason))
	}
	for _, action := range []v1alpha1.SuspiciousAction{v1alpha1.SuspiciousReport, v1alpha1.SuspiciousRevoke} {
		m.findings.WithLabelValues(string(action))
	}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "access_broker_build_info", Help: "The version that runs, always 1.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
	pendingEnd := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "access_broker_oldest_pending_end_seconds", Help: "For how long the oldest end before the deadline, a Revoke say, has waited to be carried out: the other one to page on. 0 when none waits.",
	}, func() float64 { return m.oldestPendingEnd(clk.Now()).Seconds() })
	for _, collector := range []prometheus.Collector{
		m.timeToDecision, m.approvalToActive, m.revocationLag, m.revocationErrors, m.usageEnds, m.findings, m.leftBehind, m.outlived, build, pendingEnd, &census{client: c, clock: clk, ended: m}, &reviewCensus{client: reviews, clock: clk},
	} {
		if err := registry.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// What is observed as the decision of a request.
const (
	decidedApproved = "approved"
	decidedDenied   = "denied"  // by an approver
	decidedRefused  = "refused" // by the broker: no policy allows it, or it cannot be granted
	decidedLapsed   = "lapsed"
)

var decisionsObserved = []string{decidedApproved, decidedDenied, decidedRefused, decidedLapsed}

// WroteGrant observes that a request was approved and its grant written. A request
// that waited for its startTime or its task was observed when it was approved.
func (m *Metrics) WroteGrant(request *v1alpha1.AccessRequest, name string, now time.Time) {
	m.mu.Lock()
	m.granted[name] = now
	m.mu.Unlock()
	if !approvedBefore(request) {
		m.observe(request, decidedApproved, now)
	}
}

// wroteRequest observes the decision, if any, that a write of a request's status
// made.
func (m *Metrics) wroteRequest(before, after *v1alpha1.AccessRequest, now time.Time) {
	ended := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionEnded)
	switch phase := after.Status.Phase; {
	case after.Status.GrantName != "", approvedBefore(before): // its approval was observed
	case phase == v1alpha1.RequestLapsed:
		m.observe(after, decidedLapsed, now)
	case phase == v1alpha1.RequestDenied && ended != nil && ended.Reason == v1alpha1.ReasonDenied:
		m.observe(after, decidedDenied, now)
	case phase == v1alpha1.RequestDenied, phase == v1alpha1.RequestFailed:
		m.observe(after, decidedRefused, now)
	case !phase.Ended() && approvedBefore(after):
		m.observe(after, decidedApproved, now)
	}
}

func approvedBefore(request *v1alpha1.AccessRequest) bool {
	return meta.IsStatusConditionTrue(request.Status.Conditions, v1alpha1.ConditionApproved)
}

func (m *Metrics) observe(request *v1alpha1.AccessRequest, decision string, now time.Time) {
	m.timeToDecision.WithLabelValues(decision).Observe(max(0, now.Sub(request.CreationTimestamp.Time).Seconds())) // the API server's clock may be ahead
}

// Active observes how long it took from the grant's writing to its bindings.
func (m *Metrics) Active(name string, now time.Time) {
	m.mu.Lock()
	at, ok := m.granted[name]
	delete(m.granted, name)
	m.mu.Unlock()
	if ok {
		m.approvalToActive.Observe(now.Sub(at).Seconds())
	}
}

// MustEnd notes whether a grant must end before its deadline. After the deadline its
// bindings count as overdue.
func (m *Metrics) MustEnd(name string, end *grant.End, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end == nil || end.Reason == v1alpha1.EndExpired {
		delete(m.ending, name)
	} else if _, known := m.ending[name]; !known {
		m.ending[name] = now
	}
}

// Forget forgets a grant whose end is recorded, or that is gone.
func (m *Metrics) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.granted, name)
	delete(m.ending, name)
}

func (m *Metrics) oldestPendingEnd(now time.Time) (oldest time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, since := range m.ending {
		oldest = max(oldest, now.Sub(since))
	}
	return oldest
}

// Revoked observes a removal of what was due, or its failure.
func (m *Metrics) Revoked(g *v1alpha1.AccessGrant, now time.Time, err error) {
	if err == nil {
		m.revocationLag.Observe(max(0, now.Sub(g.Spec.ExpirationTime.Time).Seconds()))
	}
	_ = m.Removal(err)
}

// Removal counts a removal that failed; it returns its argument.
func (m *Metrics) Removal(err error) error {
	if err != nil {
		m.revocationErrors.Inc()
	}
	return err
}

// endsOfUsage are the reasons that are observed in the use of a grant.
var endsOfUsage = []v1alpha1.EndReason{v1alpha1.EndIdle, v1alpha1.EndSuspicious}

// ended counts a grant that ended for what was observed of its use.
func (m *Metrics) ended(g *v1alpha1.AccessGrant) {
	if slices.Contains(endsOfUsage, g.Status.EndReason) {
		m.usageEnds.WithLabelValues(string(g.Status.EndReason)).Inc()
	}
}

// found counts what was found of the use of a grant.
func (m *Metrics) found(found Found) {
	for _, f := range found.Findings {
		m.findings.WithLabelValues(string(f.Action)).Inc()
	}
	m.leftBehind.Add(float64(found.LeftBehind))
	m.outlived.Add(float64(found.SessionsOpen))
}

// looked notes how many have ended.
func (m *Metrics) looked(requests map[v1alpha1.RequestPhase]int, grants int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endedRequests, m.endedGrants = requests, grants
}

// allEnded returns what looked noted; known is false before the first look, which
// only the leader takes.
func (m *Metrics) allEnded() (requests map[v1alpha1.RequestPhase]int, grants int, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.endedRequests, m.endedGrants, m.endedRequests != nil
}

// census counts what the cache holds, and what has ended.
type census struct {
	client client.Reader
	clock  clock.PassiveClock
	ended  *Metrics
}

var (
	policyReviewsDesc = prometheus.NewDesc("access_broker_policy_reviews", "Policies whose reviewBy is near (Soon: within two weeks) or has passed (Overdue: they give nothing).", []string{"review"}, nil)
	notReadyDesc      = prometheus.NewDesc("access_broker_policies_not_ready", "Policies that are not Ready, by reason: what they do not give, people wait for.", []string{"reason"}, nil)
	requestsDesc      = prometheus.NewDesc("access_broker_requests", "Requests by phase.", []string{"phase"}, nil)
	grantsDesc        = prometheus.NewDesc("access_broker_grants", "Grants by phase.", []string{"phase"}, nil)
	unseenDesc        = prometheus.NewDesc("access_broker_usage_unobserved_seconds", "For how long the use of an active grant, whose use is observed, has not been observed: the longest. 0 when there is none.", nil, nil)
	overdueDesc       = prometheus.NewDesc("access_broker_overdue_bindings", "Bindings whose grant's deadline has passed, whose grant has ended or whose grant is gone: the one to page on.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *census) Describe(ch chan<- *prometheus.Desc) {
	ch <- requestsDesc
	ch <- grantsDesc
	ch <- overdueDesc
	ch <- unseenDesc
	ch <- policyReviewsDesc
	ch <- notReadyDesc
}

// Collect implements prometheus.Collector. It leaves out what it cannot count
// because the cache is not filled yet; the scrape has everything else.
func (c *census) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, count := range []func(context.Context, chan<- prometheus.Metric) error{c.countRequests, c.countGrants, c.countUsages, c.countPolicies} {
		if err := count(ctx, ch); err != nil {
			logf.Log.WithName("metrics").Info("left out of a scrape", "error", err.Error())
		}
	}
}

// notReadyReasons are the reasons for which a policy is not Ready.
var notReadyReasons = []string{
	v1alpha1.ReasonDoesNotCompile, v1alpha1.ReasonRoleNotGrantable, v1alpha1.ReasonNotConfirmed, v1alpha1.ReasonPolicyReviewOverdue,
}

func (c *census) countPolicies(ctx context.Context, ch chan<- prometheus.Metric) error {
	var policies v1alpha1.AccessPolicyList
	if err := c.client.List(ctx, &policies, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("count policies: %w", err)
	}
	reviews, notReady, now := map[v1alpha1.PolicyReview]int{}, map[string]int{}, c.clock.Now()
	for i := range policies.Items {
		p := &policies.Items[i]
		review, _ := p.Spec.Review(now)
		reviews[review]++
		if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Status == metav1.ConditionFalse {
			notReady[c.Reason]++
		}
	}
	for _, review := range []v1alpha1.PolicyReview{v1alpha1.PolicyReviewSoon, v1alpha1.PolicyReviewOverdue} {
		ch <- prometheus.MustNewConstMetric(policyReviewsDesc, prometheus.GaugeValue, float64(reviews[review]), string(review))
	}
	for _, reason := range notReadyReasons {
		ch <- prometheus.MustNewConstMetric(notReadyDesc, prometheus.GaugeValue, float64(notReady[reason]), reason)
	}
	return nil
}

func (c *census) countRequests(ctx context.Context, ch chan<- prometheus.Metric) error {
	var requests v1alpha1.AccessRequestList
	if err := c.client.List(ctx, &requests, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("count requests: %w", err)
	}
	ended, _, known := c.ended.allEnded()
	phases := map[v1alpha1.RequestPhase]int{}
	for _, phase := range v1alpha1.RequestPhases {
		if !phase.Ended() || known {
			phases[phase] = ended[phase]
		}
	}
	for i := range requests.Items {
		phases[cmp.Or(requests.Items[i].Status.Phase, v1alpha1.RequestPending)]++
	}
	for phase, n := range phases {
		ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.GaugeValue, float64(n), string(phase))
	}
	return nil
}

// countGrants counts grants, and the bindings that are still there though their
// grant is over or gone.
func (c *census) countGrants(ctx context.Context, ch chan<- prometheus.Metric) error {
	// Bindings are listed first, so that the list of grants has one that is made in
	// between.
	bindings, err := access.LabelledBindings(ctx, c.client, client.HasLabels{v1alpha1.LabelGrant}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return fmt.Errorf("count bindings: %w", err)
	}
	var grants v1alpha1.AccessGrantList
	if err := c.client.List(ctx, &grants, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("count grants: %w", err)
	}
	phases := map[v1alpha1.GrantPhase]int{v1alpha1.GrantPending: 0, v1alpha1.GrantActive: 0}
	if _, ended, known := c.ended.allEnded(); known {
		phases[v1alpha1.GrantEnded] = ended
	}
	byName := make(map[string]*v1alpha1.AccessGrant, len(grants.Items))
	for i := range grants.Items {
		phases[cmp.Or(grants.Items[i].Status.Phase, v1alpha1.GrantPending)]++
		byName[grants.Items[i].Name] = &grants.Items[i]
	}
	for phase, n := range phases {
		ch <- prometheus.MustNewConstMetric(grantsDesc, prometheus.GaugeValue, float64(n), string(phase))
	}
	overdue, now := 0, c.clock.Now()
	for _, seen := range bindings {
		name := seen.Meta.Labels[v1alpha1.LabelGrant]
		g := byName[name]
		owner := ownerOf(seen.Meta, name)
		if g != nil {
			owner = g.UID
		}
		// A label alone does not make a binding ours, and one without subjects gives no
		// access.
		if seen.Object(owner).Ours(seen) && !seen.AllowsNothing() && (g == nil || g.Status.Phase == v1alpha1.GrantEnded || grant.Expired(g, now) != nil) {
			overdue++
		}
	}
	ch <- prometheus.MustNewConstMetric(overdueDesc, prometheus.GaugeValue, float64(overdue))
	return nil
}

// countUsages tells for how long no usage was observed. It needs no observer.
func (c *census) countUsages(ctx context.Context, ch chan<- prometheus.Metric) error {
	var usages v1alpha1.AccessUsageList
	if err := c.client.List(ctx, &usages, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("count usages: %w", err)
	}
	oldest, now := time.Duration(0), c.clock.Now()
	for i := range usages.Items {
		u, g := &usages.Items[i], &v1alpha1.AccessGrant{}
		err := c.client.Get(ctx, client.ObjectKeyFromObject(u), g, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
		if err != nil || g.Status.Phase != v1alpha1.GrantActive || !grant.HasUsage(g, u) {
			continue
		}
		oldest = max(oldest, now.Sub(ptr.Deref(u.Status.Until, u.CreationTimestamp).Time))
	}
	ch <- prometheus.MustNewConstMetric(unseenDesc, prometheus.GaugeValue, oldest.Seconds())
	return nil
}

// ownerOf is the UID of the grant that owns an object, empty when it has none of
// that name.
func ownerOf(o metav1.ObjectMeta, name string) types.UID {
	for _, owner := range o.OwnerReferences {
		if owner.Kind == "AccessGrant" && owner.Name == name {
			return owner.UID
		}
	}
	return ""
}
