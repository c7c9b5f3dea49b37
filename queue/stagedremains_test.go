package queue_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// stagedReads returns how many blocks of culvert.staged and its indexes, and how many entries of the indexes,
// were read. Postgres counts them a second late.
func stagedReads(t testing.TB, conn *pgx.Conn) (blocks, entries int64) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `
		SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read,
		       (SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = s.relid)
		  FROM pg_statio_user_tables s WHERE schemaname = 'culvert' AND relname = 'staged'`).Scan(&blocks, &entries)
	if err != nil {
		t.Fatal(err)
	}
	return blocks, entries
}

// appendFor appends for a while, and returns how often.
func appendFor(t testing.TB, q *queue.Queue, d time.Duration) (n int64) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		appendOne(t, q, emit("r", "1"))
	}
	return n
}

// While any transaction of the server stays open, Postgres cannot remove what was moved out of culvert.staged.
// Appends do not scan it: else they would get slower with every event emitted from SQL.
func TestAppendsDoNotWalkOverWhatWasMoved(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn, other := connect(t, dsn), connect(t, dsn)
	tx := must[pgx.Tx](t)(other.Begin(t.Context()))
	if _, err := tx.Exec(t.Context(), `SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	const rounds, n = 40, 300
	for range rounds {
		stage(t, conn, `namespace => 'sql', room => 'r'`, n)
	}
	waitUntilMoved(t, q, "sql")
	// The autovacuum daemon does so now and then. Each plan is then made for an empty table.
	sql(t, dsn, `ANALYZE culvert.staged`)
	appendFor(t, q, 2*time.Second) // until Postgres has counted what came before
	before, _ := stagedReads(t, conn)
	appends := appendFor(t, q, 3*time.Second)
	after, _ := stagedReads(t, conn)
	if each := (after - before) / appends; each > 50 {
		t.Errorf("an append looks at %d blocks of culvert.staged after %d events were moved", each, rounds*n)
	}
	if got := len(textsOf(t, q, "sql", "r")); got != rounds*n {
		t.Errorf("%d events in the room, want %d", got, rounds*n)
	}
}

// Moving a large transaction does not scan the part of it that was moved already, either.
func TestALargeTransactionIsReadOnce(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn, other := connect(t, dsn), connect(t, dsn)
	tx := must[pgx.Tx](t)(other.Begin(t.Context()))
	if _, err := tx.Exec(t.Context(), `SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	const n = 30_000
	stage(t, conn, `namespace => 'sql', room => 'r'`, n)
	waitUntilMoved(t, q, "sql")
	appendFor(t, q, 2*time.Second) // until Postgres has counted it
	_, entries := stagedReads(t, conn)
	if entries > 6*n {
		t.Errorf("%d entries were read to move %d events", entries, n)
	}
	if got := len(textsOf(t, q, "sql", "r")); got != n {
		t.Errorf("%d events in the room, want %d", got, n)
	}
}

// What an open transaction has staged cannot be moved, and appends do not read it.
func TestAppendsDoNotLookAtWhatIsStagedInOpenTransactions(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn, other := connect(t, dsn), connect(t, dsn)
	tx := must[pgx.Tx](t)(other.Begin(t.Context()))
	const n = 10_000
	if _, err := tx.Exec(t.Context(), `SELECT count(culvert.emit(namespace => 'sql', room => 'r', event => 'e', data => '1')) FROM generate_series(1, $1)`, n); err != nil {
		t.Fatal(err)
	}
	appendFor(t, q, 2*time.Second) // until Postgres has counted what came before
	_, before := stagedReads(t, conn)
	appends := appendFor(t, q, 3*time.Second)
	_, after := stagedReads(t, conn)
	if each := (after - before) / appends; each > 50 {
		t.Errorf("an append reads %d entries of culvert.staged while %d events are staged in an open transaction", each, n)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitUntilMoved(t, q, "sql")
	if got := len(textsOf(t, q, "sql", "r")); got != n {
		t.Errorf("%d events in the room, want %d", got, n)
	}
}

// waitUntilMoved emits an event, which comes after all that is staged in the namespace.
func waitUntilMoved(t testing.TB, q *queue.Queue, space string) {
	t.Helper()
	e := emit("after", "1")
	e.Namespace = mustParse(event.ParseNamespace, space)
	appendOne(t, q, e)
}

// textsOf returns the same as texts, for another namespace.
func textsOf(t testing.TB, q *queue.Queue, space, r string) (got []string) {
	t.Helper()
	var at event.Cursor
	for more := true; more; {
		b := must[event.Batch](t)(q.History(t.Context(), mustParse(event.ParseNamespace, space), room(r), event.Client{}, at, 1_000))
		for _, e := range b.Events {
			got = append(got, e.Data)
		}
		at, more = b.Cursor, b.More
	}
	return got
}
