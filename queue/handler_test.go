package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

// handle registers a handler that hands every event to the test.
func handle(t testing.TB, q *queue.Queue, pattern string, options ...handlers.Option) <-chan *event.Event {
	t.Helper()
	events := make(chan *event.Event, 1000)
	err := q.Handle(ns, pattern, func(_ context.Context, e *event.Event) (any, error) {
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

func named(name, room, format string, args ...any) event.Emit {
	e := emit(room, format, args...)
	e.Event = mustParse(event.ParseEventName, name)
	return e
}

// quiet discards the log of a test that causes errors on purpose.
func quiet(o *queue.Options) { o.Logger = slog.New(slog.DiscardHandler) }

func operator(t testing.TB, dsn string) *handlers.Operator {
	t.Helper()
	o := must[*handlers.Operator](t)(queue.OpenOperator(t.Context(), dsn))
	t.Cleanup(o.Close)
	return o
}

func TestHandlerGetsWhatItsPatternCovers(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	appendOne(t, a, named("order.early", "r", "0"))
	orders := handle(t, a, "order.*_100%", handlers.Concurrency(1)) // so that events come in order
	early := handle(t, a, "order.*", handlers.Named("early"), handlers.FromEarliest(), handlers.Concurrency(1))
	all := handle(t, b, "*", handlers.Concurrency(1))
	replies := handle(t, b, "culvert:*")
	answered(t, a, ask(t, a, "r", 1), "", `"in the hidden room"`)
	other := named("order.a_100%", "r", "9")
	other.Namespace = mustParse(event.ParseNamespace, "other")
	appendOne(t, b, other)
	question := named("order.x_100%", "r", "1")
	question.Rooms = append(question.Rooms, room("a"), room("@private"))
	question.Except, question.From, question.Reply = []event.Room{room("z")}, client("alice"), event.Ask{Timeout: time.Minute, Count: 2}
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
		t.Errorf("the handler got %+v, not the last order", e)
	}
	if e := receive(t, early); e.Name != "order.early" {
		t.Errorf("the handler that begins at the earliest event got %+v", e)
	}
	if e := receive(t, replies); e.Name != "culvert:reply" || e.Room != room("@alice") {
		t.Errorf("the handler of Culvert's own events got %+v", e)
	}
	for e := receive(t, all); e.Offset != last; e = receive(t, all) {
		if strings.HasPrefix(e.Name, "culvert:") || e.Namespace != "default" {
			t.Errorf(`"*" got %+v`, e)
		}
	}
}

// Events emitted while no handler ran are handled by the next one, and none that is done is run again.
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
	events = handle(t, open(t, dsn), "greeting", handlers.Concurrency(1))
	for i := range 5 {
		if e := receive(t, events); e.Data != fmt.Sprint(i+2) {
			t.Errorf("got %s, want %d", e.Data, i+2)
		}
	}
	if states := must[[]handlers.HandlerState](t)(operator(t, dsn).Handlers(t.Context())); len(states) != 1 || !states[0].Live || states[0].Pattern != "greeting" {
		t.Errorf("handlers %+v", states)
	}
}

func TestHandlersAnswer(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn, quiet), open(t, dsn)
	answering := func(q *queue.Queue, pattern string, reply any, options ...handlers.Option) {
		t.Helper()
		err := q.Handle(ns, pattern, func(context.Context, *event.Event) (any, error) { return reply, nil }, options...)
		if err != nil {
			t.Fatal(err)
		}
	}
	answering(a, "sum", map[string]int{"sum": 3})
	answering(b, "s*", json.RawMessage("null"))
	answering(b, "*", nil, handlers.Silent(), handlers.Named("audit"))
	answering(b, "*um", must[event.Data](t)(event.ParseBinary("AAEC")))
	answering(b, "other", "not asked")
	online(t, a, "bob")
	e := named("sum", "@bob", "[1,2]")
	e.Reply = event.Ask{Timeout: time.Minute}
	to := appendOne(t, a, e).Cursor.Offset
	wait := awaiting(t, a, to, long)
	answered(t, b, to, "bob", `"mine"`)
	got := wait()
	slices.Sort(got)
	same(t, "waited", got, `:"AAEC"`, `:null`, `:{"sum":3}`, `bob:"mine"`)
	// One that cannot be encoded counts as a failure.
	answering(a, "bad", func() {}, handlers.Tries(1))
	e.Event = mustParse(event.ParseEventName, "bad")
	appendOne(t, a, e)
	o := operator(t, dsn)
	until(t, "it is parked", func() bool {
		p := must[[]handlers.ParkedEvent](t)(o.Parked(t.Context(), ns, "bad", 1))
		return len(p) == 1 && strings.Contains(p[0].Error, "unsupported type")
	})
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
	sql(t, dsn, `SELECT culvert.rotate('0', 1)`)
	appendOne(t, q, emit("r", "2"))
	sql(t, dsn, `SELECT culvert.prune('0', 0)`, `SELECT culvert.prune('0', 0)`)
	registry := prometheus.NewRegistry()
	events := handle(t, open(t, dsn, quiet, func(o *queue.Options) { o.Registerer = registry }), "greeting")
	if e := receive(t, events); e.Data != "2" {
		t.Errorf("continued with %s", e.Data)
	}
	if n := must[int](t)(testutil.GatherAndCount(registry, "culvert_handler_gaps_total")); n != 1 {
		t.Error("the gap is not counted")
	}
	if s := must[[]handlers.HandlerState](t)(operator(t, dsn).Handlers(t.Context()))[0]; s.Gaps != 1 {
		t.Errorf("state %+v", s)
	}
}

