package handlers

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what handlers do here.
type Metrics struct {
	runs   *prometheus.CounterVec
	gaps   *prometheus.CounterVec
	parked *prometheus.GaugeVec
}

// NewMetrics returns Metrics that count from zero; the caller has to register its Collectors.
func NewMetrics() *Metrics {
	m := &Metrics{}
	m.runs = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "culvert_handler_runs_total", Help: "Runs of handlers by this instance: done, failed, parked, or lost with their lease.",
	}, []string{"handler", "result"})
	m.gaps = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "culvert_handler_gaps_total", Help: "Times this instance found that events were pruned before a handler got them.",
	}, []string{"handler"})
	m.parked = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "culvert_handler_parked", Help: "Events parked for a handler that runs here, on all instances together.",
	}, []string{"handler"})
	return m
}

// Collectors are for a prometheus.Registerer.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.runs, m.gaps, m.parked}
}
