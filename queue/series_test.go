package queue_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
		emits := make([]queue.Emit, 7000) // several appends
		for i := range emits {
			emits[i] = emit(r, "%d", i)
			if i%500 >= 498 && round%2 == 1 { // a repeat of its key waits for the first
				emits[i] = emit(r, "%d", i-i%500)
				emits[i].Key = key(fmt.Sprint(r, "-", i/500))
			}
		}
		start := q.Head().Offset
		answered := make(chan []queue.Result, 1)
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
			   WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%FROM culvert.append(%')
			  SELECT count(*) FROM appending WHERE pg_terminate_backend(pid)`)) > 0
		})
		results := <-answered
		first := slices.IndexFunc(results, func(r queue.Result) bool { return r.Err != nil })
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
	bad.Event = mustParse(queue.ParseEventName, "bad")
	answered := make(chan []queue.Result, 1)
	go func() { answered <- q.AppendEach(t.Context(), []queue.Emit{bad, emit("r", "2"), emit("r", "3")}) }()
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
