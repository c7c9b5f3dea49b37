package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
	"github.com/culvertmq/culvert/queue/registry"
)

// oneOf is a DSN that leads to whichever of two servers answers, the first one first.
func oneOf(t *testing.T, first, second string) string {
	t.Helper()
	one, err := pgx.ParseConfig(first)
	if err != nil {
		t.Fatal(err)
	}
	two, err := pgx.ParseConfig(second)
	if err != nil {
		t.Fatal(err)
	}
	return "host=" + one.Host + "," + two.Host + " port=5432,5432 user=" + one.User + " dbname=" + one.Database
}

func parent(dir string) string { return filepath.Dir(dir) }

// open777 lets the user in whom root runs Postgres as.
func open777(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
}

// restarted has the log believe that Postgres was started again.
const restarted = `UPDATE culvert.log SET started = '2000-01-01'`

// What a standby did not receive may have been the rooms that instances remember.
func TestARestartHasIdsLookedUpAgain(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	appendOne(t, q, emit("r", "1"))
	sql(t, dsn, restarted, `UPDATE culvert.rooms SET name = 'other' WHERE name = 'r'`)
	appendOne(t, q, emit("r", "2"))
	b := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, event.Cursor{}, 10))
	if len(b.Events) != 1 || b.Events[0].Data != "2" {
		t.Errorf("room r has %d events", len(b.Events))
	}
}

// Nobody misses anything in a plain restart, and nobody is told of a gap.
func TestARestartIsNoGap(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	before := appendOne(t, q, emit("r", "1")).Cursor
	in := queue.Interest{Rooms: []event.Room{room("r")}, After: before}
	running := subscribe(t, q, in)
	sql(t, dsn, restarted)
	after := appendOne(t, q, emit("r", "2")).Cursor
	if after.Log != before.Log || after.Offset <= before.Offset {
		t.Errorf("%v after %v", after, before)
	}
	for name, s := range map[string]*queue.Subscription{
		"running": running, "later": subscribe(t, q, in), "elsewhere": subscribe(t, open(t, dsn), in),
	} {
		if got := next(t, s, 1); !slices.Equal(got, []string{"2"}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if c, err := q.Ack(t.Context(), ns, client("bob"), before); err != nil || c != before {
		t.Errorf("ack of a position from before: %v, %v", c, err)
	}
}

// A server that crashes again and again leaves neither runs nor slices behind.
func TestRestartsDoNotPileUp(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	appendOne(t, q, emit("r", "1"))
	conn := connect(t, dsn)
	count := func() (runs, slices int) {
		t.Helper()
		err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM culvert.runs), (SELECT count(*) FROM culvert.slices)`).Scan(&runs, &slices)
		if err != nil {
			t.Fatal(err)
		}
		return runs, slices
	}
	sql(t, dsn, restarted, `SELECT culvert.lock_log()`)
	runs, _ := count()
	for range 20 {
		sql(t, dsn, restarted, `SELECT culvert.lock_log()`, `SELECT culvert.rotate('1 hour', 1000)`, `SELECT culvert.prune('1 hour', 0)`)
	}
	if now, slices := count(); now != runs || slices > 3 {
		t.Errorf("%d runs, %d before; %d slices", now, runs, slices)
	}
	appendOne(t, q, emit("r", "2"))
	// With the counter ahead of the clock, as with short slices, each empty slice is dropped at once.
	for range 5 {
		sql(t, dsn, `SELECT setval('culvert.offsets', last_value + 50000000000000) FROM culvert.offsets`,
			restarted, `SELECT culvert.lock_log()`, `SELECT culvert.rotate('1 hour', 1000)`, `SELECT culvert.prune('1 hour', 0)`)
	}
	if _, slices := count(); slices > 4 {
		t.Errorf("%d slices", slices)
	}
	b := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, event.Cursor{}, 10))
	if len(b.Events) != 2 {
		t.Errorf("%d events are left of 2", len(b.Events))
	}
}

// Retention by number counts events, not what lies between two runs.
func TestARestartDoesNotCountAsEvents(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	for range 3 {
		appendOne(t, q, emit("r", "1"))
		sql(t, dsn, restarted)
	}
	appendOne(t, q, emit("r", "1"))
	sql(t, dsn, `SELECT culvert.rotate('1 hour', 10)`, `SELECT culvert.rotate('0', 10)`)
	appendOne(t, q, emit("r", "1"))
	sql(t, dsn, `SELECT culvert.prune('1 hour', 10)`)
	var kept, out int
	err := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*), culvert.given_out(0) FROM culvert.events`).Scan(&kept, &out)
	if err != nil || kept != 5 || out != 5 {
		t.Errorf("%d events are kept and %d counted of 5, %v", kept, out, err)
	}
}

// Rows put back under a running server show in nothing but an instance that was ahead.
func TestRowsPutBackUnderARunningServer(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	last := appendOne(t, q, emit("r", "1")).Cursor
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}, After: last})
	lose := func(after event.Cursor) {
		t.Helper()
		conn := connect(t, dsn)
		if _, err := conn.Exec(t.Context(), `DELETE FROM culvert.events WHERE "offset" > $1`, after.Offset); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `SELECT setval('culvert.offsets', $1)`, after.Offset); err != nil {
			t.Fatal(err)
		}
	}
	ahead := appendOne(t, q, emit("r", `"lost"`)).Cursor
	next(t, s, 1)
	lose(last)
	rewound(t, s, ahead, last)
	after := appendOne(t, q, emit("r", "2")).Cursor
	if after.Offset <= ahead.Offset {
		t.Errorf("%v after %v", after, ahead)
	}
	next(t, s, 1)

	// Nobody was ahead: an operator says so.
	o := must[*handlers.Operator](t)(queue.OpenOperator(t.Context(), dsn))
	defer o.Close()
	found := must[handlers.Restored](t)(o.Restored(t.Context()))
	if found.Last != after || found.First.Offset <= after.Offset || found.First.Log != after.Log {
		t.Errorf("restored: %+v, the last one was %v", found, after)
	}
	if c := appendOne(t, q, emit("r", "3")).Cursor; c.Offset != found.First.Offset+1 {
		t.Errorf("goes on at %v, not after %v", c, found.First)
	}
	next(t, s, 1)
}

