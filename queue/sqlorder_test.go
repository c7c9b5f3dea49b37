package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// stage emits n events from SQL in one transaction of its own.
func stage(t testing.TB, conn *pgx.Conn, args string, n int) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), `SELECT culvert.emit(`+args+`, event => 'e', data => to_jsonb(i)) FROM generate_series(1, $1::int) i`, n); err != nil {
		t.Fatal(err)
	}
}

// texts returns the data of all events of a room.
func texts(t testing.TB, q *queue.Queue, r string) (got []string) {
	t.Helper()
	var at event.Cursor
	for more := true; more; {
		b := must[event.Batch](t)(q.History(t.Context(), ns, room(r), event.Client{}, at, 1_000))
		for _, e := range b.Events {
			got = append(got, e.Data)
		}
		at, more = b.Cursor, b.More
	}
	return got
}

// What is emitted by HTTP after a COMMIT is above all that the transaction emitted, on
// every instance, and nothing comes between its events.
func TestEmitsAfterACommitAreAboveIt(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	conn, other := connect(t, dsn), connect(t, dsn)
	const n, rounds = 3_000, 2
	for round := range rounds {
		// An older transaction commits while the large one is being moved.
		old := must[pgx.Tx](t)(other.Begin(t.Context()))
		if _, err := old.Exec(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', data => '"old"')`); err != nil {
			t.Fatal(err)
		}
		stage(t, conn, `room => 'r'`, n)
		committed := make(chan error, 1)
		go func() { committed <- old.Commit(context.WithoutCancel(t.Context())) }()
		results := make(chan error, 2)
		for _, q := range []*queue.Queue{a, b} {
			go func() {
				_, err := q.Append(t.Context(), []event.Emit{emit("r", `"http"`)})
				results <- err
			}()
		}
		if err := errors.Join(<-results, <-results, <-committed); err != nil {
			t.Fatal(err)
		}
		appendOne(t, a, emit("r", `"http"`)) // the old one is below it, too
		got := texts(t, a, "r")[round*(n+4):]
		if len(got) != n+4 {
			t.Fatalf("round %d: %d events", round, len(got))
		}
		first := slices.Index(got, "1")
		for i := range n {
			if got[first+i] != strconv.Itoa(i+1) {
				t.Fatalf("round %d: %s in place of event %d of the transaction", round, got[first+i], i+1)
			}
		}
		if http := slices.Index(got, `"http"`); http < first {
			t.Errorf("round %d: an emit came %d places before the transaction's", round, first-http)
		}
	}
}

// Transactions that follow one another keep their order, even if the first one ends, and the second one begins and ends,
// in the middle of an append that moves others.
func TestTransactionsKeepTheirOrder(t *testing.T) {
	dsn := pgtest.Database(t)
	// move_staged stops here while the test holds the lock.
	sql(t, dsn, `ALTER FUNCTION culvert.ended_since RENAME TO ended_since_then`, `
		CREATE FUNCTION culvert.ended_since(seen pg_snapshot) RETURNS xid8[] LANGUAGE plpgsql STABLE AS $$
		DECLARE
		    ended xid8[] := culvert.ended_since_then(seen);
		    callers text;
		BEGIN
		    GET DIAGNOSTICS callers = PG_CONTEXT;
		    IF callers LIKE '%culvert.move_staged(%' THEN
		        PERFORM pg_advisory_xact_lock_shared(7);
		    END IF;
		    RETURN ended;
		END
		$$`)
	q := open(t, dsn, deaf)
	conn, other, holder := connect(t, dsn), connect(t, dsn), connect(t, dsn)
	first := must[pgx.Tx](t)(conn.Begin(t.Context()))
	if _, err := first.Exec(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', data => '"first"')`); err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", "0")) // it finds the transaction open
	stage(t, other, `room => 'r'`, 1)
	if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_lock(7)`); err != nil {
		t.Fatal(err)
	}
	stored := make(chan error, 1)
	go func() {
		_, err := q.Append(t.Context(), []event.Emit{emit("r", "2")})
		stored <- err
	}()
	until(t, "staged events are being moved", func() (waits bool) {
		err := other.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)`).Scan(&waits)
		return err == nil && waits
	})
	if err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', data => '"second"')`); err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_unlock(7)`); err != nil {
		t.Fatal(err)
	}
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", "3"))
	got := texts(t, q, "r")
	if i, j := slices.Index(got, `"first"`), slices.Index(got, `"second"`); i < 0 || j < i {
		t.Errorf("the log has %q", got)
	}
}

// A membership change that was asked for after a COMMIT comes after what the transaction emitted: a client that
// joins does not get it, one that leaves still does.
func TestMembersChangeAfterACommitBefore(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn := connect(t, dsn)
	start := q.Head()
	join(t, q, "r", "early")
	for i := range 8 {
		stage(t, conn, `room => 'r'`, 1+i*250)
		join(t, q, "r", fmt.Sprint("late", i))
		leave(t, q, "r", "early")
		join(t, q, "r", "early")
	}
	s := subscribe(t, q, queue.Interest{Client: client("early"), After: start})
	want := 0
	for i := range 8 {
		want += 1 + i*100
	}
	next(t, s, want)
	for i := range 8 {
		late := subscribe(t, q, queue.Interest{Client: client(fmt.Sprint("late", i)), After: start})
		appendOne(t, q, emit("*", `"mark"`))
		n := 0
		for j := i + 1; j < 8; j++ {
			n += 1 + j*250
		}
		if got := next(t, late, n+i+1); slices.Index(got, `"mark"`) != n {
			t.Errorf("late%d got %d events before the mark, want %d", i, slices.Index(got, `"mark"`), n)
		}
		late.Close()
	}
}

