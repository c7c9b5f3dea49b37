package queue_test

import (
	"sync"
	"testing"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// BenchmarkAppend is group commit under 64 callers with one event each.
func BenchmarkAppend(b *testing.B) {
	q := open(b, pgtest.Database(b))
	benchmarkCallers(b, 64, func(n int) {
		for range n {
			if _, err := q.Append(b.Context(), []queue.Emit{emit("lobby", `{"text":"hello","n":1}`)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func benchmarkCallers(b *testing.B, callers int, work func(n int)) {
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range callers {
		wg.Go(func() { work((b.N + i) / callers) })
	}
	wg.Wait()
}
