package queue_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// BenchmarkCatchUp measures one client that reads 20,000 events of a room from Postgres.
func BenchmarkCatchUp(b *testing.B) {
	benchmarkCatchUp(b, emit("lobby", `{"text":"hello","n":1}`), 20_000)
}

// BenchmarkCatchUpRooms is BenchmarkCatchUp of events to ten rooms, with data too long to be repeated in every
// row.
func BenchmarkCatchUpRooms(b *testing.B) {
	e := emit("lobby", `{"text":"%s"}`, strings.Repeat("hello ", 100))
	for _, name := range strings.Fields("a b c d e f g h i") {
		e.Rooms = append([]event.Room{room(name)}, e.Rooms...)
	}
	benchmarkCatchUp(b, e, 2_000)
}

func benchmarkCatchUp(b *testing.B, e event.Emit, events int) {
	dsn := pgtest.Database(b)
	q := open(b, dsn)
	for range events / 100 {
		if _, err := q.Append(b.Context(), slices.Repeat([]event.Emit{e}, 100)); err != nil {
			b.Fatal(err)
		}
	}
	reader := open(b, dsn, queue.Cold)
	b.ResetTimer()
	for range b.N {
		s := subscribe(b, reader, queue.Interest{Rooms: []event.Room{room("lobby")}, Earliest: true})
		for read := 0; read < events; {
			batch, err := s.Next(b.Context(), 1000)
			if err != nil {
				b.Fatal(err)
			}
			read += len(batch.Events)
		}
		s.Close()
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkOpen measures how long an instance takes to start: without events in memory, with as many as it keeps, and with
// those of a week of short slices.
func BenchmarkOpen(b *testing.B) {
	dsn := pgtest.Database(b)
	q := open(b, dsn)
	e := emit("lobby", `{"text":"%s"}`, strings.Repeat("x", 118))
	store := func(n int) {
		for range n / 100 {
			must[[]event.Result](b)(q.Append(b.Context(), slices.Repeat([]event.Emit{e}, 100)))
		}
	}
	measure := func(name string, change ...func(*queue.Options)) {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				again := open(b, dsn, change...)
				b.StopTimer()
				if err := again.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
	conn := connect(b, dsn)
	store(60_000)
	measure("cold", queue.Cold)
	measure("50000 events")
	for range 168 {
		must[pgconn.CommandTag](b)(conn.Exec(b.Context(), `SELECT culvert.rotate('0', 1)`))
		store(100)
	}
	measure("168 slices", func(o *queue.Options) { o.TailEvents = 1_000_000 })
}
