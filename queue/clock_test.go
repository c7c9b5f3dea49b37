package queue_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// life is the time of a database between two restores of a backup: its positions at the beginning and at the
// end.
type life struct{ first, last int64 }

// lives restores one backup, which is the database as it is, n times.
func lives(t *testing.T, dsn string, n int, live func(t *testing.T, tx pgx.Tx)) (all []life) {
	t.Helper()
	conn := connect(t, dsn)
	var counter int64
	if err := conn.QueryRow(t.Context(), `SELECT last_value FROM culvert.offsets`).Scan(&counter); err != nil {
		t.Fatal(err)
	}
	for range n {
		var l life
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRow(t.Context(), `SELECT first FROM culvert.restored()`).Scan(&l.first); err != nil {
			t.Fatal(err)
		}
		live(t, tx)
		if err := tx.QueryRow(t.Context(), `SELECT last_value FROM culvert.offsets`).Scan(&l.last); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(t.Context()); err != nil { // undoes all but the counter
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `SELECT setval('culvert.offsets', $1)`, counter); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func inTx(t *testing.T, tx pgx.Tx, sql string) {
	t.Helper()
	if _, err := tx.Exec(t.Context(), sql); err != nil {
		t.Fatal(sql, err)
	}
}

// restart assigns some offsets and lets the log find that Postgres was restarted.
func restart(t *testing.T, tx pgx.Tx) {
	t.Helper()
	inTx(t, tx, `SELECT setval('culvert.offsets', last_value + 10) FROM culvert.offsets`)
	inTx(t, tx, restarted)
	inTx(t, tx, `SELECT culvert.lock_log()`)
}

func checkApart(t *testing.T, all []life) {
	t.Helper()
	for i, l := range all[1:] {
		if l.first <= all[i].last {
			t.Errorf("life %d continues at %d, but the one before it got to %d", i+2, l.first, all[i].last)
		}
	}
}

// Even if slices are opened faster than every 10 minutes, each restore of one backup continues above all offsets
// that were assigned after the restore before it.
func TestShortSlicesDoNotOvertakeTheClock(t *testing.T) {
	dsn := pgtest.Database(t)
	sql(t, dsn, `SELECT culvert.rotate('1 second', 1000)`, restarted, `SELECT culvert.lock_log()`)
	checkApart(t, lives(t, dsn, 4, func(t *testing.T, tx pgx.Tx) {
		var opened, now int
		if err := tx.QueryRow(t.Context(), `SELECT slice FROM culvert.log`).Scan(&opened); err != nil {
			t.Fatal(err)
		}
		restart(t, tx)
		inTx(t, tx, `SELECT setval('culvert.offsets', last_value + 10) FROM culvert.offsets`)
		until(t, "the next slice is opened", func() bool {
			err := tx.QueryRow(t.Context(), `SELECT culvert.rotate('1 second', 1000)`).Scan(&now)
			return err != nil || now > opened
		})
		restart(t, tx)
	}))
}

// The clock was set back by an hour before the backup was restored.
func TestOffsetsWhereTheClockWasSetBack(t *testing.T) {
	dsn := pgtest.Database(t)
	sql(t, dsn, restarted, `SELECT culvert.lock_log()`,
		`UPDATE culvert.runs SET began = began + interval '1 hour' WHERE last IS NULL`,
		`SELECT setval('culvert.offsets', last_value + 6000000000) FROM culvert.offsets`)
	all := lives(t, dsn, 4, func(t *testing.T, tx pgx.Tx) {
		restart(t, tx)
		restart(t, tx)
	})
	checkApart(t, all)
	if n := (all[3].last - all[0].first) / 1_000_000_000; n > 2 {
		t.Errorf("the numbers of %d slices are used up", n)
	}
}

// A clock that is behind by more than a day is not used: restores of one backup then continue at different places,
// which may be in any order.
func TestOffsetsWhereTheClockIsWrong(t *testing.T) {
	dsn := pgtest.Database(t)
	const base = 500_000 * 1_000_000_000
	sql(t, dsn, `SELECT setval('culvert.offsets', 500000 * 1000000000::bigint)`,
		`UPDATE culvert.runs SET began = began + interval '10 days' WHERE last IS NULL`)
	var firsts []int64
	for _, l := range lives(t, dsn, 3, func(*testing.T, pgx.Tx) {}) {
		if l.first < base+1_000_000_000_000 {
			t.Errorf("the restored log continues at %d after %d", l.first, base)
		}
		firsts = append(firsts, l.first)
	}
	if slices.Sort(firsts); firsts[0] == firsts[1] || firsts[1] == firsts[2] {
		t.Errorf("several continue at %v", firsts)
	}
}
