package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// Two recoveries from one base backup to one moment: the events that the first one stored are lost with it.
func TestPointInTimeRecoveryTwice(t *testing.T) {
	var offsets given
	archive := t.TempDir()
	for dir := archive; dir != "/tmp" && dir != "/"; dir = parent(dir) {
		open777(t, dir)
	}
	server := server(t, map[string]string{
		"archive_mode": "on", "archive_command": "cp %p " + archive + "/%f", "wal_level": "replica",
	})
	q := open(t, server.DSN())
	base := pgtest.BaseBackup(t, server)
	last := offsets.emit(t, q, emit("r", "1"))
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}, After: last})
	sql(t, server.DSN(), `SELECT pg_create_restore_point('here')`)
	ahead := offsets.emit(t, q, emit("r", `"lost 0"`))
	conn := connect(t, server.DSN())
	var segment string
	if err := conn.QueryRow(t.Context(), `SELECT pg_walfile_name(pg_switch_wal())`).Scan(&segment); err != nil {
		t.Fatal(err)
	}
	until(t, "the segment is archived", func() bool {
		var n int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_archiver WHERE last_archived_wal >= $1`, segment).Scan(&n)
		return err == nil && n == 1
	})
	next(t, s, 1)
	base.Write(t, "recovery.signal", "")
	base.Write(t, "postgresql.auto.conf", "\nrestore_command = 'cp "+archive+"/%f %p'\nrecovery_target_name = 'here'\nrecovery_target_action = promote\nrecovery_target_timeline = current\n")
	for i := range 2 {
		base.PutBack(t)
		next := offsets.emit(t, q, emit("r", `"after %d"`, i))
		rewound(t, s, ahead, last)
		if got := patient(t, s, 1); got[0] != fmt.Sprintf(`"after %d"`, i) {
			t.Errorf("the reader continues with %v", got)
		}
		ahead = next
	}
}

// A standby that was behind takes over: what was emitted from SQL there before the first append has lower
// transaction ids than the old primary's. Until it takes over, it is unavailable.
func TestALaggingStandbyIsPromoted(t *testing.T) {
	var offsets given
	primary := server(t, nil)
	// A transaction that finds that the log has another server has to update culvert.log, and waits for this
	// gate.
	sql(t, primary.DSN(), `CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NEW; END'`,
		`CREATE TRIGGER gate BEFORE UPDATE ON culvert.log FOR EACH ROW EXECUTE FUNCTION public.gate()`)
	standby := pgtest.BaseBackup(t, primary)
	standby.Write(t, "standby.signal", "")
	second := standby.Start(t)
	q := open(t, oneOf(t, primary.DSN(), second.DSN()))
	last := offsets.emit(t, q, emit("r", "1")) // only the primary has it
	s := subscribe(t, q, queue.Interest{Client: client("bob"), Rooms: []event.Room{room("r")}, After: last})
	sql(t, primary.DSN(), `DO $$ BEGIN FOR i IN 1..300 LOOP PERFORM culvert.emit(room => 'x', event => 'e'); COMMIT; END LOOP; END $$`)
	if _, err := q.Join(t.Context(), ns, room("x"), client("bob"), 0); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, second.DSN())
	if _, err := conn.Exec(t.Context(), `SELECT pg_advisory_lock(77)`); err != nil { // so that no append comes first
		t.Fatal(err)
	}
	stop(t, primary)
	for what, call := range map[string]func() error{
		"emit": func() error { _, err := q.Append(t.Context(), []event.Emit{emit("r", "9")}); return err },
		"ack":  func() error { _, err := q.Ack(t.Context(), ns, client("bob"), last); return err },
		"ping": func() error { return q.Ping(t.Context()) },
	} {
		if err := call(); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("%s at a standby: %v", what, err)
		}
	}
	for _, statement := range []string{
		`SELECT pg_promote()`, `SELECT culvert.emit(room => 'r', event => 'e', data => '"from SQL"')`, `SELECT pg_advisory_unlock(77)`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	rewound(t, s, event.Cursor{}, event.Cursor{Log: last.Log})
	if got := patient(t, s, 1); got[0] != `"from SQL"` {
		t.Errorf("got %v", got)
	}
	if state, err := q.ClientState(t.Context(), ns, client("bob"), nil); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("a membership that the restore lost: %v, %v", state, err)
	}
	offsets.emit(t, q, emit("r", "2"))
}

// A handler whose row is lost, or belongs to another one now, is registered again: it runs what is emitted
// after the restore, and nothing that is for the other one.
func TestABackupPutBackMixesNoHandlers(t *testing.T) {
	var offsets given
	server := server(t, nil)
	q := open(t, server.DSN())
	offsets.emit(t, q, emit("r", "0"))
	copied := pgtest.BaseBackup(t, server)
	ran := make(chan string, 100)
	handle := func(q *queue.Queue, pattern string) {
		t.Helper()
		err := q.Handle(ns, pattern, func(_ context.Context, e *event.Event) (any, error) {
			ran <- pattern + " ran " + e.Name + " " + e.Data
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	named := func(name, data string) event.Emit {
		e := emit("r", "%s", data)
		e.Event = mustParse(event.ParseEventName, name)
		return e
	}
	handle(q, "payment")
	offsets.emit(t, q, named("payment", "1"))
	if got := <-ran; got != "payment ran payment 1" {
		t.Fatal(got)
	}
	copied.PutBack(t)
	other := open(t, server.DSN())
	handle(other, "mail") // this handler gets the id that q's handler had
	offsets.emit(t, other, named("payment", "2"))
	offsets.emit(t, q, named("mail", "3"))
	got := []string{<-ran, <-ran}
	slices.Sort(got)
	if want := []string{"mail ran mail 3", "payment ran payment 2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
