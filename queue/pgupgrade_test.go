package queue_test

import (
	"slices"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

// pg_upgrade makes another log, since the original may live on: a reader with a cursor gets one gap and then
// all that is retained, and nothing is lost or mixed up.
func TestPgUpgrade(t *testing.T) {
	way := pgtest.FindUpgrade(t)
	old := way.Server(t)
	if err := migrations.Up(t.Context(), old.DSN()); err != nil {
		t.Fatal(err)
	}
	var offsets given
	q := open(t, old.DSN())
	first := offsets.emit(t, q, emit("r", "1"))
	keyed := emit("r", "2")
	keyed.Key = key("k")
	last := offsets.emit(t, q, keyed)
	offsets.emit(t, q, emit("secret", "3"))
	join(t, q, "r", "bob")
	must[event.Cursor](t)(q.Ack(t.Context(), ns, client("bob"), q.Head()))
	head := offsets.emit(t, q, emit("r", "4"))
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sql(t, old.DSN(), `SELECT culvert.emit(room => 'r', event => 'e', data => '5')`)

	upgraded := way.Run(t, old)
	if err := migrations.Up(t.Context(), upgraded.DSN()); err != nil {
		t.Fatal(err)
	}
	q = open(t, upgraded.DSN())
	for name, after := range map[string]event.Cursor{"at the head": head, "behind": first} {
		s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}, After: after})
		b := must[event.Batch](t)(s.Next(t.Context(), 10))
		if want := (event.Gap{From: after, To: event.Cursor{Log: q.Head().Log}, Reason: event.GapLog}); b.Gap == nil || *b.Gap != want {
			t.Fatalf("%s: gap %v, want %v", name, b.Gap, want)
		}
		if got := next(t, s, 4); !slices.Equal(got, []string{"1", "2", "4", "5"}) {
			t.Errorf("%s: got %v", name, got)
		}
	}
	bob := subscribe(t, q, queue.Interest{Client: client("bob")})
	if got := next(t, bob, 2); !slices.Equal(got, []string{"4", "5"}) {
		t.Errorf("bob, who had acknowledged, gets %v", got)
	}
	if r := appendOne(t, q, keyed); !r.Duplicate || r.Cursor.Offset != last.Offset {
		t.Errorf("a key from before: %+v", r)
	}
	if c := offsets.emit(t, q, emit("r", "6")); c.Log == head.Log || c.Offset <= head.Offset {
		t.Errorf("%v after %v", c, head)
	}
	if got := next(t, bob, 1); got[0] != "6" {
		t.Errorf("bob continues with %v", got)
	}
	if got := texts(t, q, "secret"); !slices.Equal(got, []string{"3"}) {
		t.Errorf("the other room has %v", got)
	}
}
