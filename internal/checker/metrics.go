package checker

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the checker. The only label is the name of a check, which the
// configuration bounds.
type metrics struct {
	asked    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  prometheus.Counter
	config   prometheus.Gauge
	of       *memory
	waiting  *prometheus.Desc
	failing  *prometheus.Desc
	untested *prometheus.Desc
}

func newMetrics(of *memory) *metrics {
	return &metrics{
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "access_checker_asked_total",
			Help: "Questions to the server of a check, by what came of them: Approve, Deny, Wait, or Failed when there was no answer.",
		}, []string{"check", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "access_checker_answer_seconds", Help: "How long the server of a check took to answer, or not to.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"check"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "access_checker_decisions_refused_total", Help: "Decisions that the API server refused.",
		}),
		config: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "access_checker_config_valid", Help: "1 while the configuration file is the one in use, 0 while it cannot be used and an earlier one is.",
		}),
		of:       of,
		waiting:  prometheus.NewDesc("access_checker_waiting_requests", "Requests that wait for a check.", []string{"check"}, nil),
		failing:  prometheus.NewDesc("access_checker_failing_requests", "Requests that wait for a check whose last question had no answer.", []string{"check"}, nil),
		untested: prometheus.NewDesc("access_checker_unchecked_requests", "Requests that wait for this account in a stage that no check is for.", nil, nil),
	}
}

func (m *metrics) register(registry prometheus.Registerer) error {
	var errs []error
	for _, c := range []prometheus.Collector{m.asked, m.seconds, m.refused, m.config, m} {
		errs = append(errs, registry.Register(c))
	}
	return errors.Join(errs...)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.waiting
	ch <- m.failing
	ch <- m.untested
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	waiting, failing, unchecked := m.of.count()
	for name, n := range waiting {
		ch <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(n), name)
		ch <- prometheus.MustNewConstMetric(m.failing, prometheus.GaugeValue, float64(failing[name]), name)
	}
	ch <- prometheus.MustNewConstMetric(m.untested, prometheus.GaugeValue, float64(unchecked))
}
