package queue_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

func TestAckLag(t *testing.T) {
	registry := prometheus.NewRegistry()
	q := open(t, pgtest.Database(t), func(o *queue.Options) { o.Registerer = registry })
	first := appendOne(t, q, emit("r", "1")).Cursor
	last := appendOne(t, q, emit("r", "2")).Cursor
	until(t, "the tail has both", func() bool { return q.Delivered().Offset >= last.Offset })
	for _, cursor := range []event.Cursor{first, last} {
		if _, err := q.Ack(t.Context(), ns, client(cursor.String()), cursor); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "culvert_ack_lag_seconds" {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		if zero := h.GetBucket()[0]; h.GetSampleCount() != 2 || zero.GetCumulativeCount() != 1 || h.GetSampleSum() <= 0 {
			t.Errorf("want one acknowledgement at the head and one behind, got %v", h)
		}
		return
	}
	t.Error("there is no metric culvert_ack_lag_seconds")
}
