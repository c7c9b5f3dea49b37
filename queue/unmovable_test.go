package queue_test

import (
	"errors"
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

// Staged rows that cannot be moved into the log are set aside: the rows before and after them, and the emits of
// the instances, get into the log, in order.
func TestStagedRowsThatCannotBeMoved(t *testing.T) {
	rows := map[string]string{
		"a namespace":   `'No Namespace', ARRAY['r'], 'e', '1', NULL, NULL`,
		"no namespace":  `'', ARRAY['r'], 'e', '1', NULL, NULL`,
		"NULL of rooms": `'default', ARRAY['r', NULL], 'e', '1', NULL, NULL`,
		"a long room":   `'default', ARRAY(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i), 'e', '1', NULL, NULL`,
	}
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	for _, bad := range rows {
		sql(t, dsn,
			`SELECT culvert.emit(room => 'r', event => 'e', data => '1'); SELECT culvert.emit(room => 'r', event => 'e', data => '2');
			 INSERT INTO culvert.staged (namespace, rooms, event, data, key, hash) VALUES (`+bad+`);
			 SELECT culvert.emit(room => 'r', event => 'e', data => '3')`)
		if got := next(t, s, 3); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("the reader received %q", got)
		}
		appendOne(t, q, emit("r", "4"))
		if got := next(t, s, 1); !slices.Equal(got, []string{"4"}) {
			t.Errorf("the reader received %q", got)
		}
	}
	var aside, left int
	err := connect(t, dsn).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM culvert.unmovable WHERE error <> ''), (SELECT count(*) FROM culvert.staged)`).Scan(&aside, &left)
	if err != nil || aside != len(rows) || left != 0 {
		t.Errorf("%d rows are set aside and %d left, %v; want %d and none", aside, left, err, len(rows))
	}
}

// The append that sets a row aside stores its own emits, and confirms them.
func TestAnEmitComesWithARowThatCannotBeMoved(t *testing.T) {
	for name, order := range map[string][]string{
		"the last row": {"1", "2", "bad"}, "in the middle": {"1", "bad", "2"}, "the first row": {"bad", "1", "2"}, "the only row": {"bad"},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			q := open(t, dsn, func(o *queue.Options) { o.PollOnly, o.Poll = true, time.Hour })
			appendOne(t, q, emit("r", "0"))
			all := "BEGIN;"
			want := []string{"0"}
			for _, row := range order {
				if row == "bad" {
					all += `INSERT INTO culvert.staged (namespace, rooms, event, data) VALUES ('No Namespace', ARRAY['r'], 'e', '1');`
				} else {
					all += `SELECT culvert.emit(room => 'r', event => 'e', data => '` + row + `');`
					want = append(want, row)
				}
			}
			sql(t, dsn, all+"COMMIT")
			appendOne(t, q, emit("r", "3"))
			appendOne(t, q, emit("r", "4"))
			if got := texts(t, q, "r"); !slices.Equal(got, append(want, "3", "4")) {
				t.Errorf("the room has %q", got)
			}
		})
	}
}

// If a row in the middle of a transaction that takes several appends cannot be moved, the transaction's other
// events stay together, in order, and below what is emitted after it.
func TestARowThatCannotBeMovedAmidALargeTransaction(t *testing.T) {
	const n = 2_500
	for _, bad := range []int{1, 1_001, n} {
		dsn := pgtest.Database(t)
		q := open(t, dsn, quiet, func(o *queue.Options) { o.PollOnly, o.Poll = true, time.Hour })
		older := must[pgx.Tx](t)(connect(t, dsn).Begin(t.Context()))
		must[pgconn.CommandTag](t)(older.Exec(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', data => '"older"')`))
		sql(t, dsn, `BEGIN;
			SELECT culvert.emit(room => 'r', event => 'e', data => to_jsonb(i)) FROM generate_series(1, `+strconv.Itoa(bad)+`) i;
			UPDATE culvert.staged SET namespace = 'No Namespace' WHERE data = '`+strconv.Itoa(bad)+`';
			SELECT culvert.emit(room => 'r', event => 'e', data => to_jsonb(i)) FROM generate_series(`+strconv.Itoa(bad+1)+`, 2500) i;
			COMMIT`)
		appended := make(chan error, 3)
		for range cap(appended) {
			go func() {
				_, err := q.Append(t.Context(), []event.Emit{emit("r", `"http"`)})
				appended <- err
			}()
		}
		if err := older.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(<-appended, <-appended, <-appended); err != nil {
			t.Fatal(err)
		}
		appendOne(t, q, emit("r", `"last"`))
		got := texts(t, q, "r")
		if len(got) != n-1+1+3+1 || got[len(got)-1] != `"last"` {
			t.Fatalf("row %d: %d events, the last is %s", bad, len(got), got[len(got)-1])
		}
		first := slices.IndexFunc(got, func(s string) bool { return s[0] != '"' })
		for i := 1; i <= n; i++ {
			if i == bad {
				continue
			}
			if got[first] != strconv.Itoa(i) {
				t.Fatalf("row %d: %s in place of %d", bad, got[first], i)
			}
			first++
		}
	}
}

