package queue_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// BenchmarkAppend measures group commit under 64 callers with one event each.
func BenchmarkAppend(b *testing.B) {
	q := open(b, pgtest.Database(b))
	benchmarkCallers(b, 64, func(n int) {
		for range n {
			if _, err := q.Append(b.Context(), []event.Emit{emit("lobby", `{"text":"hello","n":1}`)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkAppendWithKeys is BenchmarkAppend with an idempotency key for each event.
func BenchmarkAppendWithKeys(b *testing.B) {
	q := open(b, pgtest.Database(b))
	var keys atomic.Int64
	benchmarkCallers(b, 64, func(n int) {
		for range n {
			e := emit("lobby", `{"text":"hello","n":1}`)
			e.Key = key(strconv.FormatInt(keys.Add(1), 10))
			if _, err := q.Append(b.Context(), []event.Emit{e}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkPublishVolatile measures volatile events of 64 callers, to one reader on another instance.
func BenchmarkPublishVolatile(b *testing.B) {
	dsn := pgtest.Database(b)
	q, other := open(b, dsn), open(b, dsn)
	s := subscribe(b, other, queue.Interest{Rooms: []event.Room{room("lobby")}})
	ctx, stop := context.WithCancel(b.Context())
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			if _, err := s.Next(ctx, 100); err != nil {
				return
			}
		}
	})
	benchmarkCallers(b, 64, func(n int) {
		for range n {
			if err := q.PublishVolatile(b.Context(), []event.Emit{emit("lobby", `{"text":"hello","n":1}`)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	stop()
	reading.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkVolatileLatency measures how long one volatile event takes to another instance.
func BenchmarkVolatileLatency(b *testing.B) {
	dsn := pgtest.Database(b)
	q, other := open(b, dsn), open(b, dsn)
	s := subscribe(b, other, queue.Interest{Rooms: []event.Room{room("lobby")}})
	for range b.N {
		if err := q.PublishVolatile(b.Context(), []event.Emit{emit("lobby", "1")}); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Next(b.Context(), 1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAck measures coalesced acknowledgements: 256 callers, each for clients of its own.
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

// BenchmarkJoin measures membership changes: 64 callers, each of which puts clients of its own into ten rooms.
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
