package queue_test

import (
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// One namespace keeps its events for less long than the server, one for longer:
// each reader is told exactly what it lost, from memory and from Postgres.
func TestRetentionOfANamespace(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	start := q.Head()
	short, long := namespace("short"), namespace("long")
	for space, d := range map[event.Namespace]time.Duration{short: time.Minute, long: 1000 * time.Hour} {
		if _, err := q.Registry().PutNamespace(t.Context(), space, registry.NamespaceSettings{Retention: d}); err != nil {
			t.Fatal(err)
		}
	}
	spaces := []event.Namespace{ns, short, long}
	fill := func(data string) (last map[event.Namespace]event.Cursor) {
		last = map[event.Namespace]event.Cursor{}
		for _, space := range spaces {
			e := emit("r", "%s", data)
			e.Namespace = space
			last[space] = appendOne(t, q, e).Cursor
		}
		return last
	}
	lost := fill("1")
	sql(t, dsn, `SELECT culvert.rotate('0', 1)`)
	fill("2")
	// The server's retention is 168 hours: after 2 minutes the events of short alone are gone, after 200 hours
	// also those of the namespace without a retention of its own.
	for _, step := range []struct {
		age  string
		gone map[event.Namespace]bool
	}{
		{"30 seconds", nil},
		{"2 minutes", map[event.Namespace]bool{short: true}},
		{"200 hours", map[event.Namespace]bool{short: true, ns: true}},
	} {
		sql(t, dsn, `UPDATE culvert.slices SET closed_at = now() - interval '`+step.age+`' WHERE closed_at IS NOT NULL`,
			`SELECT culvert.prune('168 hours', 0)`, // keeps the slice for the namespace with the longest retention
			`SELECT culvert.expire('168 hours')`, `SELECT culvert.expire('168 hours')`)
		for _, reader := range []*queue.Queue{q, open(t, dsn), open(t, dsn, queue.Cold)} {
			for _, space := range spaces {
				checkRetained(t, reader, space, step.age, start, lost[space], step.gone[space])
			}
		}
	}
	var slices int
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*) FROM culvert.events`).Scan(&slices); err != nil || slices != 6 {
		t.Errorf("%d events are in Postgres, want 6: %v", slices, err)
	}
	// When the longest retention is over, the slice is dropped, and what each room lost stays known.
	sql(t, dsn, `UPDATE culvert.slices SET closed_at = now() - interval '2000 hours' WHERE closed_at IS NOT NULL`,
		`SELECT culvert.prune('168 hours', 0)`)
	for _, space := range spaces {
		checkRetained(t, open(t, dsn), space, "dropped", start, lost[space], true)
		checkRetained(t, open(t, dsn, queue.Cold), space, "dropped, read from Postgres", start, lost[space], true)
	}
}

func checkRetained(t *testing.T, q *queue.Queue, space event.Namespace, when string, start, lost event.Cursor, gone bool) {
	t.Helper()
	b := must[event.Batch](t)(q.History(t.Context(), space, room("r"), event.Client{}, start, 10))
	if (b.Gap != nil) != gone {
		t.Fatalf("%s, %s: history has gap %v", space, when, b.Gap)
	}
	want := 2
	if gone {
		want = 1
		if wanted := (event.Gap{From: start, To: lost, Reason: event.GapPruned}); *b.Gap != wanted {
			t.Errorf("%s, %s: gap %v, want %v", space, when, *b.Gap, wanted)
		}
	}
	if len(b.Events) != want {
		t.Errorf("%s, %s: history has %d events, want %d", space, when, len(b.Events), want)
	}
	// The tail has all events, so this instance must know the floor.
	until(t, "a subscription gets what is kept", func() bool {
		s := must[*queue.Subscription](t)(q.Subscribe(t.Context(), queue.Interest{Namespace: space, Rooms: []event.Room{room("r")}, After: start}))
		defer s.Close()
		b = must[event.Batch](t)(s.Poll(t.Context(), 10))
		return len(b.Events) == want && (b.Gap != nil) == gone
	})
	// A reader that starts at the oldest event has lost nothing.
	oldest := must[*queue.Subscription](t)(q.Subscribe(t.Context(), queue.Interest{Namespace: space, Rooms: []event.Room{room("r")}, Earliest: true}))
	defer oldest.Close()
	if b = must[event.Batch](t)(oldest.Poll(t.Context(), 10)); len(b.Events) != want || b.Gap != nil {
		t.Errorf("%s, %s: from the oldest: %d events and gap %v", space, when, len(b.Events), b.Gap)
	}
}

// A page is final only when it stays as it is for everybody.
func TestFinalPages(t *testing.T) {
	q := open(t, pgtest.Database(t))
	start := q.Head()
	for range 3 {
		appendOne(t, q, emit("r", "1"))
	}
	e := emit("r", "2")
	e.Except = []event.Room{client("bob").OwnRoom()}
	excepting := appendOne(t, q, e).Cursor
	for range 3 {
		appendOne(t, q, emit("r", "3"))
	}
	history := func(viewer event.Client, after event.Cursor, limit int) event.Batch {
		return must[event.Batch](t)(q.History(t.Context(), ns, room("r"), viewer, after, limit))
	}
	for _, c := range []struct {
		what   string
		viewer event.Client
		after  event.Cursor
		limit  int
		final  bool
	}{
		{"full after a cursor", event.Client{}, start, 3, true},
		{"the same for a client", client("bob"), start, 3, true},
		{"from the oldest", event.Client{}, event.Cursor{}, 3, false},
		{"not full", event.Client{}, excepting, 4, false},
		{"with an event that excepts somebody", event.Client{}, start, 4, false},
		{"without the event that was excepted", client("bob"), start, 4, false},
		{"behind an event that excepts somebody", event.Client{}, excepting, 3, true},
		{"another log", event.Client{}, event.Cursor{Log: "other", Offset: 1}, 3, false},
	} {
		if b := history(c.viewer, c.after, c.limit); b.Final != c.final {
			t.Errorf("%s: final is %v", c.what, b.Final)
		}
	}
}
