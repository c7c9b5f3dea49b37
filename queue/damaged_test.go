package queue_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

// lengthy returns data so long that Postgres stores it outside of its row.
func lengthy() string {
	b := make([]byte, 16_000)
	_, _ = rand.Read(b)
	return `"` + hex.EncodeToString(b) + `"`
}

// damage deletes what Postgres has stored outside of the rows of a table.
func damage(t testing.TB, dsn, table string) {
	t.Helper()
	conn := connect(t, dsn)
	var toast string
	err := conn.QueryRow(t.Context(), `SELECT reltoastrelid::regclass FROM pg_class WHERE oid = $1::regclass`, table).Scan(&toast)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`UPDATE pg_class SET relkind = 'r' WHERE oid = '` + toast + `'::regclass`, // DELETE accepts no other kind
		`DELETE FROM ` + toast,
		`UPDATE pg_class SET relkind = 't' WHERE oid = '` + toast + `'::regclass`,
	} {
		if _, err := tx.Exec(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, table+" is damaged", func() bool {
		sql(t, dsn, `VACUUM `+toast) // deleted rows may still be visible to some snapshot
		_, err := conn.Exec(t.Context(), `SELECT count(t::text) FROM `+table+` t`)
		return err != nil
	})
}

// slice returns the table of an event.
func slice(t testing.TB, dsn string, o event.Offset) (table string) {
	t.Helper()
	err := connect(t, dsn).QueryRow(t.Context(), `SELECT tableoid::regclass FROM culvert.events WHERE "offset" = $1`, o).Scan(&table)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// deaf makes an instance look at the log only when it has to.
func deaf(o *queue.Options) { o.PollOnly, o.Poll = true, time.Hour }

// An event that is damaged on disk is left out, with a gap for its readers, however it is read; everything else
// continues.
func TestDamagedEvents(t *testing.T) {
	dsn := pgtest.Database(t)
	registry := prometheus.NewRegistry()
	q := open(t, dsn, quiet)
	behind := open(t, dsn, quiet, deaf, func(o *queue.Options) { o.Registerer = registry })
	live := subscribe(t, behind, queue.Interest{Rooms: []event.Room{room("lobby"), room("hall")}})
	elsewhere := subscribe(t, behind, queue.Interest{Rooms: []event.Room{room("hall")}})
	start := q.Head()
	appendOne(t, q, emit("lobby", "1"))
	bad := appendOne(t, q, emit("lobby", "%s", lengthy())).Cursor.Offset
	appendOne(t, q, emit("lobby", "2"))
	appendOne(t, q, emit("hall", "3"))
	damage(t, dsn, slice(t, dsn, bad))
	appendOne(t, behind, emit("hall", "4"))

	want := []string{"1", fmt.Sprintf("unreadable to %d", bad), "2", "3", "4"}
	if got := toldOf(t, live, 4); !slices.Equal(got, want) {
		t.Errorf("a stream got %q, want %q", got, want)
	}
	if got := toldOf(t, elsewhere, 2); !slices.Equal(got, []string{"3", "4"}) {
		t.Errorf("a stream of another room got %q", got)
	}
	if n := counter(t, registry, "culvert_events_unreadable_total"); n != 1 {
		t.Errorf("%v unreadable events are counted, want 1", n)
	}
	later := subscribe(t, open(t, dsn, quiet, queue.Cold), queue.Interest{Rooms: []event.Room{room("lobby"), room("hall")}, After: start})
	if got := toldOf(t, later, 4); !slices.Equal(got, want) {
		t.Errorf("a later reader gets %q, want %q", got, want)
	}
	b, err := q.History(t.Context(), ns, room("lobby"), event.Client{}, start, 100)
	if err != nil || len(b.Events) != 1 || b.Gap != nil || !b.More {
		t.Fatalf("history: %+v, %v", b, err)
	}
	b, err = q.History(t.Context(), ns, room("lobby"), event.Client{}, b.Cursor, 100)
	if err != nil || len(b.Events) != 1 || b.Gap == nil || b.Gap.Reason != event.GapUnreadable || b.Gap.To.Offset != bad {
		t.Fatalf("history: %+v, %v", b, err)
	}
}

// Damaged events may be so large that Postgres ends a page because of them. An instance that has appended a later event
// itself, and reads what lies between, then has the rest of that, too.
func TestManyDamagedEventsBeforeOnesOwn(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	behind := open(t, dsn, quiet, deaf)
	live := subscribe(t, behind, queue.Interest{Rooms: []event.Room{room("r")}})
	var bad []event.Emit
	for range 150 {
		bad = append(bad, emit("r", "%s", lengthy()))
	}
	all := must[[]event.Result](t)(q.Append(t.Context(), bad))
	appendOne(t, q, emit("r", "1"))
	damage(t, dsn, slice(t, dsn, all[0].Cursor.Offset))
	appendOne(t, behind, emit("r", "2"))
	got := toldOf(t, live, 2)
	if len(got) < 3 || !slices.Equal(got[len(got)-2:], []string{"1", "2"}) {
		t.Errorf("a stream got %q", got)
	}
}

// parked waits until an event is parked as one that cannot be read.
func parked(t testing.TB, dsn, handler string, bad event.Offset) {
	t.Helper()
	o := operator(t, dsn)
	until(t, "the event is parked", func() bool {
		all, err := o.Parked(t.Context(), ns, handler, 10)
		return err == nil && len(all) == 1 && all[0].Offset == bad && strings.Contains(all[0].Error, "cannot be read")
	})
}

// Handlers park an event that is damaged on disk, before or after it became a job.
func TestHandlersParkDamagedEvents(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	appendOne(t, q, emit("lobby", "1"))
	bad := appendOne(t, q, emit("lobby", "%s", lengthy())).Cursor.Offset
	appendOne(t, q, emit("lobby", "2"))
	damage(t, dsn, slice(t, dsn, bad))
	handled := handle(t, q, "greeting", handlers.FromEarliest())
	got := []string{receive(t, handled).Data, receive(t, handled).Data}
	if slices.Sort(got); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("handled %q", got)
	}
	parked(t, dsn, "greeting", bad)
}

