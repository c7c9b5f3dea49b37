package queue_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

func TestALongTransactionDelaysItsOwnEventsOnly(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	long := connect(t, dsn)
	if _, err := long.Exec(t.Context(), `BEGIN; SELECT culvert.emit(room => 'r', event => 'e', data => '"long"')`); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		sql(t, dsn, `SELECT culvert.emit(room => 'r', event => 'e', data => '"short"')`)
		appendOne(t, q, emit("r", `"http"`))
	}
	got := next(t, s, 6)
	slices.Sort(got)
	if want := []string{`"http"`, `"http"`, `"http"`, `"short"`, `"short"`, `"short"`}; !slices.Equal(got, want) {
		t.Errorf("while the transaction is open: %v", got)
	}
	if _, err := long.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if got := next(t, s, 1); got[0] != `"long"` {
		t.Errorf("after it: %v", got)
	}
}

func TestPollOnly(t *testing.T) {
	dsn := pgtest.Database(t)
	a := open(t, dsn, func(o *queue.Options) { o.PollOnly = true })
	b := open(t, dsn, func(o *queue.Options) { o.PollOnly = true })
	s := subscribe(t, b, queue.Interest{Rooms: []event.Room{room("r")}})
	appendOne(t, a, emit("r", "1"))
	if got := next(t, s, 1); got[0] != "1" {
		t.Errorf("the event of the other instance is %v", got)
	}
	sql(t, dsn, `SELECT culvert.emit(room => 'r', event => 'e', data => '2')`)
	if got := next(t, s, 1); got[0] != "2" {
		t.Errorf("the event from SQL is %v", got)
	}
}

// Everything works without named statements, which transaction poolers do not keep.
func TestWithoutNamedStatements(t *testing.T) {
	dsn := pgtest.Database(t) + "&default_query_exec_mode=exec"
	a := open(t, dsn, func(o *queue.Options) { o.PollOnly = true })
	e := emit("r", `{"a":1}`)
	e.Key, e.Except, e.From = key("k"), []event.Room{room(`o"d\d`)}, client("alice")
	appendOne(t, a, e)
	if r := appendOne(t, a, e); !r.Duplicate {
		t.Error("the second emit was not recognised as a repeat")
	}
	b := open(t, dsn, queue.Cold, func(o *queue.Options) { o.PollOnly = true })
	s := subscribe(t, b, queue.Interest{Rooms: []event.Room{room("r")}, Earliest: true, Client: client("bob")})
	batch := must[event.Batch](t)(s.Next(t.Context(), 10))
	if len(batch.Events) != 1 || batch.Events[0].Except[0] != e.Except[0] || batch.Events[0].From != e.From {
		t.Errorf("got %+v", batch.Events)
	}
	if _, err := b.Ack(t.Context(), ns, client("bob"), batch.Cursor); err != nil {
		t.Error(err)
	}
	if _, err := b.ClientState(t.Context(), ns, client("bob"), nil); err != nil {
		t.Error(err)
	}
}

func TestLostListenConnectionIsMadeAgain(t *testing.T) {
	dsn := pgtest.Database(t)
	a := open(t, dsn)
	b := open(t, dsn, func(o *queue.Options) { o.Poll = time.Hour })
	s := subscribe(t, b, queue.Interest{Rooms: []event.Room{room("r")}})
	conn := connect(t, dsn)
	for i := range 3 {
		until(t, "both listen", func() bool {
			var n int
			err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`).Scan(&n)
			return err == nil && n == 2
		})
		appendOne(t, a, emit("r", "%d", i))
		next(t, s, 1)
		sql(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`)
	}
}

// Postgres dies and is started again: emits fail meanwhile, an open subscription stays open and continues by
// itself, and what was confirmed is stored.
func TestPostgresAwayAndBack(t *testing.T) {
	server := pgtest.NewServer(t, localpg.Options{})
	dsn := server.DSN()
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	q := open(t, dsn)
	s := subscribe(t, q, queue.Interest{Client: client("bob"), Rooms: []event.Room{room("r")}})
	appendOne(t, q, emit("r", "1"))
	next(t, s, 1)
	for round := range 2 {
		stop(t, server)
		if _, err := q.Append(t.Context(), []event.Emit{emit("r", "9")}); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("append while Postgres is down: %v", err)
		}
		if _, err := q.Ack(t.Context(), ns, client("bob"), s.Cursor()); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("ack while Postgres is down: %v", err)
		}
		if err := q.Ping(t.Context()); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("ping while Postgres is down: %v", err)
		}
		if b, err := s.Poll(t.Context(), 10); err != nil || len(b.Events) > 0 {
			t.Errorf("an idle subscription: %v, %v", b, err)
		}
		start(t, server)
		until(t, "emits are taken again", func() bool {
			_, err := q.Append(t.Context(), []event.Emit{emit("r", "2")})
			return err == nil
		})
		if got := next(t, s, 1); got[0] != "2" {
			t.Errorf("round %d: %v", round, got)
		}
		sql(t, dsn, `SELECT culvert.emit(room => 'r', event => 'e', data => '3')`)
		if got := next(t, s, 1); got[0] != "3" {
			t.Errorf("round %d: from SQL %v", round, got)
		}
	}
}

