package queue_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

func TestHandlerIsTriedAgainParkedAndRetried(t *testing.T) {
	dsn := pgtest.Database(t)
	registry := prometheus.NewRegistry()
	q := open(t, dsn, quiet, func(o *queue.Options) { o.Registerer = registry })
	var mu sync.Mutex
	var at []time.Time
	healed := false
	done := make(chan *event.Event, 10)
	err := q.Handle(ns, "greeting", func(_ context.Context, e *event.Event) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		if e.Data == `"good"` || healed {
			done <- e
			return nil, nil
		}
		at = append(at, time.Now())
		if len(at) == 2 {
			panic("bang\x00")
		}
		return nil, errors.New("no\x00 \xff luck " + strings.Repeat("x", 3000))
	}, handlers.Named("mailer"), handlers.Tries(4), handlers.Backoff(40*time.Millisecond, 80*time.Millisecond), handlers.Lease(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	bad := appendOne(t, q, emit("r", `"bad"`)).Cursor.Offset
	appendOne(t, q, emit("r", `"good"`))
	receive(t, done)
	o := operator(t, dsn)
	parked := func() []handlers.ParkedEvent {
		return must[[]handlers.ParkedEvent](t)(o.Parked(t.Context(), ns, "mailer", 10))
	}
	until(t, "it is parked", func() bool { return len(parked()) == 1 })
	if p := parked()[0]; p.Offset != bad || p.Tries != 4 || p.Event != "greeting" || p.Room != room("r").String() || !strings.HasPrefix(p.Error, "no\uFFFD \uFFFD luck") || len(p.Error) > 2100 {
		t.Errorf("parked %+v", p)
	}
	mu.Lock()
	if len(at) != 4 || at[1].Sub(at[0]) < 20*time.Millisecond || at[2].Sub(at[1]) < 40*time.Millisecond || at[3].Sub(at[2]) < 40*time.Millisecond {
		t.Errorf("run at %v", at)
	}
	mu.Unlock()
	until(t, "the metric shows it", func() bool { return gaugeOf(t, registry, "culvert_handler_parked") == 1 })
	if s := must[[]handlers.HandlerState](t)(o.Handlers(t.Context()))[0]; s.Parked != 1 || s.Waiting != 0 || s.Name != "mailer" || s.Position < bad {
		t.Errorf("state %+v", s)
	}

	mu.Lock()
	healed = true
	mu.Unlock()
	if n, err := o.Retry(t.Context(), ns, "mailer", bad+1); n != 0 || err != nil {
		t.Errorf("retry of another one: %d, %v", n, err)
	}
	if n, err := o.Retry(t.Context(), ns, "mailer", bad); n != 1 || err != nil {
		t.Errorf("retry: %d, %v", n, err)
	}
	if e := receive(t, done); e.Offset != bad {
		t.Errorf("retried %+v", e)
	}
	until(t, "the metric shows it", func() bool { return gaugeOf(t, registry, "culvert_handler_parked") == 0 })
	if err := o.Remove(t.Context(), ns, "mailer"); !errors.Is(err, event.ErrHandlerLive) {
		t.Errorf("a handler was removed while it is live: %v", err)
	}
	if _, err := o.Drop(t.Context(), ns, "nobody"); !errors.Is(err, event.ErrNoHandler) {
		t.Errorf("drop of nobody's: %v", err)
	}
}

func gaugeOf(t testing.TB, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) == 1 {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return math.NaN()
}

func TestDropParked(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	err := q.Handle(ns, "*", func(context.Context, *event.Event) (any, error) { return nil, errors.New("no") }, handlers.Tries(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		appendOne(t, q, emit("r", "1"))
	}
	last := appendOne(t, q, emit("r", "1")).Cursor.Offset
	o := operator(t, dsn)
	until(t, "all are parked", func() bool { return len(must[[]handlers.ParkedEvent](t)(o.Parked(t.Context(), ns, "*", 10))) == 4 })
	if n, err := o.Drop(t.Context(), ns, "*", last); n != 1 || err != nil {
		t.Errorf("%d events were dropped, %v", n, err)
	}
	if n, err := o.Drop(t.Context(), ns, "*"); n != 3 || err != nil {
		t.Errorf("%d events were dropped, %v", n, err)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sql(t, dsn, `UPDATE culvert.handlers SET live_until = now()`) // a while later
	if err := o.Remove(t.Context(), ns, "*"); err != nil {
		t.Error(err)
	}
	if states := must[[]handlers.HandlerState](t)(o.Handlers(t.Context())); len(states) != 0 {
		t.Errorf("left: %+v", states)
	}
}

// An event whose every run ends its instance is parked, not run for ever.
func TestEventThatKillsIsParked(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	o := operator(t, dsn)
	ran := make(chan struct{}, 100)
	err := q.Handle(ns, "*", func(context.Context, *event.Event) (any, error) {
		ran <- struct{}{}
		// The instance dies here: nothing is stored, and the lease runs out.
		conn := connect(t, dsn)
		_, err := conn.Exec(context.Background(), `UPDATE culvert.handler_jobs SET claim = claim + 1, due = clock_timestamp()`)
		return nil, err
	}, handlers.Tries(3))
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", "1"))
	until(t, "it is parked", func() bool {
		p := must[[]handlers.ParkedEvent](t)(o.Parked(t.Context(), ns, "*", 1))
		return len(p) == 1 && p[0].Tries == 3 && strings.Contains(p[0].Error, "no run ended")
	})
	if len(ran) != 3 {
		t.Errorf("run %d times", len(ran))
	}
}