// Moving rows one by one is slow: an append does it for at most a second, because all emits wait.
func TestMovingOneByOneLetsOthersIn(t *testing.T) {
	dsn := pgtest.Database(t)
	sql(t, dsn, `SELECT culvert.open('1 hour')`,
		`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END $$`,
		`CREATE TRIGGER slow BEFORE INSERT ON culvert.events FOR EACH ROW EXECUTE FUNCTION slow()`,
		`SELECT culvert.emit(room => 'r', event => 'e') FROM generate_series(1, 50)`,
		`INSERT INTO culvert.staged (namespace, rooms, event, data) VALUES ('No Namespace', ARRAY['r'], 'e', '1')`)
	var moved int
	var more bool
	err := connect(t, dsn).QueryRow(t.Context(),
		`SELECT c.moved, c.more FROM culvert.lock_log() l, culvert.move_staged_all('1:1:', '0', 0, 1000, '1 hour', l.carrying, 1000, 8000000) c`).Scan(&moved, &more)
	if err != nil || moved == 0 || moved >= 50 || !more {
		t.Errorf("%d of 50 rows are moved at once, more: %v, %v", moved, more, err)
	}
}

// If the counter is behind the events, as after tables were restored by hand, staged rows are not to blame:
// they stay, and the append fails.
func TestStagedRowsOutliveACounterThatIsBehind(t *testing.T) {
	dsn := pgtest.Database(t) // without an instance, which would notice the counter
	sql(t, dsn, `SELECT culvert.open('24 hours')`, `SELECT culvert.emit(room => 'r', event => 'e')`, appendNone,
		`SELECT setval('culvert.offsets', (SELECT max("offset") FROM culvert.events) - 1)`, `SELECT culvert.emit(room => 'r', event => 'e')`)
	conn := connect(t, dsn)
	var pg *pgconn.PgError
	if _, err := conn.Exec(t.Context(), appendNone); !errors.As(err, &pg) || pg.Code != "23505" {
		t.Errorf("append: %v", err)
	}
	var aside, left int
	err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM culvert.unmovable), (SELECT count(*) FROM culvert.staged)`).Scan(&aside, &left)
	if err != nil || aside != 0 || left != 1 {
		t.Errorf("%d set aside, %d left, %v", aside, left, err)
	}
}

// An event that takes longer to be moved than an append may is tried alone, set aside and logged; emits continue
// meanwhile, and other staged events come after it.
func TestAnEventThatTakesTooLongIsSetAside(t *testing.T) {
	for name, emits := range map[string]bool{"beside emits": true, "with nothing else to do": false} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			q := open(t, dsn, quiet, func(o *queue.Options) { o.AppendTimeout = 4 * time.Second })
			sql(t, dsn,
				`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$`,
				`CREATE TRIGGER slow BEFORE INSERT ON culvert.events FOR EACH ROW WHEN (NEW.event = 'slow') EXECUTE FUNCTION slow()`,
				`SELECT culvert.emit(namespace => 'busy', room => 'r', event => 'slow')`,
				`SELECT culvert.emit(namespace => 'free', room => 'r', event => 'e')`)
			conn := connect(t, dsn)
			found := func(query string) bool {
				n, err := count(t, conn, query)
				if err != nil {
					t.Fatal(err)
				}
				return n > 0
			}
			stored, failed := 0, 0
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			deadline := time.Now().Add(2 * time.Minute)
			for !found(`SELECT count(*) FROM culvert.unmovable WHERE event = 'slow' AND error LIKE '%longer%'`) ||
				!found(`SELECT count(*) FROM culvert.events WHERE event = 'e'`) {
				if <-tick.C; time.Now().After(deadline) {
					t.Fatalf("the slow event was not set aside; %d emits were stored, %d failed", stored, failed)
				}
				if !emits {
					continue
				}
				if _, err := q.Append(t.Context(), []event.Emit{emit("r", "1")}); err != nil {
					failed++
				} else {
					stored++
				}
			}
			if emits && (failed > 1 || stored < 3) {
				t.Errorf("beside an event that cannot be moved %d emits were stored and %d failed", stored, failed)
			}
		})
	}
}
