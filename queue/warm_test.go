package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
	"github.com/culvertmq/culvert/queue/registry"
)

// asksNothing checks that a reader gets the data, and that the instance asks Postgres for nothing, unless the test made
// it start without events.
func asksNothing(t *testing.T, q *queue.Queue, cold bool, in queue.Interest, want ...string) {
	t.Helper()
	s := subscribe(t, q, in)
	var got []string
	if n := queriesOf(q, func() { got = next(t, s, len(want)) }); (n == 0) == cold {
		t.Errorf("%v: the events take %d queries, cold: %v", in.Rooms, n, cold)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v: a reader gets %d events, %.200q", in.Rooms, len(got), got)
	}
}

// An instance that starts has the newest events in memory, whatever slice or run of the log they are in. A client
// that was nearly up to date reads nothing from Postgres.
func TestAnInstanceStartsWithTheNewestEvents(t *testing.T) {
	server := pgtest.NewServer(t, localpg.Options{})
	dsn := server.DSN()
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	q := open(t, dsn, quiet)
	first := q.Head()
	join(t, q, "a", "bob")
	before := q.Head()
	long := `"` + strings.Repeat("x", 20_000) + `"`
	stored := func(n int, text string) {
		t.Helper()
		for range n {
			e := emit("a", "%s", text)
			e.Rooms = append(e.Rooms, room("b"), room("c"))
			appendOne(t, q, e)
		}
	}
	stored(2, long)
	sql(t, dsn, `SELECT culvert.rotate('0', 1)`)
	stored(1, `1`)
	leave(t, q, "a", "bob")
	appendOne(t, q, emit("a", "2"))
	stop(t, server)
	start(t, server)
	// Nothing was stored since Postgres started again: the head is in an earlier run.
	for _, cold := range []bool{false, true} {
		again := open(t, dsn, quiet, func(o *queue.Options) {
			if cold {
				queue.Cold(o)
			}
		})
		if floor, head := again.TailFloor(), again.Read(); (floor < head) == cold {
			t.Errorf("the tail has the events from %d to %d, cold: %v", floor, head, cold)
		}
		for _, name := range []string{"a", "b", "c"} {
			want := []string{long, long, "1"}
			if name == "a" {
				want = append(want, "2")
			}
			asksNothing(t, again, cold, queue.Interest{Rooms: []event.Room{room(name)}, After: first}, want...)
		}
		asksNothing(t, again, cold, queue.Interest{Client: client("bob"), After: before}, long, long, "1")
	}
}

// However many rows a page has, no event is missing or cut in two, and readers of any room get all.
func TestAnInstanceStartsWithManyEvents(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	start := q.Head()
	var want []string
	for i := range 30 {
		var emits []event.Emit
		for j := range 100 {
			want = append(want, fmt.Sprintf(`"%d %s"`, 100*i+j, strings.Repeat("x", 10*(j%50))))
			e := emit("a", "%s", want[len(want)-1])
			e.Rooms = append(e.Rooms, room("b"), room("c"))
			emits = append(emits, e)
		}
		must[[]event.Result](t)(q.Append(t.Context(), emits))
	}
	again := open(t, dsn)
	for _, name := range []string{"a", "b", "c"} {
		asksNothing(t, again, false, queue.Interest{Rooms: []event.Room{room(name)}, After: start}, want...)
	}
	// One that keeps fewer reads the older ones from Postgres.
	small := open(t, dsn, func(o *queue.Options) { o.TailEvents = 1000 })
	if floor, head := small.TailFloor(), small.Read(); head-floor < 330 || head-floor > 334 {
		t.Errorf("a tail of 1,000 rows has %d events of 3 rooms", head-floor)
	}
	behind := subscribe(t, small, queue.Interest{Rooms: []event.Room{room("b")}, After: start})
	if got := next(t, behind, len(want)); !slices.Equal(got, want) {
		t.Error("a reader that begins in Postgres and goes on in memory does not get all events once")
	}
}

// While an instance starts others store events, and its readers get all of them in order.
func TestAnInstanceStartsWhileOthersStore(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	start := q.Head()
	ctx, end := context.WithCancel(t.Context())
	stored := make(chan int)
	go func() {
		n := 0
		for ; n < 800 || ctx.Err() == nil; n++ {
			if _, err := q.Append(t.Context(), []event.Emit{emit("r", "%d", n)}); err != nil {
				t.Error(err)
				break
			}
		}
		stored <- n
	}()
	until(t, "there are events", func() bool { return q.Head().Offset > start.Offset+300 })
	again := open(t, dsn, func(o *queue.Options) { o.TailEvents = 400 })
	end()
	n := <-stored
	for i, got := range next(t, subscribe(t, again, queue.Interest{Rooms: []event.Room{room("r")}, After: start}), n) {
		if got != fmt.Sprint(i) {
			t.Fatalf("the event after %d others is %s", i, got)
		}
	}
}

