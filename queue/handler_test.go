package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// handle registers a handler that hands every event to the test.
func handle(t testing.TB, q *queue.Queue, pattern string, options ...queue.HandlerOption) <-chan *queue.Event {
	t.Helper()
	events := make(chan *queue.Event, 1000)
	err := q.Handle(ns, pattern, func(_ context.Context, e *queue.Event) (any, error) {
		events <- e
		return nil, nil
	}, options...)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

func named(event, room, format string, args ...any) queue.Emit {
	e := emit(room, format, args...)
	e.Event = mustParse(queue.ParseEventName, event)
	return e
}

// quiet is for what is logged as an error and is meant to happen.
func quiet(o *queue.Options) { o.Logger = slog.New(slog.DiscardHandler) }

func operator(t testing.TB, dsn string) *queue.Operator {
	t.Helper()
	o := must[*queue.Operator](t)(queue.OpenOperator(t.Context(), dsn))
	t.Cleanup(o.Close)
	return o
}

func TestHandlerGetsWhatItsPatternCovers(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	appendOne(t, a, named("order.early", "r", "0"))
	orders := handle(t, a, "order.*_100%")
	early := handle(t, a, "order.*", queue.Named("early"), queue.FromEarliest())
	all := handle(t, b, "*", queue.Concurrency(1))
	replies := handle(t, b, "culvert:*")
	answered(t, a, ask(t, a, "r", 1), "", `"in the hidden room"`)
	other := named("order.a_100%", "r", "9")
	other.Namespace = mustParse(queue.ParseNamespace, "other")
	appendOne(t, b, other)
	question := named("order.x_100%", "r", "1")
	question.Rooms = append(question.Rooms, room("a"), room("@private"))
	question.Except, question.From, question.Reply = []queue.Room{room("z")}, client("alice"), queue.Ask{Timeout: time.Minute, Count: 2}
	to := appendOne(t, b, question).Cursor
	for _, name := range []string{"order.x-100%", "order.x_1000", "Order.x_100%", "aorder.x_100%"} {
		appendOne(t, a, named(name, "r", "2"))
	}
	answered(t, a, to.Offset, "", "1")
	answered(t, a, to.Offset, "private", "1")
	last := appendOne(t, a, named("order._100%", "r", "3")).Cursor.Offset

	e := receive(t, orders)
	if e.Cursor() != to || e.Namespace != "default" || e.Room != room("@private") || e.Name != "order.x_100%" || e.Data != "1" ||
		e.From != client("alice") || e.Except[0] != room("z") || e.ReplyUntil.Sub(e.At) != time.Minute {
		t.Errorf("event %+v", e)
	}
	if e := receive(t, orders); e.Offset != last {
		t.Errorf("then %+v", e)
	}
	if e := receive(t, early); e.Name != "order.early" {
		t.Errorf("the earliest %+v", e)
	}
	if e := receive(t, replies); e.Name != "culvert:reply" || e.Room != room("@alice") {
		t.Errorf("of Culvert's own: %+v", e)
	}
	for e := receive(t, all); e.Offset != last; e = receive(t, all) {
		if strings.HasPrefix(e.Name, "culvert:") || e.Namespace != "default" {
			t.Errorf(`"*" got %+v`, e)
		}
	}
}

// What was emitted while nobody ran is handled by who comes next, and nothing
// that is done is run again.
func TestHandlerGoesOnWhereItWas(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	first := open(t, dsn)
	events := handle(t, first, "greeting")
	appendOne(t, q, emit("r", "1"))
	receive(t, events)
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		appendOne(t, q, emit("r", "%d", i+2))
	}
	events = handle(t, open(t, dsn), "greeting", queue.Concurrency(1))
	for i := range 5 {
		if e := receive(t, events); e.Data != fmt.Sprint(i+2) {
			t.Errorf("got %s, want %d", e.Data, i+2)
		}
	}
	if states := must[[]queue.HandlerState](t)(operator(t, dsn).Handlers(t.Context())); len(states) != 1 || !states[0].Live || states[0].Pattern != "greeting" {
		t.Errorf("handlers %+v", states)
	}
}

