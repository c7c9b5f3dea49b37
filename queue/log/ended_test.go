package log

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue/tail"
)

func TestMain(m *testing.M) { pgtest.Main(m, migrations.Up) }

// options returns the options of a log on a database of its own.
func options(t *testing.T) Options {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	db, err := postgres.OpenPools(t.Context(), postgres.PoolOptions{DatabaseURL: pgtest.Database(t), MaxConns: 10, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	tl := tail.New(tail.Options{Events: 1000, Bytes: 1 << 20, Dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped"})})
	k, err := lineage.Open(t.Context(), lineage.Options{
		DB: db.Write, Dedup: time.Hour, Logger: logger, Reset: db.Reset, Position: tl.Position, Adopt: tl.Adopt, Adopted: func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		DB: db, Lineage: k, Tail: tl, Metrics: NewMetrics(), Faults: NewFaults(logger, prometheus.NewCounter(prometheus.CounterOpts{Name: "faults"})),
		Logger: logger, Poll: time.Second, Waiting: batch.Load{Events: 1000, Bytes: 1 << 20}, AppendTimeout: 8 * time.Second,
		Retention: time.Hour, Slice: time.Hour, SliceEvents: 1 << 20,
	}
}

// answered waits for an answer, which must be an error.
func answered(t *testing.T, what string, ticket *batch.Ticket) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	switch err := ticket.Wait(ctx); {
	case err == nil:
		t.Errorf("%s: confirmed, though nothing was stored", what)
	case errors.Is(err, ctx.Err()) && ctx.Err() != nil:
		t.Fatalf("%s: no answer", what)
	}
}

// Every emit and every change that still waits when the work ends gets an answer.
func TestTheEndAnswersEverybody(t *testing.T) {
	o := options(t)
	ended, end := context.WithCancel(t.Context())
	end()
	ns := event.MustNamespace("default")
	emit := event.Emit{Namespace: ns, Event: event.MustEventName("e"), Data: event.Data{}}
	join := func() *membershipChange {
		return &membershipChange{Membership: tail.Membership{Name: tail.Join, Namespace: ns}}
	}
	for range 20 { // run may take them once more or not, by chance
		f := newFollower(o)
		a := newAppender(o, f)
		held, waiting := newUnit([]event.Emit{emit}), newUnit([]event.Emit{emit})
		a.addHeld(held)
		if err := a.queue.Submit(waiting); err != nil {
			t.Fatal(err)
		}
		a.run(ended)
		answered(t, "an emit", &waiting.Ticket)
		answered(t, "an emit that is held", &held.Ticket)

		m := newMembershipWriter(o, f, a)
		c, back := join(), join()
		for _, change := range []*membershipChange{c, back} {
			if err := m.submit(change); err != nil {
				t.Fatal(err)
			}
		}
		if taken := m.queue.Take(); len(taken) != 2 {
			t.Fatalf("%d of 2 changes are taken", len(taken))
		}
		m.queue.PutBack(c)
		m.queue.Hold(back)
		m.run(ended)
		m.requeue([]*membershipChange{back}, o.Lineage.Load(), nil)
		answered(t, "a join", &c.Ticket)
		answered(t, "a join that waited for staged events", &back.Ticket)
		if err := m.submit(join()); !errors.Is(err, event.ErrClosed) {
			t.Errorf("a join after the end: %v", err)
		}
	}
}

// Changes that wait for events from SQL count as waiting.
func TestChangesBehindSQLCount(t *testing.T) {
	m := newMembershipWriter(Options{Waiting: batch.Load{Events: 3, Bytes: 1 << 20}}, nil, nil)
	for range 3 {
		m.queue.Hold(&membershipChange{Ticket: batch.NewTicket(batch.Caller{}, batch.Load{Events: 1})})
	}
	if err := m.submit(&membershipChange{}); !errors.Is(err, event.ErrOverloaded) {
		t.Errorf("the fourth change is taken: %v", err)
	}
}
