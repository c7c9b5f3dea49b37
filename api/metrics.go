package api

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// metrics are the Prometheus metrics. No label has a value for each client, room or namespace.
type metrics struct {
	streams, polls, uploads      prometheus.Gauge
	waits                        prometheus.Gauge
	stored, duplicates, rejected prometheus.Counter
	volatile                     prometheus.Counter
	streamed, polled, read       prometheus.Counter
	seconds                      *prometheus.HistogramVec
	problems                     *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	connections := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "culvert_connections",
		Help: "Streams, held long polls, NDJSON uploads and emits that wait for replies, open now.",
	}, []string{"transport"})
	in := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "culvert_events_in_total",
		Help: "Events emitted over HTTP; rejected counts refused requests and lines.",
	}, []string{"result"})
	out := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "culvert_events_out_total",
		Help: "Events written to clients.",
	}, []string{"transport"})
	m := &metrics{
		streams: connections.WithLabelValues("sse"),
		polls:   connections.WithLabelValues("poll"),
		uploads: connections.WithLabelValues("ndjson"),
		waits:   connections.WithLabelValues("emit"),

		stored:     in.WithLabelValues("stored"),
		duplicates: in.WithLabelValues("duplicate"),
		rejected:   in.WithLabelValues("rejected"),
		volatile:   in.WithLabelValues("volatile"),

		streamed: out.WithLabelValues("sse"),
		polled:   out.WithLabelValues("poll"),
		read:     out.WithLabelValues("history"),

		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "culvert_http_request_duration_seconds",
			Help:    "Time to answer, by route and class of status; without streams, long polls and emits with ?wait, which wait on purpose.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route", "status"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "culvert_problems_total",
			Help: "Answers and NDJSON result lines that were a problem, by type.",
		}, []string{"type"}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(connections), r.Register(in), r.Register(out),
		r.Register(m.seconds), r.Register(m.problems))
}

var classes = [...]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (m *metrics) request(route, query string, status int, took time.Duration) {
	class := classes[0]
	if i := status / 100; i < len(classes) {
		class = classes[i]
	}
	switch {
	case route == "":
		route = "unknown" // Echo has no route for a 404
	case route == eventsRoute && status == http.StatusOK:
		return
	case route == emitRoute && strings.Contains(query, "wait="):
		return
	}
	m.seconds.WithLabelValues(route, class).Observe(took.Seconds())
}

func (m *metrics) problem(k *wire.Kind) { m.problems.WithLabelValues(k.Slug).Inc() }

func requestAttrs(c echo.Context, id string, took time.Duration) []slog.Attr {
	return []slog.Attr{
		slog.String("request_id", id), slog.String("method", c.Request().Method),
		slog.String("route", c.Path()), slog.Int("status", c.Response().Status),
		slog.Duration("took", took),
	}
}

// Admin serves what belongs on a separate listener that clients cannot reach: /metrics from g, and /livez.
func Admin(g prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // an error means that the client has left
	})
	return mux
}

// count counts the results in the metrics.
func (m *metrics) count(results []event.Result) {
	for _, r := range results {
		switch {
		case r.Err != nil:
			m.rejected.Inc()
		case r.Duplicate:
			m.duplicates.Inc()
		default:
			m.stored.Inc()
		}
	}
}
