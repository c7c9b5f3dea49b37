package queue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

const (
	generation = `(SELECT generation FROM culvert.log)`
	appendNone = `SELECT FROM culvert.append('1:1:', '0', 0, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', ` + generation + `, '{}', NULL, '{}', '{}', '{}', 1000, 1000000)`
)

// A transaction that waits for a lock holds none that comes later in the order of locks: see append.sql. "b"
// comes before "z" in that order, and the calls here name them the other way round.
func TestWhoWaitsHoldsNothingThatComesLater(t *testing.T) {
	dsn := pgtest.Database(t)                      // without an instance, which would do some of this by itself
	sql(t, dsn, `SELECT culvert.open('24 hours')`, // the log takes this copy of the template as its own
		`INSERT INTO culvert.namespaces (deleted_at, name) VALUES (now(), NULL)`,
		`INSERT INTO culvert.clients (namespace_id, name, cursor) SELECT n.id, c, 0 FROM culvert.namespaces n, unnest(ARRAY['z', 'b']) c`,
		`INSERT INTO culvert.leases SELECT id, 'i', now() FROM culvert.clients WHERE namespace_id = 1`,
		`INSERT INTO culvert.keys SELECT 1, k, '', 0, now() - interval '1 year' FROM unnest(ARRAY['z', 'b']) k`)
	for name, c := range map[string]struct{ prepare, hold, run, later string }{
		"ack": {
			hold:  `SELECT FROM culvert.clients WHERE namespace_id = 1 AND name = 'b' FOR UPDATE`,
			run:   `SELECT culvert.ack('{1,1}', '{z,b}', '{0,0}', ` + generation + `)`,
			later: `SELECT FROM culvert.clients WHERE namespace_id = 1 AND name = 'z' FOR UPDATE`,
		},
		"ack of new clients": {
			hold:  `INSERT INTO culvert.clients (namespace_id, name, cursor) VALUES (1, 'new b', 0)`,
			run:   `SELECT culvert.ack('{1,1}', '{new z,new b}', '{0,0}', ` + generation + `)`,
			later: `INSERT INTO culvert.clients (namespace_id, name, cursor) VALUES (1, 'new z', 0)`,
		},
		"forget": {
			hold:  `SELECT FROM culvert.clients WHERE namespace_id = 1 AND name = 'b' FOR UPDATE`,
			run:   `SELECT culvert.move('{forget,forget}', '{1,1}', '{z,b}', '{"",""}', '{0,0}', '{f,f}', ` + generation + `)`,
			later: `SELECT FROM culvert.clients WHERE namespace_id = 1 AND name = 'z' FOR UPDATE`,
		},
		"join of new clients": {
			hold:  `INSERT INTO culvert.clients (namespace_id, name, cursor) VALUES (1, 'new b', 0)`,
			run:   `SELECT culvert.move('{join,join}', '{1,1}', '{new z,new b}', '{r,r}', '{0,0}', '{f,f}', ` + generation + `)`,
			later: `INSERT INTO culvert.clients (namespace_id, name, cursor) VALUES (1, 'new z', 0)`,
		},
		"join of new rooms": {
			hold:  `INSERT INTO culvert.rooms (namespace_id, name) VALUES (1, 'b')`,
			run:   `SELECT culvert.move('{join,join}', '{1,1}', '{b,b}', '{z,b}', '{0,0}', '{f,f}', ` + generation + `)`,
			later: `INSERT INTO culvert.rooms (namespace_id, name) VALUES (1, 'z')`,
		},
		"join of a new client into a new room": {
			hold:  `INSERT INTO culvert.clients (namespace_id, name, cursor) VALUES (1, 'new b', 0)`,
			run:   `SELECT culvert.move('{join,join}', '{1,1}', '{b,new b}', '{z,z}', '{0,0}', '{f,f}', ` + generation + `)`,
			later: `INSERT INTO culvert.rooms (namespace_id, name) VALUES (1, 'z')`,
		},
		"staged events for new rooms": {
			prepare: `SELECT culvert.emit(room => 'z', event => 'e'), culvert.emit(room => 'b', event => 'e')`,
			hold:    `INSERT INTO culvert.rooms (namespace_id, name) VALUES (1, 'b')`,
			run:     appendNone,
			later:   `INSERT INTO culvert.rooms (namespace_id, name) VALUES (1, 'z')`,
		},
		"staged events with keys that are known": {
			prepare: `SELECT culvert.emit(event => 'e', key => 'z'), culvert.emit(event => 'e', key => 'b')`,
			hold:    `SELECT FROM culvert.keys WHERE key = 'b' FOR UPDATE`,
			run:     appendNone,
			later:   `SELECT FROM culvert.keys WHERE key = 'z' FOR UPDATE`,
		},
		"events with keys that are known": {
			prepare: `INSERT INTO culvert.rooms (namespace_id, name) VALUES (1, '*') ON CONFLICT DO NOTHING`,
			hold:    `SELECT FROM culvert.keys WHERE key = 'b' FOR UPDATE`,
			run: `SELECT FROM culvert.append('1:1:', '0', 0, ARRAY(SELECT id FROM culvert.rooms, generate_series(1, 2) WHERE name = '*'), '{}', '{}', '{}', '{e,e}', '{1,1}', '{f,f}', '{"",""}', '{"",""}',
			      '{1,1}', '{z,b}', ARRAY['a', 'b']::bytea[], '{1,2}', ` + generation + `, '{}', NULL, '{"",""}', '{default}', '{0}', 1000, 1000000)`,
			later: `SELECT FROM culvert.keys WHERE key = 'z' FOR UPDATE`,
		},
		"lease": {
			hold:  `SELECT FROM culvert.clients WHERE namespace_id = 1 AND name = 'b' FOR UPDATE`,
			run:   `SELECT culvert.lease('i', '{1,1}', '{z,b}', '{30 s,30 s}')`,
			later: `SELECT FROM culvert.clients WHERE namespace_id = 1 AND name = 'z' FOR UPDATE`,
		},
		"leases that ran out": {
			hold:  `SELECT FROM culvert.clients WHERE namespace_id = 1 AND name = 'b' FOR UPDATE`,
			run:   `SELECT culvert.expire_leases()`,
			later: `SELECT FROM culvert.clients WHERE namespace_id = 1 AND name = 'z' FOR UPDATE`,
		},
		"what a deleted namespace left": {
			hold:  `SELECT FROM culvert.clients WHERE namespace_id > 1 AND name = 'b' FOR UPDATE`,
			run:   `SELECT culvert.sweep_namespaces(100)`,
			later: `SELECT FROM culvert.clients WHERE namespace_id > 1 AND name = 'z' FOR UPDATE`,
		},
		"the log before the tables of slices": {
			hold:  `SELECT FROM culvert.log FOR UPDATE`,
			run:   `SELECT culvert.next_slice()`,
			later: `LOCK TABLE culvert.events`,
		},
		"prune and intervals that are over": {
			prepare: `DO $$ BEGIN
				PERFORM setval('culvert.offsets', 100); -- sequences are not rolled back
				PERFORM culvert.move('{join,leave}', '{1,1}', '{gone,gone}', '{r,r}', '{0,0}', '{f,f}', ` + generation + `);
				UPDATE culvert.clients SET cursor = 1000000 WHERE name = 'gone';
				PERFORM culvert.rotate('0', 1);
			END $$`,
			hold:  `SELECT FROM culvert.events`,
			run:   `SELECT culvert.prune('0', 0)`,
			later: `SELECT FROM culvert.memberships m WHERE m.until IS NOT NULL FOR UPDATE`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.prepare != "" {
				sql(t, dsn, `DELETE FROM culvert.staged`, c.prepare)
			}
			holder, runner, prober := connect(t, dsn), connect(t, dsn), connect(t, dsn)
			execute(t, holder, `BEGIN; `+c.hold)
			execute(t, runner, `BEGIN`)
			ran := make(chan error, 1)
			go func() {
				_, err := runner.Exec(context.Background(), c.run)
				ran <- err
			}()
			until(t, "it waits", func() bool {
				var waits bool
				err := prober.QueryRow(t.Context(), `SELECT $1 = ANY (pg_blocking_pids($2))`, holder.PgConn().PID(), runner.PgConn().PID()).Scan(&waits)
				return err == nil && waits
			})
			if _, err := prober.Exec(t.Context(), `BEGIN; SET LOCAL lock_timeout = '50ms'; `+c.later); err != nil {
				t.Errorf("while the statement waits, it holds a lock that comes later: %v", err)
			}
			execute(t, prober, `ROLLBACK`)
			execute(t, holder, `ROLLBACK`)
			if err := receive(t, ran); err != nil {
				t.Error(err)
			}
			execute(t, runner, `ROLLBACK`)
		})
	}
}

