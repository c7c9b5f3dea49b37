package queue_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

func TestStoredCursorDecidesWhereAClientGoesOn(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	bob := queue.Interest{Client: client("bob")}
	appendOne(t, a, emit("@bob", `"before"`))

	s := subscribe(t, a, bob) // never seen: starts at the head
	one := appendOne(t, a, emit("@bob", "1"))
	appendOne(t, b, emit("*", "2"))
	if got := next(t, s, 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("first time: %v", got)
	}
	s.Close()

	// Nothing was acknowledged, so all events come again, on the other instance too.
	s = subscribe(t, b, bob)
	if got := next(t, s, 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("again: %v", got)
	}
	s.Close()

	if c := must[event.Cursor](t)(a.Ack(t.Context(), ns, bob.Client, one.Cursor)); c != one.Cursor {
		t.Errorf("ack stored %v, want %v", c, one.Cursor)
	}
	s = subscribe(t, b, bob)
	if got := next(t, s, 1); !slices.Equal(got, []string{"2"}) {
		t.Errorf("after the ack: %v", got)
	}

	state := must[queue.ClientState](t)(b.ClientState(t.Context(), ns, bob.Client, nil))
	if state.Cursor != one.Cursor || state.Lag != 1 || state.LagCapped {
		t.Errorf("state %+v", state)
	}
}

func TestAckNeverMovesBack(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	one := appendOne(t, q, emit("r", "1")).Cursor
	two := appendOne(t, q, emit("r", "2")).Cursor
	ack := func(c event.Cursor) (event.Cursor, error) { return q.Ack(t.Context(), ns, client("bob"), c) }
	for _, step := range []struct{ ack, want event.Cursor }{{one, one}, {two, two}, {one, two}} {
		if got := must[event.Cursor](t)(ack(step.ack)); got != step.want {
			t.Errorf("ack %v stored %v, want %v", step.ack, got, step.want)
		}
	}
	beyond := event.Cursor{Log: two.Log, Offset: two.Offset + 1}
	if _, err := ack(beyond); !errors.Is(err, event.ErrBeyondHead) {
		t.Errorf("ack beyond the head: %v", err)
	}
	if _, err := ack(event.Cursor{Log: "zzz", Offset: 1}); !errors.Is(err, event.ErrOtherLog) {
		t.Errorf("ack of another log: %v", err)
	}
	// An instance whose tail is behind asks Postgres before it refuses.
	behind := open(t, dsn, func(o *queue.Options) { o.PollOnly = true; o.Poll = 1 << 40 })
	three := appendOne(t, q, emit("r", "3")).Cursor
	if _, err := behind.Ack(t.Context(), ns, client("bob"), three); err != nil {
		t.Errorf("ack of what another instance appended: %v", err)
	}
}

// The tail and Postgres must give the same: the same events, in the same order, and the same room of an event
// addressed to several.
func TestTailAndPagesAgree(t *testing.T) {
	dsn := pgtest.Database(t)
	tailed := open(t, dsn)
	paged := open(t, dsn, func(o *queue.Options) { o.TailEvents = 1 })
	start := tailed.Head()
	rooms := []event.Room{room("b"), room("a"), room("c"), room("ä")}
	for i := range 300 {
		e := emit("x", "%d", i)
		e.Rooms = nil
		for j, r := range rooms {
			if (i>>j)&1 == 1 {
				e.Rooms = append(e.Rooms, r)
			}
		}
		if i%7 == 0 {
			e.Except = []event.Room{rooms[i%4]}
		}
		if i%5 == 0 {
			e.From = client("alice")
		}
		appendOne(t, tailed, e)
	}
	for _, in := range []queue.Interest{
		{Rooms: rooms, After: start},
		{Rooms: rooms[:1], After: start},
		{Rooms: rooms[1:3], Client: client("bob"), After: start},
		{Rooms: []event.Room{event.Everyone()}, Client: client("bob"), After: start},
	} {
		var stories [2][]string
		for i, q := range []*queue.Queue{tailed, paged} {
			for _, limit := range []int{1, 7, 1000} {
				s := subscribe(t, q, in)
				var story []string
				for more := true; more; {
					b := must[event.Batch](t)(s.Poll(t.Context(), limit))
					if len(b.Events) > limit {
						t.Fatalf("%d events, the limit was %d", len(b.Events), limit)
					}
					for _, e := range b.Events {
						story = append(story, strconv.Itoa(int(e.Offset))+" "+e.Room.String()+" "+e.Data+" "+e.From.String()+" "+e.At.UTC().String())
					}
					more = b.More
				}
				if stories[i] == nil {
					stories[i] = story
				} else if !slices.Equal(stories[i], story) {
					t.Errorf("limit %d changes the events", limit)
				}
			}
		}
		if len(stories[0]) == 0 || !slices.Equal(stories[0], stories[1]) {
			t.Errorf("%v: tail %d events, pages %d events\n%.300v\n%.300v", in.Rooms, len(stories[0]), len(stories[1]), stories[0], stories[1])
		}
	}
}

