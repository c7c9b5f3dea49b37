package queue

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/handlers"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/tail"
)

// metrics are counted whether or not somebody collects them. No label has a value for each client, room or
// namespace.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector

	ackBatch        prometheus.Histogram
	ackSeconds      prometheus.Histogram
	ackErrors       prometheus.Counter
	ackLag          prometheus.Histogram
	volatileDropped prometheus.Counter
	unreadable      prometheus.Counter

	log      *log.Metrics
	handlers *handlers.Metrics
}

func newMetrics() *metrics {
	m := &metrics{log: log.NewMetrics(), handlers: handlers.NewMetrics()}
	m.all = append(m.log.Collectors(), m.handlers.Collectors()...)
	m.ackBatch = m.histogram("ack_batch_clients", "Clients whose cursors one update stored.", prometheus.ExponentialBuckets(1, 2, 12))
	m.ackSeconds = m.histogram("ack_seconds", "Duration of one update of stored cursors.", prometheus.ExponentialBuckets(0.0005, 2, 15))
	m.ackLag = m.histogram("ack_lag_seconds", "Age of the first event after an acknowledged cursor, 0 at the head; for a cursor older than the tail in memory, the age of the tail's oldest event.",
		[]float64{0, .01, .05, .1, .5, 1, 5, 15, 60, 300, 900, 3600})
	m.ackErrors = m.counter("ack_errors_total", "Updates of stored cursors that failed.")
	m.unreadable = m.counter("events_unreadable_total", "Events found in the log that cannot be read and were left out.")
	m.volatileDropped = m.counter("volatile_dropped_total", "Volatile events that slow readers did not get, or that no reader here got while the log could not be followed.")
	return m
}

// register registers the metrics with r, and adds gauges of the state of these parts. r may be nil.
func (m *metrics) register(r prometheus.Registerer, db *postgres.Pools, lg *log.Log, tl *tail.Tail) {
	m.gauge("append_waiting_events", "Emits that wait for a commit.", func() float64 { return float64(lg.Waiting()) })
	m.gauge("reads_waiting", "Reads that wait for a connection to Postgres.", func() float64 { return float64(db.Read.Turns.Waiting()) })
	m.gauge("head_offset", "The newest position this instance knows of.", func() float64 { return float64(tl.Newest().Offset) })
	for name, pool := range db.Stats() {
		m.gauge("pool_"+name+"_used_connections", "Connections of the "+name+" pool in use.", func() float64 { used, _ := pool(); return float64(used) })
		m.gauge("pool_"+name+"_connections", "Connections of the "+name+" pool.", func() float64 { _, total := pool(); return float64(total) })
	}
	if r != nil {
		m.registerer = r
		r.MustRegister(m.all...)
	}
}

func (m *metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "culvert_" + name, Help: help, Buckets: buckets})
	m.all = append(m.all, h)
	return h
}

func (m *metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "culvert_" + name, Help: help})
	m.all = append(m.all, c)
	return c
}

func (m *metrics) gauge(name, help string, value func() float64) {
	m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "culvert_" + name, Help: help}, value))
}

// unregister lets an application open another queue on the same registry.
func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}

func (m *metrics) acked(clients int, took time.Duration, err error) {
	if err != nil {
		m.ackErrors.Inc()
		return
	}
	m.ackBatch.Observe(float64(clients))
	m.ackSeconds.Observe(took.Seconds())
}
