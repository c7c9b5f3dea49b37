package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

func TestMain(m *testing.M) {
	pgtest.Main(m, migrations.Up, pgtest.Setting("max_prepared_transactions", "4"))
}

// open opens an instance on a database; it is closed with the test.
func open(t testing.TB, dsn string, change ...func(*queue.Options)) *queue.Queue {
	t.Helper()
	o := queue.Options{
		DatabaseURL: dsn,
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	if pooled := pgtest.ThroughPooler(t, dsn); pooled != dsn {
		o.DatabaseURL, o.ListenURL = pooled, dsn
	}
	for _, c := range change {
		c(&o)
	}
	q, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := q.Close(ctx); err != nil {
			t.Error("close:", err)
		}
	})
	return q
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var (
	ns       = mustParse(event.ParseNamespace, "default")
	greeting = mustParse(event.ParseEventName, "greeting")
)

func mustParse[T any](parse func(string) (T, error), s string) T {
	v, err := parse(s)
	if err != nil {
		panic(err)
	}
	return v
}

func room(s string) event.Room     { return mustParse(event.ParseRoom, s) }
func client(s string) event.Client { return mustParse(event.ParseClient, s) }
func key(s string) event.Key       { return mustParse(event.ParseKey, s) }

func data(format string, args ...any) event.Data {
	d, err := event.ParseData(fmt.Appendf(nil, format, args...))
	if err != nil {
		panic(err)
	}
	return d
}

// emit returns an emit to one room.
func emit(r string, format string, args ...any) event.Emit {
	return event.Emit{Namespace: ns, Rooms: []event.Room{room(r)}, Event: greeting, Data: data(format, args...)}
}

func appendOne(t testing.TB, q *queue.Queue, e event.Emit) event.Result {
	t.Helper()
	r, err := q.Append(t.Context(), []event.Emit{e})
	if err != nil {
		t.Fatal(err)
	}
	return r[0]
}

func subscribe(t testing.TB, q *queue.Queue, in queue.Interest) *queue.Subscription {
	t.Helper()
	in.Namespace = ns
	s, err := q.Subscribe(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// next returns the data of the next n events.
func next(t testing.TB, s *queue.Subscription, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	for len(got) < n {
		b, err := s.Next(ctx, 100)
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(got), n, err)
		}
		if b.Gap != nil {
			t.Fatalf("unexpected gap %v", *b.Gap)
		}
		for _, e := range b.Events {
			got = append(got, e.Data)
		}
	}
	return got
}