// A copy of the database under the name of the original, under an instance that runs, is
// another log; so is one beside it.
func TestACopiedDatabaseIsAnotherLog(t *testing.T) {
	dsn := pgtest.Database(t)
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := open(t, dsn)
	before := appendOne(t, q, emit("r", "1")).Cursor
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}, After: before})
	name := c.Database
	sql(t, pgtest.Server().DatabaseDSN("postgres"),
		`ALTER DATABASE `+name+` ALLOW_CONNECTIONS false`,
		`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '`+name+`'`,
		`ALTER DATABASE `+name+` RENAME TO `+name+`_old`,
		`CREATE DATABASE `+name+` TEMPLATE `+name+`_old`,
		`DROP DATABASE `+name+`_old`)
	var after event.Cursor
	until(t, "emits are taken again", func() bool {
		r, err := q.Append(t.Context(), []event.Emit{emit("r", "2")})
		if err == nil {
			after = r[0].Cursor
		}
		return err == nil
	})
	if after.Log == before.Log || after.Offset < before.Offset {
		t.Errorf("%v after %v", after, before)
	}
	b := must[event.Batch](t)(s.Next(t.Context(), 10))
	if b.Gap == nil || b.Gap.Reason != event.GapLog {
		t.Fatalf("gap %v", b.Gap)
	}
	if got := next(t, s, 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("got %v", got)
	}
}