func TestExceptLeavesOut(t *testing.T) {
	q := open(t, pgtest.Database(t))
	alice, bob := subscribe(t, q, queue.Interest{Client: client("alice")}), subscribe(t, q, queue.Interest{Client: client("bob")})
	e := emit("*", "1")
	e.Except = []event.Room{client("alice").OwnRoom()}
	appendOne(t, q, e)
	appendOne(t, q, emit("*", "2"))
	if got := next(t, alice, 1); !slices.Equal(got, []string{"2"}) {
		t.Errorf("alice got %v", got)
	}
	if got := next(t, bob, 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("bob got %v", got)
	}
}

// A position that was never assigned causes a gap and nothing else: the subscription continues at the head.
func TestPositionBeyondTheHeadIsReported(t *testing.T) {
	q := open(t, pgtest.Database(t))
	head := appendOne(t, q, emit("r", "1")).Cursor
	until(t, "the instance has it", func() bool { return q.Delivered() == head })
	invented := event.Cursor{Log: q.Head().Log, Offset: event.MaxOffset}
	want := event.Gap{From: invented, To: head, Reason: event.GapRewound}
	for name, in := range map[string]queue.Interest{
		"backend": {Rooms: []event.Room{room("r")}, After: invented}, "client": {Client: client("bob"), After: invented},
	} {
		s := subscribe(t, q, in)
		b := must[event.Batch](t)(s.Poll(t.Context(), 10))
		if b.Gap == nil || *b.Gap != want || len(b.Events) > 0 {
			t.Errorf("%s: gap %v, want %v, and %d events", name, b.Gap, want, len(b.Events))
		}
		e := emit("*", "2")
		if name == "backend" {
			e = emit("r", "2")
		}
		head = appendOne(t, q, e).Cursor
		want.To = head
		if got := next(t, s, 1); got[0] != "2" {
			t.Errorf("%s: got %v", name, got)
		}
	}
	h := must[event.Batch](t)(q.History(t.Context(), ns, room("r"), event.Client{}, invented, 10))
	if h.Gap == nil || *h.Gap != want {
		t.Errorf("history: gap %v, want %v", h.Gap, want)
	}
	if _, err := q.Ack(t.Context(), ns, client("bob"), invented); !errors.Is(err, event.ErrBeyondHead) {
		t.Errorf("ack: %v", err)
	}
}

// A batch has about 4 MiB at most, whatever the limit is, from the tail and from Postgres.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	paged := open(t, dsn, func(o *queue.Options) { o.TailEvents = 1 })
	start := q.Head()
	big := `"` + string(make200k()) + `"`
	const n = 60
	for range n {
		appendOne(t, q, emit("r", "%s", big))
	}
	for _, q := range []*queue.Queue{q, paged} {
		s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}, After: start})
		got, batches := 0, 0
		for got < n {
			b := must[event.Batch](t)(s.Next(t.Context(), 1000))
			got += len(b.Events)
			batches++
		}
		if got != n || batches < 2 {
			t.Errorf("%d events in %d batches", got, batches)
		}
	}
}

func make200k() []byte {
	b := make([]byte, 200_000)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return b
}
