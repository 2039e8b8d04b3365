package controllers

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// Metrics of the broker. No label holds anything that a user chose.
type Metrics struct {
	timeToDecision   *prometheus.HistogramVec
	approvalToActive prometheus.Histogram
	revocationLag    prometheus.Histogram
	revocationErrors prometheus.Counter

	mu sync.Mutex
	// granted is when grants were written that are not Active yet.
	granted map[string]time.Time
}

// NewMetrics makes and registers the metrics. What can be counted from the
// cache is counted when it is scraped, so that it is true after a restart.
func NewMetrics(registry prometheus.Registerer, c client.Reader, clk clock.PassiveClock, version string) (*Metrics, error) {
	m := &Metrics{
		timeToDecision: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "access_broker_request_decision_seconds", Help: "Time from the creation of a request to its decision, by the decision.",
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
			Name: "access_broker_revocation_failures_total", Help: "Attempts to remove bindings that failed and will be tried again.",
		}),
		granted: map[string]time.Time{},
	}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "access_broker_build_info", Help: "The version that runs, always 1.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
	for _, collector := range []prometheus.Collector{
		m.timeToDecision, m.approvalToActive, m.revocationLag, m.revocationErrors, build, &census{client: c, clock: clk},
	} {
		if err := registry.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// decided observes that a request was approved or denied.
func (m *Metrics) decided(request *v1alpha1.AccessRequest, decision string, now time.Time) {
	if m != nil {
		m.timeToDecision.WithLabelValues(decision).Observe(now.Sub(request.CreationTimestamp.Time).Seconds())
	}
}

// approved notes when the approval of a grant was seen.
func (m *Metrics) approved(name string, at time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.granted[name] = at
}

// active observes how long it took from there; ended forgets it.
func (m *Metrics) active(name string, now time.Time) {
	if at, ok := m.forget(name); ok {
		m.approvalToActive.Observe(now.Sub(at).Seconds())
	}
}

func (m *Metrics) ended(name string) { m.forget(name) }

func (m *Metrics) forget(name string) (time.Time, bool) {
	if m == nil {
		return time.Time{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.granted[name]
	delete(m.granted, name)
	return at, ok
}

// revoked observes a removal of what was due, or its failure.
func (m *Metrics) revoked(g *v1alpha1.AccessGrant, now time.Time, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.revocationErrors.Inc()
	default:
		m.revocationLag.Observe(max(0, now.Sub(g.Spec.ExpirationTime.Time).Seconds()))
	}
}

// census counts what the cache holds.
type census struct {
	client client.Reader
	clock  clock.PassiveClock
}

var (
	requestsDesc = prometheus.NewDesc("access_broker_requests", "Requests by phase.", []string{"phase"}, nil)
	grantsDesc   = prometheus.NewDesc("access_broker_grants", "Grants by phase.", []string{"phase"}, nil)
	overdueDesc  = prometheus.NewDesc("access_broker_overdue_bindings", "Bindings whose grant's deadline has passed: the one to page on.", nil, nil)
)

// Describe is of prometheus.Collector.
func (c *census) Describe(ch chan<- *prometheus.Desc) {
	ch <- requestsDesc
	ch <- grantsDesc
	ch <- overdueDesc
}

// Collect is of prometheus.Collector.
func (c *census) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fail := func(desc *prometheus.Desc, err error) { ch <- prometheus.NewInvalidMetric(desc, err) }

	var requests v1alpha1.AccessRequestList
	if err := c.client.List(ctx, &requests, client.UnsafeDisableDeepCopy); err != nil {
		fail(requestsDesc, err)
		return
	}
	phases := map[v1alpha1.RequestPhase]int{
		v1alpha1.RequestPending: 0, v1alpha1.RequestApproved: 0, v1alpha1.RequestActive: 0, v1alpha1.RequestCompleted: 0, v1alpha1.RequestExpired: 0,
		v1alpha1.RequestRevoked: 0, v1alpha1.RequestDenied: 0, v1alpha1.RequestLapsed: 0, v1alpha1.RequestFailed: 0,
	}
	for i := range requests.Items {
		phase := requests.Items[i].Status.Phase
		if phase == "" {
			phase = v1alpha1.RequestPending
		}
		phases[phase]++
	}
	for phase, n := range phases {
		ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.GaugeValue, float64(n), string(phase))
	}

	var grants v1alpha1.AccessGrantList
	if err := c.client.List(ctx, &grants, client.UnsafeDisableDeepCopy); err != nil {
		fail(grantsDesc, err)
		return
	}
	grantPhases := map[v1alpha1.GrantPhase]int{v1alpha1.GrantPending: 0, v1alpha1.GrantActive: 0, v1alpha1.GrantEnded: 0}
	due := map[string]bool{}
	now := c.clock.Now()
	for i := range grants.Items {
		g := &grants.Items[i]
		phase := g.Status.Phase
		if phase == "" {
			phase = v1alpha1.GrantPending
		}
		grantPhases[phase]++
		if phase == v1alpha1.GrantEnded || grant.Expired(g, now) != nil {
			due[g.Name] = true
		}
	}
	for phase, n := range grantPhases {
		ch <- prometheus.MustNewConstMetric(grantsDesc, prometheus.GaugeValue, float64(n), string(phase))
	}

	overdue := 0
	var namespaced rbacv1.RoleBindingList
	var cluster rbacv1.ClusterRoleBindingList
	if err := c.client.List(ctx, &namespaced, client.UnsafeDisableDeepCopy); err != nil {
		fail(overdueDesc, err)
		return
	}
	if err := c.client.List(ctx, &cluster, client.UnsafeDisableDeepCopy); err != nil {
		fail(overdueDesc, err)
		return
	}
	for i := range namespaced.Items {
		if due[namespaced.Items[i].Labels[v1alpha1.LabelGrant]] {
			overdue++
		}
	}
	for i := range cluster.Items {
		if due[cluster.Items[i].Labels[v1alpha1.LabelGrant]] {
			overdue++
		}
	}
	ch <- prometheus.MustNewConstMetric(overdueDesc, prometheus.GaugeValue, float64(overdue))
}
