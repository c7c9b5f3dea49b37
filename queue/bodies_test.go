package queue_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// toMany returns an emit to n rooms, "many-0" and so on, with long data.
func toMany(n int) event.Emit {
	e := emit("many-0", `"%s"`, strings.Repeat("x", 20_000))
	for i := 1; i < n; i++ {
		e.Rooms = append(e.Rooms, room(fmt.Sprint("many-", i)))
	}
	return e
}

// The data of an event to many rooms is stored once, whether it comes by HTTP or from SQL.
func TestDataStandsOnceForAllRooms(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	long := toMany(50)
	long.Except = []event.Room{room("elsewhere")}
	stored := []event.Result{appendOne(t, q, long), appendOne(t, q, emit("plain", "1"))}
	sql(t, dsn, `SELECT culvert.emit(rooms => ARRAY(SELECT 'many-' || i FROM generate_series(0, 49) i), event => 'greeting',
	     except_rooms => '{elsewhere}', data => to_jsonb(repeat('x', 20000)))`)
	until(t, "what was staged is in the log", func() bool { return q.Delivered().Offset >= stored[1].Cursor.Offset+1 })

	var rows, whole, excepting, bytes int
	err := connect(t, dsn).QueryRow(t.Context(), `
		SELECT count(*), count(data), count(*) FILTER (WHERE except_ = '{elsewhere}'), sum(octet_length(data))
		  FROM culvert.events WHERE event = 'greeting' AND elsewhere IS NOT NULL OR octet_length(data) > 1000`).Scan(&rows, &whole, &excepting, &bytes)
	if err != nil || rows != 100 || whole != 2 || excepting != 2 || bytes != 2*20_002 {
		t.Errorf("two events to 50 rooms are %d rows, %d with data, %d with exceptions, and %d bytes: %v", rows, whole, excepting, bytes, err)
	}
}

// Readers of any of the rooms get the data, and exceptions hold, wherever the event is read from.
func TestEveryRoomHasTheData(t *testing.T) {
	dsn := pgtest.Database(t)
	q, other := open(t, dsn), open(t, dsn)
	handled := make(chan *event.Event, 10)
	if err := other.Handle(ns, "greeting", func(_ context.Context, e *event.Event) (any, error) {
		handled <- e
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"excepted", "away"} {
		must[event.Cursor](t)(q.Join(t.Context(), ns, room("many-9"), client(name), 0))
	}
	must[event.Cursor](t)(q.Join(t.Context(), ns, room("hush"), client("excepted"), 0))
	live := subscribe(t, other, queue.Interest{Rooms: []event.Room{room("many-3"), room("many-7")}})

	long := toMany(12)
	long.Except = []event.Room{room("hush")}
	want := long.Data.JSON()
	appendOne(t, q, long)
	brief := toMany(12)
	brief.Data = data(`"brief"`)
	appendOne(t, q, brief)

	if got := next(t, live, 2); got[0] != want || got[1] != `"brief"` {
		t.Errorf("a follower on another instance gets %.20q and %.20q", got[0], got[1])
	}
	late := open(t, dsn, queue.Cold)
	for i := range 12 {
		name := room(fmt.Sprint("many-", i))
		if b := must[event.Batch](t)(late.History(t.Context(), ns, name, event.Client{}, event.Cursor{}, 10)); len(b.Events) != 2 || b.Events[0].Data != want || b.Events[1].Data != `"brief"` {
			t.Errorf("the history of %s has %d events", name, len(b.Events))
		}
	}
	s := subscribe(t, late, queue.Interest{Rooms: []event.Room{room("many-11"), room("many-2")}, Earliest: true})
	if got := next(t, s, 2); got[0] != want || got[1] != `"brief"` {
		t.Errorf("a subscription that catches up gets %.20q and %.20q", got[0], got[1])
	}
	for range 2 {
		if e := receive(t, handled); e.Data != want && e.Data != `"brief"` || e.Data == want && len(e.Except) != 1 {
			t.Errorf("a handler gets %.20q, except %v", e.Data, e.Except)
		}
	}
	if b := must[event.Batch](t)(late.History(t.Context(), ns, room("many-9"), client("excepted"), event.Cursor{}, 10)); len(b.Events) != 1 {
		t.Errorf("the excepted client gets %d events, not 1", len(b.Events))
	}
	for name, want := range map[string]int{"excepted": 1, "away": 2} {
		if state := must[queue.ClientState](t)(late.ClientState(t.Context(), ns, client(name), nil)); state.Lag != want {
			t.Errorf("%s lags by %d, not by %d", name, state.Lag, want)
		}
	}
}

// A row whose data is missing is a gap, and readers continue. If its slice is dropped between two reads of a page,
// the gap is one of retention.
func TestDataThatIsGone(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, quiet)
	many := appendOne(t, q, toMany(3)).Cursor.Offset
	appendOne(t, q, emit("many-2", "1"))
	sql(t, dsn, `DELETE FROM culvert.events WHERE data IS NOT NULL AND elsewhere IS NULL AND octet_length(data) > 1000`)
	s := subscribe(t, open(t, dsn, quiet, queue.Cold), queue.Interest{Rooms: []event.Room{room("many-2")}, Earliest: true})
	if got := toldOf(t, s, 1); len(got) != 2 || got[0] != fmt.Sprint("unreadable to ", many) || got[1] != "1" {
		t.Errorf("a reader is told %q", got)
	}
	b := must[event.Batch](t)(q.History(t.Context(), ns, room("many-2"), event.Client{}, event.Cursor{}, 10))
	if b.Gap == nil || b.Gap.Reason != event.GapUnreadable || len(b.Events) != 1 {
		t.Errorf("history: gap %v and %d events", b.Gap, len(b.Events))
	}
	sql(t, dsn, fmt.Sprintf(`UPDATE culvert.log SET floor = %d`, many), fmt.Sprintf(`UPDATE culvert.rooms SET pruned = %d`, many))
	b = must[event.Batch](t)(q.History(t.Context(), ns, room("many-2"), event.Client{}, event.Cursor{}, 10))
	if b.Gap != nil && b.Gap.Reason == event.GapUnreadable {
		t.Errorf("what retention dropped is reported as %v", *b.Gap)
	}
}

// A handler's dispatch copies a bounded number of bytes at once; in the end all events come.
func TestHandlerGetsManyLargeEvents(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	const n = 40 // 10 MiB
	handled := make(chan *event.Event, n)
	if err := q.Handle(ns, "greeting", func(_ context.Context, e *event.Event) (any, error) {
		handled <- e
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, dsn)
	if _, err := conn.Exec(t.Context(), `BEGIN; SELECT FROM culvert.handlers FOR UPDATE`); err != nil { // so that nobody dispatches
		t.Fatal(err)
	}
	for range n {
		appendOne(t, q, emit("lobby", `"%s"`, strings.Repeat("x", event.MaxData-2)))
	}
	var moved int
	var more bool
	if err := conn.QueryRow(t.Context(), `SELECT moved, more FROM culvert.dispatch((SELECT id FROM culvert.handlers), 2000)`).Scan(&moved, &more); err != nil || moved > 34 || moved < 30 || !more {
		t.Errorf("one dispatch copies %d of %d events of 256 KiB, more: %v, %v", moved, n, more, err)
	}
	if _, err := conn.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	for range n {
		receive(t, handled)
	}
}
