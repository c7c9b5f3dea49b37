package queue_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// TestAppendEachStopsAtTheFirstFailure terminates the backend of an append in the
// middle of a long series: what follows would be stored by the next append, and twice
// when the caller sends the rest again.
func TestAppendEachStopsAtTheFirstFailure(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Logger = slog.New(slog.DiscardHandler) })
	killer, reader := connect(t, dsn), connect(t, dsn)
	appendOne(t, q, emit("warm", "0"))
	failed := 0
	for round := range 25 {
		r := "r" + strconv.Itoa(round)
		emits := make([]event.Emit, 7000) // several appends
		for i := range emits {
			emits[i] = emit(r, "%d", i)
			if i%500 >= 498 && round%2 == 1 { // a repeat of its key waits for the first
				emits[i] = emit(r, "%d", i-i%500)
				emits[i].Key = key(fmt.Sprint(r, "-", i/500))
			}
		}
		start := q.Head().Offset
		answered := make(chan []event.Result, 1)
		go func() { answered <- q.AppendEach(t.Context(), emits) }()
		until(t, "an append to terminate", func() bool {
			if q.Head().Offset == start {
				return false // the first is to succeed
			}
			if len(answered) > 0 {
				return true // too late this time
			}
			return must[int](t)(count(t, killer, `WITH appending AS MATERIALIZED (
			  SELECT pid FROM pg_stat_activity
			   WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%FROM culvert.append%')
			  SELECT count(*) FROM appending WHERE pg_terminate_backend(pid)`)) > 0
		})
		results := <-answered
		first := slices.IndexFunc(results, func(r event.Result) bool { return r.Err != nil })
		if first < 0 {
			first = len(results)
		} else {
			failed++
		}
		want := 0
		for i, result := range results {
			if (result.Err != nil) != (i >= first) {
				t.Fatalf("round %d: emit %d: %v, though emit %d failed: %v", round, i, result.Err, first, results[first].Err)
			}
			if result.Err == nil && !result.Duplicate {
				want++
			}
		}
		if got := must[int](t)(count(t, reader, `SELECT count(*) FROM culvert.events e JOIN culvert.rooms r ON r.id = e.room_id WHERE r.name = $1`, r)); got != want {
			t.Fatalf("round %d: %d events are stored, and %d were answered with an offset", round, got, want)
		}
	}
	if failed < 5 {
		t.Fatalf("only %d rounds were interrupted", failed)
	}
}

// A new room of an emit is made before the emit is queued. If that fails for a temporary reason, what follows
// in the series is not stored either; if it fails for good, it is.
func TestNoneOfASeriesOvertakesOneWithoutItsRoom(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Logger = slog.New(slog.DiscardHandler) })
	appendOne(t, q, emit("known", "0"))
	c := connect(t, dsn)
	sql(t, dsn, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'admin_shutdown'; END $$`,
		`CREATE TRIGGER refuse BEFORE INSERT ON culvert.rooms FOR EACH ROW WHEN (NEW.name = 'unlucky') EXECUTE FUNCTION refuse()`)
	series := func(middle string, quota event.RoomQuota) []event.Result {
		emits := []event.Emit{emit("known", "1"), emit(middle, "2"), emit("known", "3"), emit("known", "4")}
		for i := range emits {
			emits[i].Quota = quota
		}
		return q.AppendEach(t.Context(), emits)
	}
	many := event.RoomQuota{Namespace: 100}
	if r := series("unlucky", many); r[0].Err != nil || !errors.Is(r[1].Err, event.ErrUnavailable) ||
		!errors.Is(r[2].Err, event.ErrUnavailable) || !errors.Is(r[3].Err, event.ErrUnavailable) {
		t.Errorf("a room could not be made: %v", r)
	}
	if n := must[int](t)(count(t, c, `SELECT count(*) FROM culvert.events`)); n != 2 {
		t.Errorf("%d events are stored, not the one before the series and the first of it", n)
	}
	if r := series("new", event.RoomQuota{Namespace: 1}); r[0].Err != nil || !errors.Is(r[1].Err, event.ErrRoomQuota) || r[2].Err != nil || r[3].Err != nil {
		t.Errorf("a room was over the quota: %v", r)
	}
}

func count(t *testing.T, c *pgx.Conn, sql string, args ...any) (n int, err error) {
	t.Helper()
	err = c.QueryRow(t.Context(), sql, args...).Scan(&n)
	return n, err
}

// The emits of a series are tried one by one when Postgres refuses one of them. One that then
// has to wait for events from SQL is not overtaken by those after it: when it
// fails in the end, the caller sends all of them again.
func TestNoneOfASeriesOvertakesOneThatIsHeld(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Logger, o.Poll, o.PollOnly = slog.New(slog.DiscardHandler), time.Hour, true })
	appendOne(t, q, emit("r", "0"))
	// The first try of an event named bad waits for the test before it is refused.
	sql(t, dsn, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	  BEGIN
	    PERFORM pg_advisory_xact_lock(77);
	    RAISE EXCEPTION 'bad';
	  END $$`, `CREATE TRIGGER refuse BEFORE INSERT ON culvert.events FOR EACH ROW WHEN (NEW.event = 'bad') EXECUTE FUNCTION refuse()`)
	gate, conn := connect(t, dsn), connect(t, dsn)
	must[pgconn.CommandTag](t)(gate.Exec(t.Context(), `SELECT pg_advisory_lock(77)`))
	bad := emit("r", "1")
	bad.Event = mustParse(event.ParseEventName, "bad")
	answered := make(chan []event.Result, 1)
	go func() { answered <- q.AppendEach(t.Context(), []event.Emit{bad, emit("r", "2"), emit("r", "3")}) }()
	until(t, "the series to be refused", func() bool {
		return must[int](t)(count(t, conn, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted`)) == 1
	})
	stage(t, conn, `room => 'r'`, 1_500) // more than one append moves
	must[pgconn.CommandTag](t)(gate.Exec(t.Context(), `SELECT pg_advisory_unlock(77)`))
	for i, r := range <-answered {
		if r.Err == nil {
			t.Errorf("emit %d is stored, though the first failed", i)
		}
	}
	if got := texts(t, q, "r"); len(got) != 1+1_500 {
		t.Errorf("the room has %d events", len(got))
	}
}
