package queue_test

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// A transaction of one namespace stages more than many appends move. Another namespace has emitted a little
// from SQL since: emits to it come after that, but do not wait for the rest of the first one.
func TestALittleFromSQLDoesNotWaitBehindALot(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Logger, o.Poll, o.PollOnly = slog.New(slog.DiscardHandler), time.Hour, true })
	conn := connect(t, dsn)
	sql(t, dsn, `SELECT culvert.emit(namespace => 'busy', room => 'r', event => 'e', data => to_jsonb(i)) FROM generate_series(1, 30000) i`,
		`SELECT culvert.emit(namespace => 'modest', room => 'r', event => 'e', data => to_jsonb(i)) FROM generate_series(1, 300) i`,
		`SELECT culvert.emit(namespace => 'modest', room => 'r', event => 'e', data => to_jsonb(i)) FROM generate_series(301, 310) i`)
	e := emit("r", "311")
	e.Namespace = mustParse(event.ParseNamespace, "modest")
	appendOne(t, q, e)
	if left := must[int](t)(count(t, conn, `SELECT count(*) FROM culvert.staged WHERE namespace = 'busy'`)); left < 20_000 {
		t.Errorf("the emit waited until only %d events of the other namespace were left", left)
	}
	b := must[event.Batch](t)(q.History(t.Context(), e.Namespace, room("r"), event.Client{}, event.Cursor{}, 1000))
	var got, want []string
	for i, e := range b.Events {
		got, want = append(got, e.Data), append(want, fmt.Sprint(i+1))
	}
	if len(got) != 311 || !slices.Equal(got, want) {
		t.Errorf("the room has %d events: %v", len(got), got)
	}
	// Nothing of the rest is lost, or comes twice.
	busy := emit("r", "30001")
	busy.Namespace = mustParse(event.ParseNamespace, "busy")
	until(t, "the rest is moved", func() bool {
		_, err := q.Append(t.Context(), []event.Emit{busy})
		return err == nil
	})
	if n := must[int](t)(count(t, conn, `SELECT count(DISTINCT e.data::int) FROM culvert.events e JOIN culvert.rooms r ON r.id = e.room_id
		JOIN culvert.namespaces n ON n.id = r.namespace_id WHERE n.name = 'busy' AND e.event = 'e'`)); n != 30_000 {
		t.Errorf("%d of 30000 events are in the log", n)
	}
}

// A transaction that was partly moved comes first in its namespace, even while emits wait there.
func TestATransactionThatWasMovedInPartGoesOn(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Logger, o.Poll, o.PollOnly = slog.New(slog.DiscardHandler), time.Hour, true })
	late := connect(t, dsn) // its transaction has the lowest id, and is committed last
	do := func(statement string) { must[pgconn.CommandTag](t)(late.Exec(t.Context(), statement)) }
	do(`BEGIN`)
	do(`SELECT culvert.emit(room => 'r', event => 'e', data => '"late"')`)
	sql(t, dsn, `SELECT culvert.emit(room => 'r', event => 'e', data => to_jsonb(i)) FROM generate_series(1, 3000) i`)
	other := emit("r", "1")
	other.Namespace = mustParse(event.ParseNamespace, "other")
	appendOne(t, q, other) // moves a part of the staged events
	do(`COMMIT`)
	appendOne(t, q, emit("r", "3001"))
	got := texts(t, q, "r")
	want := make([]string, 0, 3002)
	for i := range 3000 {
		want = append(want, fmt.Sprint(i+1))
	}
	want = append(want, `"late"`, "3001")
	if !slices.Equal(got, want) {
		t.Errorf("%d events, and the late one is at %d", len(got), slices.IndexFunc(got, func(s string) bool { return s == `"late"` }))
	}
}
