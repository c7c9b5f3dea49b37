package queue

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// answered takes the answer that comes when done is closed.
func answered(t *testing.T, what string, done <-chan struct{}, err *error) {
	t.Helper()
	select {
	case <-done:
		if *err == nil {
			t.Errorf("%s: confirmed, though nothing was stored", what)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: no answer", what)
	}
}

// Whoever waits when a queue ends without having waited for them gets an answer.
func TestTheEndAnswersEverybody(t *testing.T) {
	q, err := Open(t.Context(), Options{DatabaseURL: pgtest.Database(t), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := q.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	ended, end := context.WithCancel(t.Context())
	end()
	ns := event.MustNamespace("default")
	emit := event.Emit{Namespace: ns, Event: event.MustEventName("e"), Data: event.Data{}}
	for range 20 { // whether they are looked at once more is a matter of chance
		a := newAppender(q)
		held, waiting := newUnit([]event.Emit{emit}), newUnit([]event.Emit{emit})
		a.keep(held)
		if err := a.submit(waiting); err != nil {
			t.Fatal(err)
		}
		a.run(ended)
		answered(t, "an emit", waiting.done, &waiting.err)
		answered(t, "an emit that is held", held.done, &held.err)

		m := newMembershipWriter(q)
		c, back := &membershipChange{op: entryJoin, ns: ns, done: make(chan struct{})}, &membershipChange{op: entryJoin, ns: ns, done: make(chan struct{})}
		if err := m.submit(c); err != nil {
			t.Fatal(err)
		}
		m.behind++
		m.run(ended)
		m.comeBack([]*membershipChange{back}, q.lineage.Load(), nil)
		answered(t, "a join", c.done, &c.err)
		answered(t, "a join that waited for staged events", back.done, &back.err)
		if err := m.submit(c); !errors.Is(err, event.ErrClosed) {
			t.Errorf("a join after the end: %v", err)
		}

		k := newAcks(q)
		p := &pendingAck{of: q.lineage.Load(), done: make(chan struct{})}
		k.waiting[clientKey{ns, event.MustClient("bob")}] = p
		notify(k.wake)
		k.run(ended)
		answered(t, "an acknowledgement", p.done, &p.err)
	}
}