// A dump restored into its own database, under an instance that runs.
func TestADumpIsRestored(t *testing.T) {
	for _, program := range []string{"pg_dump", "psql"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed: a dump was NOT tested")
		}
	}
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	last := appendOne(t, q, emit("r", "1")).Cursor
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}, After: last})
	dump := filepath.Join(t.TempDir(), "dump.sql")
	command(t, "pg_dump", "--clean", "--schema=culvert", "--file="+dump, libpq(t, dsn))
	appendOne(t, q, emit("r", `"lost"`))
	appendOne(t, q, emit("secret", `"lost"`))
	next(t, s, 1)
	ahead := s.Cursor()
	command(t, "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--command=DROP SCHEMA culvert CASCADE", "--command=CREATE SCHEMA culvert", libpq(t, dsn))
	text, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	// --clean is for DROPs that a schema just made does not need.
	load := filepath.Join(t.TempDir(), "load.sql")
	var kept []string
	for line := range strings.Lines(string(text)) {
		alters := strings.HasPrefix(line, "ALTER TABLE ") && strings.Contains(line, " DROP ")
		if alters || strings.HasPrefix(line, "DROP ") || strings.HasPrefix(line, "CREATE SCHEMA ") {
			continue
		}
		kept = append(kept, line)
	}
	if err := os.WriteFile(load, []byte(strings.Join(kept, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null", "--file="+load, libpq(t, dsn))
	var after event.Cursor
	until(t, "emits are taken again", func() bool {
		r, err := q.Append(t.Context(), []event.Emit{emit("r", "2")})
		if err == nil {
			after = r[0].Cursor
		}
		return err == nil
	})
	if after.Log != last.Log || after.Offset <= ahead.Offset {
		t.Errorf("%v after %v", after, ahead)
	}
	rewound(t, s, ahead, last)
	if got := patient(t, s, 1); got[0] != "2" {
		t.Errorf("got %v", got)
	}
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// libpq is a DSN as the programs of Postgres take it.
func libpq(t *testing.T, dsn string) string {
	t.Helper()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return "postgres://" + c.User + "@/" + c.Database + "?port=5432&host=" + url.QueryEscape(c.Host)
}

// A managed server refuses functions that look at the write-ahead log or the cluster.
func TestAServerThatWithholdsFunctions(t *testing.T) {
	server := pgtest.NewServer(t, localpg.Options{})
	sql(t, server.DSN(), `CREATE ROLE ordinary LOGIN`, `GRANT CREATE ON DATABASE culvert TO ordinary`, `DO $$
		DECLARE f text;
		BEGIN
			FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
			          WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^pg_(control_|current_wal|walfile_name|wal_lsn|last_wal|is_wal|get_wal)'
			LOOP
				EXECUTE 'REVOKE EXECUTE ON FUNCTION ' || f || ' FROM PUBLIC';
			END LOOP;
		END $$`)
	c, err := pgx.ParseConfig(server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	dsn := "host=" + c.Host + " port=5432 user=ordinary dbname=culvert"
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	q := open(t, dsn)
	before := appendOne(t, q, emit("r", "1")).Cursor
	stop(t, server)
	start(t, server)
	until(t, "emits are taken again", func() bool {
		r, err := q.Append(t.Context(), []event.Emit{emit("r", "2")})
		if err != nil && !errors.Is(err, event.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil && r[0].Cursor.Log == before.Log
	})
}

// A server that was behind has staged events of transactions with lower ids than those an
// instance saw elsewhere: a change of members still comes after them.
func TestMembersChangeAfterWhatIsStagedOnAnotherServer(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Logger, o.Poll, o.PollOnly = slog.New(slog.DiscardHandler), time.Hour, true })
	appendOne(t, q, emit("r", "1"))
	for range 5 {
		sql(t, dsn, restarted, `INSERT INTO culvert.staged (xid, namespace, rooms, event, data) VALUES ('3', 'default', ARRAY['r'], 'e', '"sql"')`)
		at := must[event.Cursor](t)(q.Join(t.Context(), ns, room("r"), client("bob"), 0))
		appendOne(t, q, emit("r", "2"))
		b := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, at, 10))
		if len(b.Events) != 1 || b.Events[0].Data != "2" {
			t.Errorf("bob joined at %v, and gets %v, which was emitted before", at, b.Events[0].Cursor())
		}
		must[event.Cursor](t)(q.Leave(t.Context(), ns, room("r"), client("bob")))
	}
}

// A client that a backup does not know is stored again while it is here: what comes after
// it has left is kept for it.
func TestAClientThatIsLostIsStoredAgain(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	bob := subscribe(t, q, queue.Interest{Client: client("bob")})
	appendOne(t, q, emit("*", "1"))
	next(t, bob, 1)
	sql(t, dsn, restarted, `DELETE FROM culvert.clients`)
	appendOne(t, q, emit("*", "2"))
	next(t, bob, 1)
	bob.Close()
	appendOne(t, q, emit("*", "3"))
	if got := next(t, subscribe(t, q, queue.Interest{Client: client("bob")}), 2); !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("bob gets %v", got)
	}
}