func TestHandlersParkDamagedJobs(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	handled, failed := make(chan string, 10), make(chan struct{}, 10)
	err := q.Handle(ns, "greeting", func(_ context.Context, e *event.Event) (any, error) {
		if len(e.Data) > 1 {
			failed <- struct{}{}
			return nil, errors.New("not yet")
		}
		handled <- e.Data
		return nil, nil
	}, handlers.Backoff(2*time.Second, 2*time.Second), handlers.Concurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	bad := appendOne(t, q, emit("lobby", "%s", lengthy())).Cursor.Offset
	receive(t, failed)
	damage(t, dsn, "culvert.handler_jobs")
	parked(t, dsn, "greeting", bad)
	appendOne(t, q, emit("lobby", "2"))
	if got := receive(t, handled); got != "2" {
		t.Errorf("handled %q", got)
	}
}

// If a staged event is damaged on disk, what is left of it is set aside.
func TestDamagedStagedEvents(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet, deaf)
	appendOne(t, q, emit("r", "0"))
	sql(t, dsn, `SELECT culvert.emit(room => 'r', event => 'e', data => '1'); SELECT culvert.emit(room => 'r', event => 'lost', data => '`+lengthy()+`');
		SELECT culvert.emit(room => 'r', event => 'e', data => '2')`)
	damage(t, dsn, "culvert.staged")
	appendOne(t, q, emit("r", "3"))
	if got := texts(t, q, "r"); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("the room has %q", got)
	}
	var event, fault string
	err := connect(t, dsn).QueryRow(t.Context(), `SELECT event, error FROM culvert.unmovable`).Scan(&event, &fault)
	if err != nil || event != "lost" || fault == "" {
		t.Errorf("set aside is %q because of %q, %v", event, fault, err)
	}
}
