package queue_test

import (
	"fmt"
	"sync"
	"sync/atomic"
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

// BenchmarkAck is coalesced acknowledgements: 256 callers, each for clients of its own.
func BenchmarkAck(b *testing.B) {
	q := open(b, pgtest.Database(b))
	appendOne(b, q, emit("lobby", "1"))
	head := q.Head()
	var callers atomic.Int64
	benchmarkCallers(b, 256, func(n int) {
		c := client(fmt.Sprint("c", callers.Add(1)))
		for range n {
			if _, err := q.Ack(b.Context(), ns, c, head); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
}

// BenchmarkJoin is changes of members: 64 callers, each of which puts clients of its
// own into ten rooms.
func BenchmarkJoin(b *testing.B) {
	q := open(b, pgtest.Database(b))
	var callers atomic.Int64
	benchmarkCallers(b, 64, func(n int) {
		caller := callers.Add(1)
		for i := range n {
			c := client(fmt.Sprint("c", caller, "-", i/10))
			if _, err := q.Join(b.Context(), ns, room(fmt.Sprint("r", i%10)), c, 0); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "joins/s")
}

func benchmarkCallers(b *testing.B, callers int, work func(n int)) {
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range callers {
		wg.Go(func() { work((b.N + i) / callers) })
	}
	wg.Wait()
}