// Three instances, many events, functions that fail at random: each event is
// run until it is done, never twice at a time, and all instances take part.
func TestInstancesShareAHandler(t *testing.T) {
	dsn := pgtest.Database(t)
	const events = 300
	var mu sync.Mutex
	running, runs, done := map[queue.Offset]bool{}, map[queue.Offset]int{}, map[queue.Offset]int{}
	share := make([]int, 3)
	all := make(chan struct{})
	var qs []*queue.Queue
	for i := range share {
		q := open(t, dsn)
		qs = append(qs, q)
		err := q.Handle(ns, "*", func(_ context.Context, e *queue.Event) (any, error) {
			mu.Lock()
			if running[e.Offset] {
				t.Errorf("%d is run twice at a time", e.Offset)
			}
			running[e.Offset] = true
			runs[e.Offset]++
			fail := runs[e.Offset] <= int(e.Offset%3)
			share[i]++
			mu.Unlock()
			time.Sleep(2 * time.Millisecond) // work
			mu.Lock()
			defer mu.Unlock()
			running[e.Offset] = false
			if fail {
				return nil, errors.New("not yet")
			}
			if done[e.Offset]++; len(done) == events {
				close(all)
			}
			return nil, nil
		}, queue.Backoff(time.Millisecond, 20*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range events {
		appendOne(t, qs[i%3], emit("r", "1"))
	}
	receive(t, all)
	mu.Lock()
	defer mu.Unlock()
	for offset, n := range done {
		if n != 1 || runs[offset] != int(offset%3)+1 {
			t.Errorf("%d was run %d times, and done %d times", offset, runs[offset], n)
		}
	}
	if slices.Min(share) == 0 {
		t.Errorf("shares %v", share)
	}
}

func TestHandlerIsTriedAgainParkedAndRetried(t *testing.T) {
	dsn := pgtest.Database(t)
	registry := prometheus.NewRegistry()
	q := open(t, dsn, quiet, func(o *queue.Options) { o.Registerer = registry })
	var mu sync.Mutex
	var at []time.Time
	healed := false
	done := make(chan *queue.Event, 10)
	err := q.Handle(ns, "greeting", func(_ context.Context, e *queue.Event) (any, error) {
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
	}, queue.Named("mailer"), queue.Tries(4), queue.Backoff(40*time.Millisecond, 80*time.Millisecond), queue.Lease(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	bad := appendOne(t, q, emit("r", `"bad"`)).Cursor.Offset
	appendOne(t, q, emit("r", `"good"`))
	receive(t, done)
	o := operator(t, dsn)
	parked := func() []queue.ParkedEvent {
		return must[[]queue.ParkedEvent](t)(o.Parked(t.Context(), ns, "mailer", 10))
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
	if s := must[[]queue.HandlerState](t)(o.Handlers(t.Context()))[0]; s.Parked != 1 || s.Waiting != 0 || s.Name != "mailer" || s.Position < bad {
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
	if err := o.Remove(t.Context(), ns, "mailer"); !errors.Is(err, queue.ErrHandlerLive) {
		t.Errorf("remove while it is live: %v", err)
	}
	if _, err := o.Drop(t.Context(), ns, "nobody"); !errors.Is(err, queue.ErrNoHandler) {
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
	err := q.Handle(ns, "*", func(context.Context, *queue.Event) (any, error) { return nil, errors.New("no") }, queue.Tries(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		appendOne(t, q, emit("r", "1"))
	}
	last := appendOne(t, q, emit("r", "1")).Cursor.Offset
	o := operator(t, dsn)
	until(t, "all are parked", func() bool { return len(must[[]queue.ParkedEvent](t)(o.Parked(t.Context(), ns, "*", 10))) == 4 })
	if n, err := o.Drop(t.Context(), ns, "*", last); n != 1 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
	if n, err := o.Drop(t.Context(), ns, "*"); n != 3 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sql(t, dsn, `UPDATE culvert.handlers SET live_until = now()`) // a while later
	if err := o.Remove(t.Context(), ns, "*"); err != nil {
		t.Error(err)
	}
	if states := must[[]queue.HandlerState](t)(o.Handlers(t.Context())); len(states) != 0 {
		t.Errorf("left: %+v", states)
	}
}

func TestHandlersAnswer(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn, quiet), open(t, dsn)
	answering := func(q *queue.Queue, pattern string, reply any, options ...queue.HandlerOption) {
		t.Helper()
		err := q.Handle(ns, pattern, func(context.Context, *queue.Event) (any, error) { return reply, nil }, options...)
		if err != nil {
			t.Fatal(err)
		}
	}
	answering(a, "sum", map[string]int{"sum": 3})
	answering(b, "s*", json.RawMessage("null"))
	answering(b, "*", nil, queue.Silent(), queue.Named("audit"))
	answering(b, "*um", must[queue.Data](t)(queue.ParseBinary("AAEC")))
	answering(b, "other", "not asked")
	online(t, a, "bob")
	e := named("sum", "@bob", "[1,2]")
	e.Reply = queue.Ask{Timeout: time.Minute}
	to := appendOne(t, a, e).Cursor.Offset
	wait := awaiting(t, a, to, long)
	answered(t, b, to, "bob", `"mine"`)
	got := wait()
	slices.Sort(got)
	same(t, "waited", got, `:"AAEC"`, `:null`, `:{"sum":3}`, `bob:"mine"`)
	// One that cannot be encoded counts as a failure.
	answering(a, "bad", func() {}, queue.Tries(1))
	e.Event = mustParse(queue.ParseEventName, "bad")
	appendOne(t, a, e)
	o := operator(t, dsn)
	until(t, "it is parked", func() bool {
		p := must[[]queue.ParkedEvent](t)(o.Parked(t.Context(), ns, "bad", 1))
		return len(p) == 1 && strings.Contains(p[0].Error, "unsupported type")
	})
}

// A lease that is not renewed ends the function's context, and another instance
// runs the event.
func TestLostLeaseEndsTheFunction(t *testing.T) {
	dsn := pgtest.Database(t)
	a := open(t, dsn)
	cause := make(chan error, 1)
	release := make(chan struct{})
	err := a.Handle(ns, "*", func(ctx context.Context, _ *queue.Event) (any, error) {
		<-ctx.Done()
		cause <- context.Cause(ctx)
		<-release
		return nil, nil
	}, queue.Named("slow"), queue.Lease(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, a, emit("r", "1"))
	conn := connect(t, dsn)
	until(t, "it is claimed", func() bool {
		tag, err := conn.Exec(t.Context(), `UPDATE culvert.handler_jobs SET claim = claim + 1000, due = clock_timestamp() WHERE claim = 1`)
		return err == nil && tag.RowsAffected() == 1 // as another instance does
	})
	if err := receive(t, cause); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("cause %v", err)
	}
	b := handle(t, open(t, dsn), "*", queue.Named("slow"))
	receive(t, b)
	close(release)
}

// An event whose every run ends its instance is parked, not run for ever.
func TestEventThatKillsIsParked(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	o := operator(t, dsn)
	ran := make(chan struct{}, 100)
	err := q.Handle(ns, "*", func(context.Context, *queue.Event) (any, error) {
		ran <- struct{}{}
		// The instance dies here: nothing is stored, and the lease runs out.
		conn := connect(t, dsn)
		_, err := conn.Exec(context.Background(), `UPDATE culvert.handler_jobs SET claim = claim + 1, due = clock_timestamp()`)
		return nil, err
	}, queue.Tries(3))
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", "1"))
	until(t, "it is parked", func() bool {
		p := must[[]queue.ParkedEvent](t)(o.Parked(t.Context(), ns, "*", 1))
		return len(p) == 1 && p[0].Tries == 3 && strings.Contains(p[0].Error, "no run ended")
	})
	if len(ran) != 3 {
		t.Errorf("run %d times", len(ran))
	}
}

func TestHandlerIsToldOfAGap(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	first := open(t, dsn)
	handle(t, first, "greeting")
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", "1"))
	sql(t, dsn, `SELECT culvert.roll('0', 1)`)
	appendOne(t, q, emit("r", "2"))
	sql(t, dsn, `SELECT culvert.prune('0', 0)`, `SELECT culvert.prune('0', 0)`)
	registry := prometheus.NewRegistry()
	events := handle(t, open(t, dsn, quiet, func(o *queue.Options) { o.Registerer = registry }), "greeting")
	if e := receive(t, events); e.Data != "2" {
		t.Errorf("went on with %s", e.Data)
	}
	if n := must[int](t)(testutil.GatherAndCount(registry, "culvert_handler_gaps_total")); n != 1 {
		t.Error("the gap is not counted")
	}
	if s := must[[]queue.HandlerState](t)(operator(t, dsn).Handlers(t.Context()))[0]; s.Gaps != 1 {
		t.Errorf("state %+v", s)
	}
}

// Retention cannot take an event from under a retry.
func TestRetrySurvivesRetention(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	tries := make(chan string, 10)
	pruned := make(chan struct{})
	err := q.Handle(ns, "*", func(_ context.Context, e *queue.Event) (any, error) {
		tries <- e.Data
		if len(tries) == 1 {
			<-pruned
			return nil, errors.New("once more")
		}
		return nil, nil
	}, queue.Backoff(time.Millisecond, time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", `"kept"`))
	until(t, "it runs", func() bool { return len(tries) == 1 })
	sql(t, dsn, `SELECT culvert.roll('0', 1)`, `SELECT culvert.prune('0', 0)`, `SELECT culvert.prune('0', 0)`)
	close(pruned)
	until(t, "it runs again", func() bool { return len(tries) == 2 })
	receive(t, tries)
	if again := receive(t, tries); again != `"kept"` {
		t.Errorf("again with %s", again)
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	started, ended := make(chan struct{}), make(chan error, 1)
	err := q.Handle(ns, "*", func(ctx context.Context, _ *queue.Event) (any, error) {
		close(started)
		// It may still use the queue.
		_, err := q.Append(ctx, []queue.Emit{emit("r", `"by the handler"`)})
		ended <- err
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", "1"))
	receive(t, started)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	default:
		t.Error("Close did not wait")
	}
	if err := q.Handle(ns, "x", nil); err == nil {
		t.Error("a closed queue takes a handler")
	}

	stuck := open(t, dsn)
	started = make(chan struct{}, 10)
	cause := make(chan error, 1)
	err = stuck.Handle(ns, "*", func(ctx context.Context, _ *queue.Event) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		cause <- ctx.Err()
		return nil, ctx.Err()
	}, queue.Named("stuck"))
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, stuck, emit("r", "1"))
	receive(t, started)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := stuck.Close(ctx); err == nil || !strings.Contains(err.Error(), "default/stuck") {
		t.Errorf("close: %v", err)
	}
	if err := receive(t, cause); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestHandleRefuses(t *testing.T) {
	q := open(t, pgtest.Database(t))
	nothing := func(context.Context, *queue.Event) (any, error) { return nil, nil }
	for _, c := range []struct {
		pattern, field string
		option         queue.HandlerOption
	}{
		{"", "pattern", queue.Named("x")}, {"a\nb", "pattern", queue.Named("x")}, {"x", "name", queue.Named("")},
		{"x", "tries", queue.Tries(0)}, {"x", "concurrency", queue.Concurrency(0)}, {"x", "lease", queue.Lease(1)},
		{"x", "backoff", queue.Backoff(2, 1)}, {"taken", "name", queue.Silent()},
	} {
		if c.pattern == "taken" {
			handle(t, q, "taken")
		}
		var bad *queue.InvalidError
		if err := q.Handle(ns, c.pattern, nothing, c.option); !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