// What retention and deletions took is a gap or hidden, as it is for readers of Postgres.
func TestAnInstanceStartsAfterEventsWereRemoved(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	gone := event.MustNamespace("gone")
	put := func() {
		must[bool](t)(q.Registry().PutNamespace(t.Context(), gone, registry.NamespaceSettings{}))
	}
	put()
	start := q.Head()
	lost := appendOne(t, q, emit("r", "1")).Cursor
	sql(t, dsn, `SELECT culvert.rotate('0', 1)`)
	secret := emit("r", `"secret"`)
	secret.Namespace = gone
	appendOne(t, q, secret)
	bad := appendOne(t, q, emit("r", "%s", lengthy())).Cursor.Offset
	appendOne(t, q, emit("r", "2"))
	sql(t, dsn, `SELECT culvert.prune('0', 0)`)
	if err := q.Registry().DeleteNamespace(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	put()
	damage(t, dsn, slice(t, dsn, bad))

	metrics := prometheus.NewRegistry()
	again := open(t, dsn, quiet, func(o *queue.Options) { o.Registerer = metrics })
	if n := counter(t, metrics, "culvert_events_unreadable_total"); n != 1 {
		t.Errorf("%v unreadable events are counted, want 1", n)
	}
	s := subscribe(t, again, queue.Interest{Rooms: []event.Room{room("r")}, After: start})
	b := must[event.Batch](t)(s.Next(t.Context(), 1))
	if want := (event.Gap{From: start, To: lost, Reason: event.GapPruned}); b.Gap == nil || *b.Gap != want {
		t.Errorf("a reader gets the gap %v, want %v", b.Gap, want)
	}
	asked := queriesOf(again, func() {
		s := subscribe(t, again, queue.Interest{Rooms: []event.Room{room("r")}, After: lost})
		if got := toldOf(t, s, 1); !slices.Equal(got, []string{fmt.Sprintf("unreadable to %d", bad), "2"}) {
			t.Errorf("a reader is told %q", got)
		}
	})
	if asked != 0 {
		t.Errorf("%d queries for what is in the tail", asked)
	}
	in := queue.Interest{Namespace: gone, Rooms: []event.Room{room("r")}, After: lost}
	other, err := again.Subscribe(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if b := must[event.Batch](t)(other.Poll(t.Context(), 10)); len(b.Events) > 0 {
		t.Error("a namespace shows what was in one of the same name that was deleted")
	}
}

// Damaged events may be so large that Postgres ends a page because of them. Then older ones come with the next page.
func TestAnInstanceStartsWithManyDamagedEvents(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	start := q.Head()
	appendOne(t, q, emit("r", "1"))
	var bad []event.Emit
	for range 150 {
		bad = append(bad, emit("r", "%s", lengthy()))
	}
	all := must[[]event.Result](t)(q.Append(t.Context(), bad))
	appendOne(t, q, emit("r", "2"))
	damage(t, dsn, slice(t, dsn, all[0].Cursor.Offset))
	again := open(t, dsn, quiet)
	if floor := again.TailFloor(); floor > start.Offset {
		t.Errorf("the tail begins at %d, not at %d", floor, start.Offset)
	}
	got := toldOf(t, subscribe(t, again, queue.Interest{Rooms: []event.Room{room("r")}, After: start}), 2)
	if got[0] != "1" || got[len(got)-1] != "2" || len(got) < 3 {
		t.Errorf("a reader is told %q", got)
	}
}

// The events from before the start are no news: handlers get each event once, and nothing counts as late.
func TestTheEventsAtTheStartAreNoNews(t *testing.T) {
	dsn := pgtest.Database(t)
	first := open(t, dsn)
	handled := handle(t, first, "greeting", handlers.Named("once"))
	for i := range 20 {
		appendOne(t, first, emit("r", "%d", i))
		receive(t, handled)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := first.Close(ctx); err != nil {
		t.Fatal(err)
	}
	between := open(t, dsn)
	missed := appendOne(t, between, emit("r", "20"))
	metrics := prometheus.NewRegistry()
	q := open(t, dsn, func(o *queue.Options) { o.Registerer = metrics })
	if n := counter(t, metrics, "culvert_events_followed_total"); n != 0 {
		t.Errorf("%v events count as followed", n)
	}
	handled = handle(t, q, "greeting", handlers.Named("once"))
	if e := receive(t, handled); e.Offset != missed.Cursor.Offset {
		t.Errorf("the handler gets the event at %d, not the one at %d that it has not had", e.Offset, missed.Cursor.Offset)
	}
	later := appendOne(t, between, emit("r", "21"))
	if e := receive(t, handled); e.Offset != later.Cursor.Offset {
		t.Errorf("the handler gets the event at %d, not the one at %d", e.Offset, later.Cursor.Offset)
	}
}

// An instance that cannot read the newest events in time serves without them, and goes on reading.
func TestAnInstanceDoesNotWaitLongForTheNewestEvents(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	start := q.Head()
	appendOne(t, q, emit("r", "1"))
	tx := must[pgx.Tx](t)(connect(t, dsn).Begin(t.Context()))
	must[pgconn.CommandTag](t)(tx.Exec(t.Context(), `LOCK TABLE culvert.rooms`))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	again, err := queue.Open(ctx, queue.Options{DatabaseURL: dsn, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(context.Background())
	if again.TailFloor() != again.Read() {
		t.Fatal("nothing kept it from filling its tail")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the tail is filled", func() bool { return again.TailFloor() <= start.Offset })
	asksNothing(t, again, false, queue.Interest{Rooms: []event.Room{room("r")}, After: start}, "1")
}