// A transaction emits far more than one append can move in time, to 100 rooms each: emits to its namespace wait
// or are refused, those to others are hardly delayed.
func TestALargeTransactionHoldsItsOwnNamespaceAlone(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn := connect(t, dsn)
	if _, err := conn.Exec(t.Context(), `
		SELECT culvert.emit(namespace => 'busy', event => 'e', data => to_jsonb(repeat('x', 4000)),
		                    rooms => (SELECT array_agg('r' || r) FROM generate_series(1, 100) r))
		  FROM generate_series(1, 400)`); err != nil { // 40,000 rows
		t.Fatal(err)
	}
	busy := emit("r1", `"after"`)
	busy.Namespace = mustParse(event.ParseNamespace, "busy")
	held := make(chan event.Offset, 1)
	go func() {
		for {
			r, err := q.Append(context.WithoutCancel(t.Context()), []event.Emit{busy})
			switch {
			case err == nil:
				held <- r[0].Cursor.Offset
				return
			case !errors.Is(err, event.ErrOverloaded): // waited too long; nothing was stored
				t.Error(err)
				close(held)
				return
			}
		}
	}()
	free := 0
	for {
		select {
		case at := <-held:
			b := must[event.Batch](t)(q.History(t.Context(), busy.Namespace, room("r1"), event.Client{}, event.Cursor{}, 1000))
			if len(b.Events) != 401 || b.Events[400].Offset != at {
				t.Errorf("%d events in the room, want 401 with the emit last, at %d", len(b.Events), at)
			}
			if free < 3 {
				t.Errorf("only %d emits to another namespace got through", free)
			}
			return
		default:
			appendOne(t, q, emit("r", "1"))
			free++
		}
	}
}

// Staged events that come without an end do not hold an emit for ever.
func TestEndlessSQLEmitsDoNotStarveAnEmit(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	conn := connect(t, dsn)
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_, _ = conn.Exec(ctx, `SELECT culvert.emit(room => 'r', event => 'e') FROM generate_series(1, 1500)`)
		}
	}()
	for range 10 {
		began := time.Now()
		if _, err := q.Append(t.Context(), []event.Emit{emit("r", "1")}); err != nil {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	}
	stop()
	<-ended
}

// However the application's transaction runs, exactly the events that it committed come, after its COMMIT.
func TestSQLEmitInEveryKindOfTransaction(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn, other := connect(t, dsn), connect(t, dsn)
	exec := func(c *pgx.Conn, sql ...string) {
		t.Helper()
		for _, stmt := range sql {
			if _, err := c.Exec(t.Context(), stmt); err != nil {
				t.Fatalf("%s: %v", stmt, err)
			}
		}
	}
	say := func(text string) string {
		return fmt.Sprintf(`SELECT culvert.emit(room => 'r', event => 'e', data => '%q', key => '%s')`, text, text)
	}
	var want []string
	for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
		s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
		// Two at once that do not write the same rows: both commit.
		exec(conn, `BEGIN ISOLATION LEVEL `+level, `SELECT 1`)
		exec(other, `BEGIN ISOLATION LEVEL `+level, `SELECT 1`)
		exec(conn, say("a "+level), `SAVEPOINT s`, say("undone "+level), `ROLLBACK TO s`, say("b "+level))
		exec(other, say("c "+level))
		exec(conn, `COMMIT`)
		next(t, s, 2)
		exec(other, `COMMIT`)
		next(t, s, 1)
		want = append(want, `"a `+level+`"`, `"b `+level+`"`, `"c `+level+`"`)
		// In a transaction whose snapshot is older than the key's first use, the repeat is found later.
		exec(conn, `BEGIN ISOLATION LEVEL `+level, `SELECT count(*) FROM pg_class`)
		exec(other, say("twice "+level))
		next(t, s, 1)
		exec(conn, say("twice "+level), `COMMIT`)
		exec(other, say("prepared "+level)) // no other event comes before this one
		next(t, s, 1)
		want = append(want, `"twice `+level+`"`, `"prepared `+level+`"`)
		exec(conn, `BEGIN ISOLATION LEVEL `+level, `SET LOCAL culvert.notify = off`, say("two "+level), `PREPARE TRANSACTION 'two'`)
		appendOne(t, q, emit("r", `"between"`))
		exec(other, `COMMIT PREPARED 'two'`)
		appendOne(t, q, emit("r", `"after"`))
		want = append(want, `"between"`, `"two `+level+`"`, `"after"`)
	}
	if got := texts(t, q, "r"); !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// Postgres takes statistics of culvert.staged at any time, and as a rule finds it empty. Events staged after
// that are moved no slower: with a plan made for one row, every row of the table was compared with all that
// were to be moved, and no namespace stored anything for a minute.
func TestALargeTransactionMovesWhateverStatisticsSay(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn, other := connect(t, dsn), connect(t, dsn)
	tx := must[pgx.Tx](t)(conn.Begin(t.Context()))
	const n = 10_000
	stage(t, tx.Conn(), `room => 'r'`, n)
	if _, err := other.Exec(t.Context(), `ANALYZE culvert.staged`); err != nil {
		t.Fatal(err)
	}
	var rows, pages int
	if err := other.QueryRow(t.Context(), `SELECT reltuples, relpages FROM pg_class WHERE oid = 'culvert.staged'::regclass`).Scan(&rows, &pages); err != nil {
		t.Fatal(err)
	}
	if rows != 0 || pages == 0 {
		t.Fatalf("the statistics say %d rows in %d pages, want 0 rows in at least one page", rows, pages)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("r", `"after"`))
	if got := texts(t, q, "r"); len(got) != n+1 || got[n] != `"after"` {
		t.Errorf("%d events in the room, want %d with the emit by HTTP at the end", len(got), n+1)
	}
}
