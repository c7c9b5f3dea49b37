package queue_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// oneOf returns a DSN that leads to whichever of two servers answers; the first one is tried first.
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

// open777 opens a folder to the user as whom root runs Postgres.
func open777(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
}

// restarted makes the log believe that Postgres was restarted.
const restarted = `UPDATE culvert.log SET started = '2000-01-01'`

// A standby may not have received rooms that instances remember.
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

// A plain restart loses nothing, and causes no gap.
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
		"running": running, "later": subscribe(t, q, in), "elsewhere": subscribe(t, open(t, dsn, queue.Cold), in),
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

// Rows that are restored while the server runs are noticed only by an instance that was ahead.
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
	last, first, err := queue.Restored(t.Context(), dsn)
	if err != nil || last != after || first.Offset <= after.Offset || first.Log != after.Log {
		t.Errorf("restored: %v, %v, %v; the last one was %v", last, first, err, after)
	}
	if c := appendOne(t, q, emit("r", "3")).Cursor; c.Offset != first.Offset+1 {
		t.Errorf("the log continues at %v, not after %v", c, first)
	}
	next(t, s, 1)
}

// A copy of the database that takes the name of the original while an instance runs is another log; so is a
// copy beside the original.
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

// A dump is restored into its own database while an instance runs.
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
	// Leave out the DROPs of --clean: the schema was made just now and is empty.
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

// libpq returns a DSN in the form that the programs of Postgres accept.
func libpq(t *testing.T, dsn string) string {
	t.Helper()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return "postgres://" + c.User + "@/" + c.Database + "?port=5432&host=" + url.QueryEscape(c.Host)
}
