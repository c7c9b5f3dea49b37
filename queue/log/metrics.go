package log

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
)

// Metrics measure a Log, whether or not somebody collects them.
type Metrics struct {
	batchSize     prometheus.Histogram
	appendSeconds prometheus.Histogram
	appendErrors  prometheus.Counter
	stored        *prometheus.CounterVec
	followed      prometheus.Counter
	tailLag       prometheus.Histogram
	pageSeconds   prometheus.Histogram
	pageEvents    prometheus.Counter
	slicesDropped prometheus.Counter
}

// NewMetrics returns Metrics that count from zero; the caller has to register its Collectors.
func NewMetrics() *Metrics {
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 15)
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "culvert_" + name, Help: help, Buckets: buckets})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "culvert_" + name, Help: help})
	}
	return &Metrics{
		batchSize:     histogram("append_batch_events", "Events stored by one append.", prometheus.ExponentialBuckets(1, 2, 12)),
		appendSeconds: histogram("append_seconds", "Duration of one append, commit included.", seconds),
		appendErrors:  counter("append_errors_total", "Appends that failed."),
		stored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "culvert_events_stored_total", Help: "Events appended to the log by this instance, by origin.",
		}, []string{"origin"}),
		followed:      counter("events_followed_total", "Events of other instances read into the tail."),
		tailLag:       histogram("tail_lag_seconds", "Age of followed events when they reached this instance's tail.", seconds),
		pageSeconds:   histogram("page_seconds", "Duration of a catch-up read.", seconds),
		pageEvents:    counter("page_events_total", "Events read by catch-up."),
		slicesDropped: counter("slices_dropped_total", "Slices this instance dropped by retention."),
	}
}

// Collectors are for a prometheus.Registerer.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.batchSize, m.appendSeconds, m.appendErrors, m.stored, m.followed, m.tailLag, m.pageSeconds, m.pageEvents, m.slicesDropped,
	}
}

func (m *Metrics) appended(events int, took time.Duration, moved int) {
	if events > 0 {
		m.batchSize.Observe(float64(events))
		m.appendSeconds.Observe(took.Seconds())
		m.stored.WithLabelValues("emit").Add(float64(events))
	}
	if moved > 0 {
		m.stored.WithLabelValues("sql").Add(float64(moved))
	}
}

func (m *Metrics) haveFollowed(events []*event.Event) {
	m.followed.Add(float64(len(events)))
	m.tailLag.Observe(time.Since(events[0].At).Seconds())
}

func (m *Metrics) pageRead(events int, took time.Duration) {
	m.pageSeconds.Observe(took.Seconds())
	m.pageEvents.Add(float64(events))
}