func TestCloseIsOrderly(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	results := make(chan error, 100)
	for range cap(results) {
		go func() {
			_, err := q.Append(context.Background(), []event.Emit{emit("r", "1")})
			results <- err
		}()
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for range cap(results) {
		if err := <-results; err == nil {
			stored++
		} else if !errors.Is(err, event.ErrClosed) {
			t.Error(err)
		}
	}
	b := must[event.Batch](t)(open(t, dsn).History(t.Context(), ns, room("r"), event.Client{}, event.Cursor{}, 1000))
	if len(b.Events) != stored {
		t.Errorf("%d confirmed, %d stored", stored, len(b.Events))
	}
	if _, err := q.Append(t.Context(), []event.Emit{emit("r", "1")}); !errors.Is(err, event.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if _, err := q.Ack(t.Context(), ns, client("bob"), q.Head()); err == nil {
		t.Error("ack after close")
	}
}

func stop(t *testing.T, server *localpg.Server) {
	t.Helper()
	if err := server.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, server *localpg.Server) {
	t.Helper()
	if err := server.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// keepAppending makes several goroutines append a batch again and again, until stop is called.
func keepAppending(t *testing.T, q *queue.Queue, several int, batch []event.Emit) (stop func()) {
	done := make(chan struct{})
	var appending sync.WaitGroup
	for range several {
		appending.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := q.Append(t.Context(), batch); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		close(done)
		appending.Wait()
	}
}

// An instance that appends without a pause, while somebody emits from SQL now and then, does not read back what
// it has appended itself: it would fall behind for as long as that lasts.
func TestOwnEventsAreNotReadBackBesideThoseFromSQL(t *testing.T) {
	dsn := pgtest.Database(t)
	registry := prometheus.NewRegistry()
	q := open(t, dsn, func(o *queue.Options) { o.Registerer = registry })
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("sql")}})
	batch := make([]event.Emit, 100)
	for i := range batch {
		batch[i] = emit("http", "1")
	}
	stop := keepAppending(t, q, 4, batch)
	const n = 30
	for range n {
		sql(t, dsn, `SELECT culvert.emit(room => 'sql', event => 'e', data => '1')`)
		time.Sleep(50 * time.Millisecond)
	}
	next(t, s, n)
	stop()
	stored, followed := counter(t, registry, "culvert_events_stored_total"), counter(t, registry, "culvert_events_followed_total")
	// Some reads may be at the end of the log, and see what is just being stored.
	if followed > stored/4 {
		t.Errorf("of %.0f events stored here %.0f were read back", stored, followed)
	}
}

// CaughtUp does not wait for what is appended after the call, even if the instance is behind and others append
// about as fast as it reads.
func TestCatchingUpEndsWhileOthersAppend(t *testing.T) {
	dsn := pgtest.Database(t)
	a := open(t, dsn)
	slow := func(o *queue.Options) { o.PollOnly, o.Poll = true, time.Hour } // it reads when asked
	b := open(t, dsn, slow)
	batch := make([]event.Emit, 1_000)
	for i := range batch {
		batch[i] = emit("r", "1")
	}
	appendAll := func() event.Offset {
		return must[[]event.Result](t)(a.Append(t.Context(), batch))[len(batch)-1].Cursor.Offset
	}
	for range 3 {
		var head event.Offset
		for range 30 {
			head = appendAll()
		}
		stop := keepAppending(t, a, 3, batch)
		time.Sleep(50 * time.Millisecond)
		asked := b.CaughtUp()
		head = max(head, a.Read())
		select {
		case <-asked:
		case <-time.After(30 * time.Second):
			t.Error("the channel of CaughtUp is not closed")
		}
		read := b.Read()
		stop()
		if read < head || read > head+2*2_000 { // a page, and what was appended during the call
			t.Errorf("a read up to %d was asked for, but it went up to %d", head, read)
		}
	}
}