// Retention does not take away an event that is going to be retried.
func TestRetrySurvivesRetention(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	tries := make(chan string, 10)
	pruned := make(chan struct{})
	err := q.Handle(ns, "*", func(_ context.Context, e *event.Event) (any, error) {
		tries <- e.Data
		if len(tries) == 1 {
			<-pruned
			return nil, errors.New("once more")
		}
		return nil, nil
	}, handlers.Backoff(time.Millisecond, time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", `"kept"`))
	until(t, "it runs", func() bool { return len(tries) == 1 })
	sql(t, dsn, `SELECT culvert.rotate('0', 1)`, `SELECT culvert.prune('0', 0)`, `SELECT culvert.prune('0', 0)`)
	close(pruned)
	until(t, "it runs again", func() bool { return len(tries) == 2 })
	receive(t, tries)
	if again := receive(t, tries); again != `"kept"` {
		t.Errorf("again with %s", again)
	}
}

func TestHandleRefuses(t *testing.T) {
	q := open(t, pgtest.Database(t))
	nothing := func(context.Context, *event.Event) (any, error) { return nil, nil }
	for _, c := range []struct {
		pattern, field string
		option         handlers.Option
	}{
		{"", "pattern", handlers.Named("x")}, {"a\nb", "pattern", handlers.Named("x")}, {"x", "name", handlers.Named("")},
		{"x", "tries", handlers.Tries(0)}, {"x", "concurrency", handlers.Concurrency(0)}, {"x", "lease", handlers.Lease(1)},
		{"x", "backoff", handlers.Backoff(2, 1)}, {"taken", "name", handlers.Silent()},
	} {
		if c.pattern == "taken" {
			handle(t, q, "taken")
		}
		var bad *event.InvalidError
		if err := q.Handle(ns, c.pattern, nothing, c.option); !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Deleting a namespace deletes its handlers. One that still runs starts over with the first event of the new
// namespace of that name.
func TestHandlerOfADeletedNamespaceStartsOver(t *testing.T) {
	dsn := pgtest.Database(t)
	q, other := open(t, dsn), open(t, dsn)
	tenant := mustParse(event.ParseNamespace, "tenant")
	events := make(chan *event.Event, 10)
	err := q.Handle(tenant, "greeting", func(_ context.Context, e *event.Event) (any, error) {
		events <- e
		return nil, nil
	}, handlers.Lease(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		e := emit("r", "%d", i)
		e.Namespace = tenant
		appendOne(t, other, e)
		if got := receive(t, events); got.Data != fmt.Sprint(i) {
			t.Errorf("got %s, want %d", got.Data, i)
		}
		if err := other.Registry().DeleteNamespace(t.Context(), tenant); err != nil {
			t.Fatal(err)
		}
	}
	conn := connect(t, dsn)
	until(t, "the old ones are swept away", func() bool {
		var left int
		if _, err := conn.Exec(t.Context(), `SELECT culvert.sweep_namespaces(100)`); err != nil {
			t.Fatal(err)
		}
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM culvert.handlers h JOIN culvert.namespaces n ON n.id = h.namespace_id WHERE n.name IS NULL`).Scan(&left)
		return err == nil && left == 0
	})
}