func execute(t testing.TB, conn interface {
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
}, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// The check of a foreign key locks its row FOR KEY SHARE, in no fixed order.
func TestForeignKeysHoldNobodyUp(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	must[event.Cursor](t)(q.Ack(t.Context(), ns, client("bob"), q.Head()))
	ask := emit("*", "1")
	ask.Reply = event.Ask{Timeout: time.Minute, Count: 1}
	to := appendOne(t, q, ask).Cursor.Offset
	holder := connect(t, dsn)
	execute(t, holder, `BEGIN; SELECT FROM culvert.clients FOR KEY SHARE; SELECT FROM culvert.asks FOR KEY SHARE`)
	sql(t, dsn, `SET lock_timeout = '10s'; SELECT culvert.lease('i', '{1}', '{bob}', '{1 us}'); SELECT culvert.expire_leases()`)
	must[event.Cursor](t)(q.Ack(t.Context(), ns, client("bob"), q.Head()))
	must[bool](t)(q.Reply(t.Context(), queue.Reply{Namespace: ns, To: to, From: client("bob"), Data: data("1")}))
}

// Retention leaves a locked row for the next time.
func TestClearingUpWaitsForNobody(t *testing.T) {
	dsn := pgtest.Database(t)
	sql(t, dsn,
		`INSERT INTO culvert.keys SELECT 1, k, '', 0, now() - interval '1 year' FROM unnest(ARRAY['free', 'held']) k`,
		`INSERT INTO culvert.asks SELECT o, 1, NULL, '{}', NULL, now() - interval '1 year', NULL, 1 FROM generate_series(1, 2) o`)
	holder := connect(t, dsn)
	execute(t, holder, `BEGIN; SELECT FROM culvert.keys WHERE key = 'held' FOR UPDATE; SELECT FROM culvert.asks WHERE "offset" = 1 FOR UPDATE`)
	open(t, dsn)
	conn := connect(t, dsn)
	left := func() (n int) {
		err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM culvert.keys) + (SELECT count(*) FROM culvert.asks)`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	until(t, "what is free is gone", func() bool { return left() == 2 })
}

// A statement that Postgres rolled back in favor of another transaction is repeated, a few times.
func TestWhatGaveWayIsDoneAgain(t *testing.T) {
	for code, again := range map[string]bool{"40P01": true, "40001": true, "55P03": false} {
		t.Run(code, func(t *testing.T) {
			dsn := pgtest.Database(t)
			q := open(t, dsn)
			join(t, q, "r", "bob")
			// Sequences are not rolled back.
			sql(t, dsn, `CREATE SEQUENCE public.tries`)
			for _, table := range []string{"clients", "keys", "memberships", "replies"} {
				atCommit(t, dsn, table, `IF nextval('public.tries') < 3 THEN RAISE EXCEPTION 'give way' USING ERRCODE = '`+code+`'; END IF`)
			}
			keyed := emit("*", "1")
			keyed.Key = key("k")
			asks := emit("*", "1")
			asks.Reply = event.Ask{Timeout: time.Minute, Count: 9}
			to := appendOne(t, q, asks).Cursor.Offset
			for what, do := range map[string]func() error{
				"ack":    func() error { _, err := q.Ack(t.Context(), ns, client("bob"), q.Head()); return err },
				"append": func() error { _, err := q.Append(t.Context(), []event.Emit{keyed}); return err },
				"leave":  func() error { _, err := q.Leave(t.Context(), ns, room("r"), client("bob")); return err },
				"reply": func() error {
					_, err := q.Reply(t.Context(), queue.Reply{Namespace: ns, To: to, From: client("bob"), Data: data("1")})
					return err
				},
			} {
				sql(t, dsn, `SELECT setval('public.tries', 1, false)`)
				if err := do(); (err == nil) != again || err != nil && !errors.Is(err, event.ErrUnavailable) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// Retention holds the row of the log while it waits for the tables of slices: a transaction that holds one of
// these tables never waits for that row.
func TestTheLogIsLockedBeforeItsTables(t *testing.T) {
	for name, c := range map[string]struct {
		before    []string
		statement string
	}{
		"a new run": {nil, `SELECT culvert.restored()`},
		"rows moved one by one": {
			[]string{
				`INSERT INTO culvert.staged (namespace, rooms, event, data) VALUES ('default', ARRAY['r'], 'e', '1')`,
				`INSERT INTO culvert.staged (namespace, rooms, event, data) VALUES ('default', ARRAY['r'], 'e', '1'), ('No Namespace', ARRAY['r'], 'e', '1')`,
			},
			`SELECT c.* FROM culvert.lock_log() l, culvert.move_staged_all('1:1:', '0', 0, 1000, '1 hour', l.carrying, 10, 1000000) c`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			sql(t, dsn, append([]string{`SELECT culvert.open('24 hours')`}, c.before...)...)
			holder, waiter, looker := connect(t, dsn), connect(t, dsn), connect(t, dsn)
			tx := must[pgx.Tx](t)(holder.Begin(t.Context()))
			must[pgconn.CommandTag](t)(tx.Exec(t.Context(), `UPDATE culvert.log SET floor = floor`))
			done := make(chan error, 1)
			pid := waiter.PgConn().PID()
			go func() {
				_, err := waiter.Exec(context.WithoutCancel(t.Context()), c.statement)
				done <- err
			}()
			until(t, "the statement waits for the row of the log", func() bool {
				return must[int](t)(count(t, looker, `SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted`, int64(pid))) > 0
			})
			held := must[[]string](t)(pgx.CollectRows(must[pgx.Rows](t)(looker.Query(t.Context(),
				`SELECT relation::regclass::text FROM pg_locks WHERE pid = $1 AND granted AND relation::regclass::text ~ '^(culvert[.])?events'`, int64(pid))), pgx.RowTo[string]))
			if len(held) > 0 {
				t.Errorf("the statement waits for the row of the log, and holds %v", held)
			}
			if err := errors.Join(tx.Rollback(t.Context()), <-done); err != nil {
				t.Error(err)
			}
		})
	}
}