// It is online at once, too, and not when its lease would have been renewed.
func TestAClientThatIsLostIsOnlineAgain(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn := connect(t, dsn)
	leased := func(name string, after time.Time) (at time.Time) {
		t.Helper()
		until(t, name+" is online", func() bool {
			err := conn.QueryRow(t.Context(), `SELECT l.until - interval '30 s' FROM culvert.leases l JOIN culvert.clients c ON c.id = l.client_id
			 WHERE c.name = $1`, name).Scan(&at)
			return err == nil && at.After(after)
		})
		return at
	}
	bob, carol := subscribe(t, q, queue.Interest{Client: client("bob")}), subscribe(t, q, queue.Interest{Client: client("carol")})
	leased("bob", time.Time{})
	before := leased("carol", time.Time{})
	sql(t, dsn, `BEGIN; `+restarted+`; DELETE FROM culvert.clients WHERE name = 'bob'; COMMIT`)
	appendOne(t, q, emit("*", "1"))
	// Leases are written again, that of bob for nobody.
	renewed := leased("carol", before)
	next(t, bob, 1)
	if at := leased("bob", before); at.Sub(renewed) > 8*time.Second {
		t.Errorf("bob is online again after %v", at.Sub(renewed))
	}
	next(t, carol, 1)
}

// A namespace that has another id since a restore, while its old one is that of another
// namespace, which was deleted, is there. One that was deleted is not, whoever has its name.
func TestANamespaceWithAnotherIdIsNotDeleted(t *testing.T) {
	for name, c := range map[string]struct {
		born string // of the namespace that has the id and was deleted
		want error
	}{
		"another one": {`(SELECT max(first) + 1 FROM culvert.runs)`, nil},
		"the same":    {`born`, event.ErrDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			q := open(t, dsn)
			e := emit("r", "1")
			e.Namespace = namespace("tenant")
			appendOne(t, q, e)
			s, err := q.Subscribe(t.Context(), queue.Interest{Namespace: e.Namespace, Rooms: []event.Room{room("r")}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sql(t, dsn, `BEGIN; `+restarted+`; SELECT culvert.lock_log();
				UPDATE culvert.namespaces SET name = NULL, deleted_at = clock_timestamp(), born = `+c.born+` WHERE name = 'tenant';
				INSERT INTO culvert.namespaces (name) VALUES ('tenant');
				SELECT culvert.registry_changed(); COMMIT`)
			must[bool](t)(q.Registry().PutNamespace(t.Context(), namespace("later"), registry.NamespaceSettings{})) // the registry is read
			appendOne(t, q, e)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if b, err := s.Next(ctx, 10); !errors.Is(err, c.want) || err == nil && (len(b.Events) != 1 || b.Gap != nil) {
				t.Errorf("got %d events, gap %v, %v", len(b.Events), b.Gap, err)
			}
		})
	}
}

// A server that takes over after the one before was asked what is staged, and before
// a change of members is entered, has staged events of its own that come before the change.
func TestMembersChangeAfterWhatIsStagedOnAServerThatTakesOver(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet, deaf)
	appendOne(t, q, emit("r", "1"))
	conn := connect(t, dsn)
	holder := connect(t, dsn)
	hold := func(sql string) {
		t.Helper()
		if _, err := holder.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 5 { // who comes first to the other server is a matter of chance
		hold(`BEGIN; LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE`)
		joined := make(chan event.Cursor, 1)
		go func() {
			at, err := q.Join(t.Context(), ns, room("r"), client("bob"), 0)
			if err != nil {
				t.Error(err)
			}
			joined <- at
		}()
		waits := func(call string) {
			t.Helper()
			until(t, call+" waits for the append lock", func() bool {
				var n int
				err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
					WHERE l.relation = 'culvert.append_lock'::regclass AND NOT l.granted AND strpos(a.query, $1) > 0`, call).Scan(&n)
				return err == nil && n == 1
			})
		}
		waits("culvert.move")
		// An emit that has much to look up there gives the join a start.
		e, emitted := emit("x", "0"), make(chan error, 1)
		for i := range 63 {
			e.Rooms = append(e.Rooms, room(fmt.Sprintf("x-%d-%d", round, i)))
		}
		go func() {
			_, err := q.Append(t.Context(), []event.Emit{e})
			emitted <- err
		}()
		waits("culvert.append")
		sql(t, dsn, restarted, `INSERT INTO culvert.staged (xid, namespace, rooms, event, data) VALUES ('3', 'default', ARRAY['r'], 'e', '"sql"')`)
		hold(`COMMIT`)
		at := receive(t, joined)
		if err := receive(t, emitted); err != nil {
			t.Fatal(err)
		}
		appendOne(t, q, emit("r", "2"))
		b := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, at, 10))
		if len(b.Events) != 1 || b.Events[0].Data != "2" {
			t.Errorf("bob joined at %v, and gets %d events, of %q first", at, len(b.Events), b.Events[0].Data)
		}
		must[event.Cursor](t)(q.Leave(t.Context(), ns, room("r"), client("bob")))
	}
}
