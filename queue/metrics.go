package queue

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/handlers"
)

// metrics are kept whether or not somebody collects them. No label grows with
// clients, rooms or namespaces.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector

	batchSize     prometheus.Histogram
	appendSeconds prometheus.Histogram
	appendErrors  prometheus.Counter
	stored        *prometheus.CounterVec
	followed_     prometheus.Counter
	tailLag       prometheus.Histogram
	pageSeconds   prometheus.Histogram
	pageEvents    prometheus.Counter
	ackBatch      prometheus.Histogram
	ackSeconds    prometheus.Histogram
	ackErrors     prometheus.Counter
	ackLag        prometheus.Histogram
	slicesDropped prometheus.Counter

	volatileDropped prometheus.Counter
	unreadable      prometheus.Counter

	handlers *handlers.Metrics
}

func newMetrics(q *Queue, r prometheus.Registerer) *metrics {
	m := &metrics{registerer: r}
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 15)
	sizes := prometheus.ExponentialBuckets(1, 2, 12)
	m.batchSize = m.histogram("append_batch_events", "Events stored by one append.", sizes)
	m.appendSeconds = m.histogram("append_seconds", "Duration of one append, commit included.", seconds)
	m.appendErrors = m.counter("append_errors_total", "Appends that failed.")
	m.stored = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "culvert_events_stored_total", Help: "Events appended to the log by this instance, by origin.",
	}, []string{"origin"})
	m.all = append(m.all, m.stored)
	m.followed_ = m.counter("events_followed_total", "Events of other instances read into the tail.")
	m.tailLag = m.histogram("tail_lag_seconds", "Age of followed events when they reached this instance's tail.", seconds)
	m.pageSeconds = m.histogram("page_seconds", "Duration of a catch-up read.", seconds)
	m.pageEvents = m.counter("page_events_total", "Events read by catch-up.")
	m.ackBatch = m.histogram("ack_batch_clients", "Clients whose cursors one update stored.", sizes)
	m.ackSeconds = m.histogram("ack_seconds", "Duration of one update of stored cursors.", seconds)
	m.ackLag = m.histogram("ack_lag_seconds", "Age of the first event after an acknowledged cursor, 0 at the head; one older than the tail in memory counts as the tail.",
		[]float64{0, .01, .05, .1, .5, 1, 5, 15, 60, 300, 900, 3600})
	m.ackErrors = m.counter("ack_errors_total", "Updates of stored cursors that failed.")
	m.slicesDropped = m.counter("slices_dropped_total", "Slices this instance dropped by retention.")
	m.unreadable = m.counter("events_unreadable_total", "Events found in the log that cannot be read and were left out.")
	m.volatileDropped = m.counter("volatile_dropped_total", "Volatile events that slow readers did not get, or nobody here while the log could not be followed.")
	m.handlers = handlers.NewMetrics()
	m.all = append(m.all, m.handlers.Collectors()...)
	m.gauge("append_waiting_events", "Emits that wait for a commit.", func() float64 { return float64(q.appender.waiting()) })
	m.gauge("reads_waiting", "Reads that wait for a connection to Postgres.", func() float64 { return float64(q.db.read.Turns.Waiting()) })
	m.gauge("head_offset", "The newest position this instance knows of.", func() float64 { return float64(q.tail.newest().Offset) })
	for name, pool := range map[string]func() (used, total int32){
		"append": func() (int32, int32) { s := q.db.append.Stat(); return s.AcquiredConns(), s.TotalConns() },
		"read":   func() (int32, int32) { s := q.db.read.Pool.Stat(); return s.AcquiredConns(), s.TotalConns() },
		"write":  func() (int32, int32) { s := q.db.write.Stat(); return s.AcquiredConns(), s.TotalConns() },
		"work":   func() (int32, int32) { s := q.db.work.Pool.Stat(); return s.AcquiredConns(), s.TotalConns() },
	} {
		m.gauge("pool_"+name+"_used_connections", "Connections of the "+name+" pool in use.", func() float64 { used, _ := pool(); return float64(used) })
		m.gauge("pool_"+name+"_connections", "Connections of the "+name+" pool.", func() float64 { _, total := pool(); return float64(total) })
	}
	if r != nil {
		r.MustRegister(m.all...)
	}
	return m
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

func (m *metrics) appendFailed() { m.appendErrors.Inc() }

func (m *metrics) appended(events int, took time.Duration, moved int) {
	if events > 0 {
		m.batchSize.Observe(float64(events))
		m.appendSeconds.Observe(took.Seconds())
		m.stored.WithLabelValues("emit").Add(float64(events))
	}
	if moved > 0 {
		m.stored.WithLabelValues("sql").Add(float64(moved))
	}
}

func (m *metrics) followed(events []*event.Event) {
	m.followed_.Add(float64(len(events)))
	m.tailLag.Observe(time.Since(events[0].At).Seconds())
}

func (m *metrics) pageRead(events int, took time.Duration) {
	m.pageSeconds.Observe(took.Seconds())
	m.pageEvents.Add(float64(events))
}

func (m *metrics) acked(clients int, took time.Duration, err error) {
	if err != nil {
		m.ackErrors.Inc()
		return
	}
	m.ackBatch.Observe(float64(clients))
	m.ackSeconds.Observe(took.Seconds())
}

func (m *metrics) sliceDropped() { m.slicesDropped.Inc() }
