package observe

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// metrics of the observer. No label holds anything that a user chose.
type metrics struct {
	streams *streams

	decoded, unasked, foreign, attributed, duplicates, lost prometheus.Counter
	writes, failures, expressionErrors                      prometheus.Counter
}

var heardDesc = prometheus.NewDesc("access_observer_stream_newest_timestamp_seconds", "Newest moment of which a stream of audit events has told, by the API server's clock.", []string{"stream"}, nil)

func newMetrics(s *streams) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "access_observer_" + name, Help: help})
	}
	return &metrics{
		streams:          s,
		decoded:          counter("events_decoded_total", "Audit events that may concern a grant, and were decoded."),
		unasked:          counter("events_passed_over_total", "Audit events that concern no grant."),
		foreign:          counter("foreign_total", "Lines and values that came and are no audit events: something is sent that cannot be read."),
		attributed:       counter("events_attributed_total", "Audit events that belong to a grant."),
		duplicates:       counter("events_duplicate_total", "Audit events that came more than once, and were counted once."),
		lost:             counter("events_lost_total", "Audit events that came and could not be read."),
		writes:           counter("usage_writes_total", "Writes of AccessUsages."),
		failures:         counter("failures_total", "Calls to the API server, or writes of a checkpoint, that failed and are tried again."),
		expressionErrors: counter("expression_errors_total", "Evaluations of what policies call suspicious that had no result."),
	}
}

func (m *metrics) register(registry prometheus.Registerer) error {
	var errs []error
	for _, c := range []prometheus.Collector{m.decoded, m.unasked, m.foreign, m.attributed, m.duplicates, m.lost, m.writes, m.failures, m.expressionErrors, m} {
		errs = append(errs, registry.Register(c))
	}
	return errors.Join(errs...)
}

// skipped counts what was read and not handed on.
func (m *metrics) skipped(s usage.Skipped) {
	m.unasked.Add(float64(s.Unasked))
	m.foreign.Add(float64(s.Foreign))
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { ch <- heardDesc }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for name, s := range m.streams.all() {
		ch <- prometheus.MustNewConstMetric(heardDesc, prometheus.GaugeValue, float64(s.newest.UnixNano())/1e9, name)
	}
}
