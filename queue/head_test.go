package queue_test

import (
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// No position that an instance has answered is beyond its own head, from the first append on, even if others
// store in between: not of a new event, nor of a repeated one, nor of a join.
func TestTheHeadHasWhatWasAnswered(t *testing.T) {
	dsn := pgtest.Database(t)
	other := open(t, dsn)
	// It gets no notifications, so that it has to read what was stored in between.
	q := open(t, dsn, func(o *queue.Options) { o.PollOnly, o.Poll = true, time.Hour })
	for range 100 {
		e := emit("r", "1")
		e.Key = key("k" + other.Head().String())
		appendOne(t, other, e)
		check := func(what string, c event.Cursor) {
			if head := q.Head(); head.Log != c.Log || head.Offset < c.Offset {
				t.Fatalf("%s is at %v, the head is %v", what, c, head)
			}
			if _, err := q.Ack(t.Context(), ns, client("bob"), q.Head()); err != nil {
				t.Fatalf("the head cannot be acknowledged after %s: %v", what, err)
			}
		}
		again := appendOne(t, q, e)
		if !again.Duplicate {
			t.Fatal("the key was not seen before")
		}
		check("a repeat", again.Cursor)
		appendOne(t, other, emit("r", "2"))
		check("an append", appendOne(t, q, emit("r", "3")).Cursor)
		appendOne(t, other, emit("r", "4"))
		check("a join", must[event.Cursor](t)(q.Join(t.Context(), ns, room("r"), client("c"+other.Head().String()), 0)))
	}
	until(t, "this instance has all events", func() bool { return q.Delivered() == q.Head() })
}
