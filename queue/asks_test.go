package queue_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

func TestAskOneClient(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	online(t, b, "bob")
	alice := subscribe(t, b, queue.Interest{Client: client("alice")})
	bob := subscribe(t, b, queue.Interest{Rooms: []event.Room{room("@bob")}})
	to := ask(t, a, "@bob", 0, from("alice"))
	e := must[event.Batch](t)(bob.Next(t.Context(), 1)).Events[0]
	if e.Offset != to || e.ReplyUntil.Sub(e.At) != time.Minute {
		t.Errorf("event %+v", e)
	}
	wait := awaiting(t, a, to, long)
	answered(t, b, to, "bob", `{"yes": [1]}`)
	same(t, "waited", wait(), `bob:{"yes":[1]}`)
	r := must[event.Batch](t)(alice.Next(t.Context(), 10)).Events[0]
	if want := fmt.Sprintf(`{"to":%d,"from":"bob","data":{"yes":[1]}}`, to); r.Name != "culvert:reply" || r.Data != want || r.From != client("bob") || r.Room != room("@alice") {
		t.Errorf("alice got %+v, want %s", r, want)
	}
	if again, err := answer(t, a, to, "bob", `"changed my mind"`); !again || err != nil {
		t.Errorf("second reply: %v, %v", again, err)
	}
	same(t, "waited later", awaiting(t, b, to, long)(), `bob:{"yes":[1]}`)
}

// One reply is expected from each client that is online in the rooms at that moment.
func TestWhoIsExpected(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	online(t, q, "alice", "bob", "carol", "dave")
	member(t, dsn, "bob", "lobby", 0, 0)
	member(t, dsn, "carol", "lobby", 0, 0)
	member(t, dsn, "dave", "lobby", 0, 1) // has left
	member(t, dsn, "erin", "lobby", 0, 0) // is offline
	member(t, dsn, "carol", "quiet", 0, 0)
	for _, c := range []struct {
		room   string
		except []string
		want   int
	}{
		{"*", nil, 4}, {"lobby", nil, 2}, {"lobby", []string{"@bob"}, 1}, {"lobby", []string{"quiet"}, 1},
		{"*", []string{"lobby", "@dave"}, 1}, {"*", []string{"*"}, 0}, {"@erin", nil, 0}, {"nowhere", nil, 0}, {"@bob", nil, 1},
	} {
		to := ask(t, q, c.room, 0, except(c.except...))
		conn := connect(t, dsn)
		var wanted int
		if err := conn.QueryRow(t.Context(), `SELECT wanted FROM culvert.asks WHERE "offset" = $1`, int64(to)).Scan(&wanted); err != nil || wanted != c.want {
			t.Errorf("%s except %v: %d are expected, want %d (%v)", c.room, c.except, wanted, c.want, err)
		}
	}
	same(t, "nobody is expected", awaiting(t, q, ask(t, q, "nowhere", 0), long)())
}

// Asks of one call to the same clients cost as much as one: who is expected to reply is found and stored once.
// Each ask is complete by its own replies.
func TestAsksForTheSameClientsShareTheirAudience(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	online(t, q, "alice", "bob", "carol")
	for _, name := range []string{"bob", "carol"} {
		member(t, dsn, name, "lobby", 0, 0)
	}
	var emits []event.Emit
	for i := range 90 {
		e := emit("lobby", "%d", i)
		e.Reply = event.Ask{Timeout: time.Minute}
		switch i % 3 {
		case 1:
			e.Except = []event.Room{room("@bob")}
		case 2:
			e.Reply.Count = 1
		}
		emits = append(emits, e)
	}
	results := must[[]event.Result](t)(q.Append(t.Context(), emits))
	for _, r := range q.AppendEach(t.Context(), emits) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	var asks, audiences int
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM culvert.asks), (SELECT count(*) FROM culvert.audiences)`).Scan(&asks, &audiences); err != nil {
		t.Fatal(err)
	}
	if asks != 180 || audiences != 4 {
		t.Errorf("%d asks have %d audiences, want 180 with 2 for each of the calls", asks, audiences)
	}
	for i, want := range []int{2, 1, 1} {
		to := results[87+i].Cursor.Offset
		wait := awaiting(t, q, to, long)
		answered(t, q, to, "carol", "1")
		if want == 2 {
			answered(t, q, to, "bob", "2")
		}
		if got := wait(); len(got) != want {
			t.Errorf("ask %d: waited for %v, want %d replies", i, got, want)
		}
	}
}

func TestAskARoom(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	online(t, a, "bob", "carol")
	for _, name := range []string{"bob", "carol", "erin"} {
		member(t, dsn, name, "lobby", 0, 0)
	}
	to := ask(t, a, "lobby", 0)
	wait := awaiting(t, a, to, long)
	answered(t, b, to, "erin", `"not expected, but welcome"`)
	answered(t, b, to, "carol", "2")
	answered(t, b, to, "bob", "3")
	got := wait()
	same(t, "waited", got, `erin:"not expected, but welcome"`, "carol:2", "bob:3")
}

func TestAskLimits(t *testing.T) {
	q := open(t, pgtest.Database(t))
	for _, c := range []struct {
		ask   event.Ask
		field string
	}{
		{event.Ask{Timeout: 49 * time.Millisecond}, "reply.timeout"}, {event.Ask{Timeout: 25 * time.Hour}, "reply.timeout"},
		{event.Ask{Count: 1}, "reply.timeout"}, {event.Ask{Timeout: time.Second, Count: -1}, "reply.count"},
		{event.Ask{Timeout: time.Second, Count: 10_001}, "reply.count"},
	} {
		e := emit("*", "1")
		e.Reply = c.ask
		var bad *event.InvalidError
		if _, err := q.Append(t.Context(), []event.Emit{e}); !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%+v: %v", c.ask, err)
		}
	}
}

func TestOldAsksAreForgotten(t *testing.T) {
	dsn := pgtest.Database(t)
	sql(t, dsn, `
		INSERT INTO culvert.asks ("offset", namespace_id, rooms, until, wanted)
		VALUES (1, 1, '{a}', now() - interval '25 hours', 1), (1000, 1, '{a}', now() - interval '23 hours', 1), (1001, 1, '{a}', now() + interval '1 hour', 1);
		INSERT INTO culvert.replies VALUES (1, 'bob', now(), false, '1')`)
	open(t, dsn)
	conn := connect(t, dsn)
	until(t, "the old one is gone", func() bool {
		var left []int64
		var replies int
		err := conn.QueryRow(t.Context(), `SELECT array_agg("offset" ORDER BY 1), (SELECT count(*) FROM culvert.replies) FROM culvert.asks`).Scan(&left, &replies)
		return err == nil && slices.Equal(left, []int64{1000, 1001}) && replies == 0
	})
}
