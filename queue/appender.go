package queue

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// appender stores what waits, one append at a time: emits that arrive while a
// commit is under way wait together and share the next one (group commit).
//
// A place is kept here for combining: an instance that finds the append lock
// taken could stage its batch durably and let the holder carry it.
type appender struct {
	q    *Queue
	wake chan struct{}             // something waits, or staged events may
	seen atomic.Pointer[movedUpTo] // only run sets it
	pid  atomic.Uint32             // of the server process the last append ran in

	// Only run uses these.
	away   postgres.Outage
	moving moveBounds
	held   []*unit // in order; see hold.go
	now    horizon // of the last append; see culvert.append

	mu     sync.Mutex
	units  lanes[*unit]
	quota  quota // of what waits, also of what is held
	staged bool  // somebody announced staged events
	closed bool
	last   *unit // answered once nothing waits any more
}

// mostAppended is what one append takes, unless one unit is more: so that no emit waits long behind
// others and a batch stays small beside Postgres' memory.
var mostAppended = load{events: 2_000, rooms: 2_000, bytes: 2 << 20}

func newAppender(q *Queue) *appender {
	return &appender{
		q: q, wake: make(chan struct{}, 1), away: postgres.NewOutage(q.o.Logger, q.db.work.Pool, "emits"), moving: firstMoved,
		quota: quota{most: load{events: q.o.QueueEvents, bytes: q.o.QueueBytes}},
	}
}

// submit queues all units, which are one caller's, or none.
func (a *appender) submit(units ...*unit) error {
	var all load
	for _, u := range units {
		all = all.plus(u.load)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return event.ErrClosed
	}
	if len(units) > 0 && !a.quota.take(units[0].caller, all) {
		return event.ErrOverloaded
	}
	for _, u := range units {
		a.units.push(u.caller, u, u.load)
	}
	notify(a.wake)
	return nil
}

// announce tells that staged events have been committed somewhere.
func (a *appender) announce() {
	a.mu.Lock()
	a.staged = true
	a.mu.Unlock()
	notify(a.wake)
}

// close refuses new emits and waits until the waiting ones are answered.
func (a *appender) close(ctx context.Context) error {
	last := newUnit(nil)
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.closed = true
	a.last = last
	a.mu.Unlock()
	notify(a.wake)
	select {
	case <-last.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("appends under way: %w", ctx.Err())
	}
}

// take removes the next batch from the queue.
func (a *appender) take() (batch []*unit, staged bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	batch, _ = a.units.take(mostAppended)
	for _, u := range batch {
		a.quota.free(u.caller, u.load)
	}
	if len(batch) == 0 && a.last != nil {
		batch, a.last = []*unit{a.last}, nil
	}
	staged, a.staged = a.staged, false
	return batch, staged
}

// waiting is the number of emits in the queue.
func (a *appender) waiting() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.quota.held.events
}

// Staged events are looked for every Poll; after some were found, much sooner
// for a while: where one transaction commits, others do.
const soonest = 10 * time.Millisecond

// run is the appender's goroutine.
func (a *appender) run(ctx context.Context) {
	pause := a.q.o.Poll
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		look := false
		select {
		case <-ctx.Done():
			a.refuse()
			return
		case <-a.wake:
		case <-timer.C:
			look = true
		}
		found := a.drain(ctx, look)
		if found {
			pause = soonest
		} else if look {
			pause = min(2*pause, a.q.o.Poll)
		}
		if found || look {
			timer.Reset(pause)
		}
	}
}

// refuse answers what waits when Close does not.
func (a *appender) refuse() {
	a.mu.Lock()
	a.closed = true
	units := a.held
	for u, _, ok := a.units.next(); ok; u, _, ok = a.units.next() {
		a.units.pop()
		units = append(units, u)
	}
	a.held, a.quota = nil, quota{most: a.quota.most}
	a.mu.Unlock()
	for _, u := range units {
		u.refuse(event.ErrClosed)
	}
}

// drain appends until nothing waits. It reports whether staged events were found.
func (a *appender) drain(ctx context.Context, look bool) (found bool) {
	for {
		batch, staged := a.take()
		if len(batch) == 0 && len(a.held) == 0 && !staged && (!look || !a.probe(ctx)) {
			return found
		}
		t := &turn{}
		if len(batch)+len(a.held) > 0 || !a.moving.alone {
			a.store(ctx, append(a.releaseHeld(ctx, t), a.holdBehind(batch)...), t)
		} else {
			t.more = true
		}
		if a.moving.alone && t.more {
			a.moveAlone(ctx, t)
		}
		found = found || t.moved > 0
		look = t.more
	}
}

// horizon is a transaction id of one server. To another one it says nothing: on one that
// was behind, all that is staged may have lower ids.
type horizon struct {
	of  *lineage.Lineage
	xid uint64
}

// on is the id as culvert.append takes it; 0 on another server than its own.
func (h *horizon) on(l *lineage.Lineage) int64 {
	if h == nil || h.of == nil || !h.of.SameHistory(l) {
		return 0
	}
	return int64(h.xid) //nolint:gosec // a transaction id counts up from 0
}

// movedUpTo says which staged events are in the log already, see culvert.append: those of the
// transactions visible in seen, and those of part up to the id last (0 of none at first). To another server it says
// nothing, as a horizon.
type movedUpTo struct {
	of   *lineage.Lineage
	seen string // a pg_snapshot
	part int64
	last int64
}

// on is it as culvert.append takes it; nothing on another server than its own.
func (c *movedUpTo) on(l *lineage.Lineage) movedUpTo {
	if c == nil || c.of == nil || !c.of.SameHistory(l) {
		return movedUpTo{seen: "1:1:"}
	}
	return *c
}

// notify wakes whoever receives from a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
