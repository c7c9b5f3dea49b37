package queue_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// owner offers batches as an instance does, without one.
type owner struct {
	t    *testing.T
	conn *pgx.Conn
}

type offer struct {
	at pgtype.Timestamptz
	id pgtype.UUID
}

// offer offers an event for a room with id 1. The append lock must be taken.
func (o owner) offer(data, expires string) (made offer) {
	o.t.Helper()
	err := o.conn.QueryRow(o.t.Context(), `SELECT at, id FROM culvert.append_or_offer('1:1:', '0', 0, '{1}', '{}', '{}', '{}', '{e}', ARRAY[$1], '{f}', '{""}', '{""}',
		'{}', '{}', '{}', '{}', `+generation+`, '{0}', NULL, '{}', '{default}', '{0}', 1000, 1000000, '{1,1,100}', '{2000,2000,2000000}', $2, 1)`, data, expires).Scan(&made.at, &made.id)
	if err != nil || !made.id.Valid {
		o.t.Fatal(made, err)
	}
	return made
}

func (o owner) settle(made offer) (state string, head int64, byOther bool) {
	o.t.Helper()
	err := o.conn.QueryRow(o.t.Context(), settleOffer, made.at, made.id).Scan(&state, &head, &byOther)
	if err != nil {
		o.t.Fatal(err)
	}
	return state, head, byOther
}

const settleOffer = `SELECT state, coalesce((result).head, 0), coalesce(by_other, false)
	FROM culvert.settle_offer($1, $2, 1000, 1000000, '{2000,2000,2000000}', 1)`

func owners(t *testing.T) (dsn string, a, b owner) {
	dsn = pgtest.Database(t)
	sql(t, dsn, `SELECT culvert.open('24 hours')`, `SELECT culvert.lock_log()`, `INSERT INTO culvert.rooms (namespace_id, name) VALUES (1, 'r')`)
	return dsn, owner{t, connect(t, dsn)}, owner{t, connect(t, dsn)}
}

func storedData(t *testing.T, dsn string) string {
	t.Helper()
	rows := must[pgx.Rows](t)(connect(t, dsn).Query(t.Context(), `SELECT data FROM culvert.events ORDER BY "offset"`))
	return strings.Join(must[[]string](t)(pgx.CollectRows(rows, pgx.RowTo[string])), " ")
}

// What a dead instance has offered is appended once, by whoever appends next, and only in its time.
func TestOfferOfADeadInstance(t *testing.T) {
	dsn, dead, b := owners(t)
	release := holdLog(t, dsn)
	late := dead.offer(`"late"`, "50 ms")
	dead.offer(`"dead"`, "8 s")
	mine, second := b.offer(`"b"`, "8 s"), b.offer(`"c"`, "8 s")
	time.Sleep(100 * time.Millisecond)
	release()
	if err := dead.conn.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if state, _, byOther := b.settle(mine); state != "settled" || byOther {
		t.Errorf("its own batch: %s, by another: %v", state, byOther)
	}
	if state, _, byOther := b.settle(second); state != "settled" || !byOther {
		t.Errorf("the batch that was appended with it: %s, by another: %v", state, byOther)
	}
	release = holdLog(t, dsn)
	again := b.offer(`"d"`, "8 s")
	release()
	b.settle(again)
	if got := storedData(t, dsn); got != `"b" "dead" "c" "d"` {
		t.Errorf("the log has %s", got)
	}
	if state, _, _ := b.settle(late); state != "gone" {
		t.Errorf("an offer after its time is %s", state)
	}
	// Retention deletes what nobody waits for.
	sql(t, dsn, `UPDATE culvert.offers SET until = clock_timestamp() - interval '1 s'`)
	open(t, dsn)
	c := connect(t, dsn)
	until(t, "the remains are deleted", func() bool {
		return must[int](t)(count(t, c, `SELECT count(*) FROM culvert.offers`)) == 0
	})
}

// The holder of the lock is terminated before its commit: owners append what it had appended.
func TestHolderDiesBeforeItsCommit(t *testing.T) {
	dsn, a, b := owners(t)
	release := holdLog(t, dsn)
	first, second := a.offer(`"a"`, "8 s"), b.offer(`"b"`, "8 s")
	release()
	execute(t, a.conn, `BEGIN`)
	if state, _, _ := a.settle(first); state != "settled" {
		t.Fatal(state)
	}
	answered := make(chan bool, 1)
	go func() {
		_, _, byOther := b.settle(second)
		answered <- byOther
	}()
	probe := connect(t, dsn)
	until(t, "the other owner waits", func() bool {
		return must[int](t)(count(t, probe, `SELECT count(*) FROM pg_locks WHERE relation = 'culvert.append_lock'::regclass AND NOT granted AND pid = $1`, b.conn.PgConn().PID())) == 1
	})
	must[int](t)(count(t, probe, `SELECT count(pg_terminate_backend($1))`, a.conn.PgConn().PID()))
	if receive(t, answered) {
		t.Error("the owner got a result that was rolled back")
	}
	// The dead one's batch was offered in time, so its neighbour has appended it, too: once.
	if got := storedData(t, dsn); got != `"b" "a"` {
		t.Errorf("the log has %s", got)
	}
	a = owner{t, connect(t, dsn)}
	if state, _, byOther := a.settle(first); state != "settled" || !byOther {
		t.Errorf("its batch is %s", state)
	}
}

// An owner whose append has failed withdraws its offer. What it cannot withdraw any more has a result.
func TestWithdrawnOfferIsNotAppended(t *testing.T) {
	dsn, a, b := owners(t)
	release := holdLog(t, dsn)
	first, second := a.offer(`"a"`, "8 s"), b.offer(`"b"`, "8 s")
	release()
	withdraw := func(o offer) int64 {
		return must[interface{ RowsAffected() int64 }](t)(a.conn.Exec(t.Context(), `DELETE FROM culvert.offers o WHERE o.at = $1 AND o.id = $2 AND (o.waits OR o.refused)`, o.at, o.id)).RowsAffected()
	}
	// The other instance is in the middle of appending it.
	sql(t, dsn, `CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NEW; END $$`,
		`CREATE TRIGGER wait BEFORE INSERT ON culvert.events FOR EACH ROW WHEN (NEW.data = '"a"') EXECUTE FUNCTION wait()`)
	gate := connect(t, dsn)
	execute(t, gate, `SELECT pg_advisory_lock(77)`)
	appended, gone := make(chan bool, 1), make(chan int64, 1)
	go func() {
		b.settle(second) // appends both
		appended <- true
	}()
	until(t, "the offer is being appended", func() bool {
		return must[int](t)(count(t, gate, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted`)) == 1
	})
	go func() { gone <- withdraw(first) }()
	time.Sleep(100 * time.Millisecond)
	execute(t, gate, `SELECT pg_advisory_unlock(77)`)
	receive(t, appended)
	if receive(t, gone) != 0 {
		t.Error("an offer is withdrawn that was appended")
	}
	if state, head, byOther := a.settle(first); state != "settled" || head == 0 || !byOther {
		t.Errorf("it is %s", state)
	}
	release = holdLog(t, dsn)
	first, second = a.offer(`"no"`, "8 s"), b.offer(`"yes"`, "8 s")
	release()
	if withdraw(first) != 1 {
		t.Error("the offer cannot be withdrawn")
	}
	b.settle(second)
	if got := storedData(t, dsn); got != `"b" "a" "yes"` {
		t.Errorf("the log has %s", got)
	}
}
