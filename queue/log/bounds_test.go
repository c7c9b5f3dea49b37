package log

import (
	"context"
	"errors"
	"testing"
	"time"
)

// After a move that took too long the next ones are smaller and apart from emits, until all staged events have
// been moved. A single event counts as late only if Postgres stores emits in time.
func TestMovesThatTakeTooLongAreMadeSmaller(t *testing.T) {
	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	slow := errors.New("too slow")
	emits, none := &appendBatch{units: []*unit{{}}}, &appendBatch{}
	c := firstMoved
	c.adapt(late, c.of(emits), appended{}, slow)
	if n := c.of(emits); n != 0 {
		t.Errorf("after a timeout %d events are moved with emits", n)
	}
	for i := range 10 {
		before := c.of(none)
		c.adapt(late, before, appended{}, slow)
		if after := c.of(none); after >= before && before > 1 || after < 1 {
			t.Errorf("after %d timeouts %d events are moved, %d before", i+2, after, before)
		}
	}
	if c.late > 0 {
		t.Error("an event is late while Postgres stores nothing")
	}
	for range mostLate {
		c.adapt(context.Background(), c.of(emits), appended{more: true}, nil)
		c.adapt(late, c.of(none), appended{}, slow)
	}
	if c.late != mostLate {
		t.Errorf("an event was late %d times of %d", c.late, mostLate)
	}
	c.adapt(context.Background(), c.of(none), appended{moved: 1, more: true}, nil)
	if c.late != 0 || c.events != 2 || !c.alone {
		t.Errorf("after a move in time: %+v", c)
	}
	c.adapt(context.Background(), c.of(none), appended{moved: 1}, nil)
	if c.alone {
		t.Errorf("after the last move: %+v", c)
	}
	for range 30 {
		c.adapt(context.Background(), c.of(none), appended{moved: 1, more: true}, nil)
	}
	if c.events != mostMoved.events || c.bytes != mostMoved.bytes {
		t.Errorf("after moves that were fast: %+v", c)
	}
	c.adapt(context.Background(), c.of(none), appended{moved: 1}, nil)
	if c != firstMoved {
		t.Errorf("after all was moved: %+v", c)
	}
	c.adapt(late, 0, appended{}, slow)
	if c.alone {
		t.Error("a timeout without a move makes moves smaller")
	}
}

// After timeouts, as in a crash, moves become larger again even on a slow machine: else more events would be
// emitted from SQL than are moved.
func TestMovesGrowAgainOnASlowMachine(t *testing.T) {
	c, none := moveBounds{events: 1, bytes: 1, alone: true}, &appendBatch{}
	for range 20 {
		n := c.of(none)
		c.adapt(context.Background(), n, appended{moved: int(n), moveMS: 2 * slowMove, more: true}, nil)
	}
	if c.events < leastMoved.events || c.bytes < leastMoved.bytes {
		t.Errorf("after 20 moves that were slow: %+v", c)
	}
}

// Emits wait for a move, so it has only as many events as fit into slowMove.
func TestMovesAreAsLargeAsThereIsTimeFor(t *testing.T) {
	c, emits := firstMoved, &appendBatch{units: []*unit{{}}}
	move := func(ms float64) { // for each event
		n := c.of(emits)
		c.adapt(context.Background(), n, appended{moved: int(n), moveMS: ms * float64(n), more: true}, nil)
	}
	for range 4 {
		move(1)
	}
	if n := c.of(emits); n != leastMoved.events {
		t.Errorf("%d events are moved in one append where each takes 1 ms", n)
	}
	c.adapt(context.Background(), 2, appended{}, nil)
	if n := c.of(emits); n != leastMoved.events {
		t.Errorf("%d events are moved at once after a while without any", n)
	}
	for range 12 {
		move(0.01)
	}
	if n := c.of(emits); n != mostMoved.events {
		t.Errorf("%d events are moved in one append where each takes 10 µs", n)
	}
	for range 4 {
		move(0.05)
	}
	if n := c.of(emits); n < 300 || n > 500 {
		t.Errorf("%d events are moved in one append where each takes 50 µs", n)
	}
}
