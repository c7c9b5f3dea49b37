package log

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// appender stores what waits, one append at a time: emits that arrive while a
// commit is under way wait together and share the next one (group commit).
//
// A place is kept here for combining: an instance that finds the append lock
// taken could stage its batch durably and let the holder carry it.
type appender struct {
	o        Options
	follower *follower
	closing  sync.WaitGroup            // connections that are being closed
	seen     atomic.Pointer[movedUpTo] // only run sets it
	pid      atomic.Uint32             // of the server process the last append ran in

	// Only run uses these.
	away   postgres.Outage
	moving moveBounds
	held   []*unit // in order; see hold.go
	now    horizon // of the last append; see culvert.append

	queue  *batch.Queue[*unit] // its load is also of what is held
	staged atomic.Bool         // somebody announced staged events
}

// MostAppended is what one append takes, unless one unit is more: so that no emit waits long behind
// others and a batch stays small beside Postgres' memory.
var MostAppended = batch.Load{Events: 2_000, Rooms: 2_000, Bytes: 2 << 20}

func newAppender(o Options, f *follower) *appender {
	return &appender{
		o: o, follower: f, away: postgres.NewOutage(o.Logger, o.DB.Work.Pool, "emits"), moving: firstMoved,
		queue: batch.New[*unit](batch.Options{What: "appends", Most: o.Waiting, Batch: MostAppended}),
	}
}

// announce tells that staged events have been committed somewhere.
func (a *appender) announce() {
	a.staged.Store(true)
	a.queue.Wake()
}

// Staged events are looked for every Poll; after some were found, much sooner
// for a while: where one transaction commits, others do.
const soonest = 10 * time.Millisecond

// run is the appender's goroutine.
func (a *appender) run(ctx context.Context) {
	defer a.closing.Wait()
	pause := a.o.Poll
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		look := false
		select {
		case <-ctx.Done():
			a.refuse()
			return
		case <-a.queue.Woken():
		case <-timer.C:
			look = true
		}
		found := a.drain(ctx, look)
		if found {
			pause = soonest
		} else if look {
			pause = min(2*pause, a.o.Poll)
		}
		if found || look {
			timer.Reset(pause)
		}
	}
}

// refuse answers what waits when Close does not.
func (a *appender) refuse() {
	a.queue.Refuse()
	for _, u := range a.held {
		a.queue.Release(u)
		u.refuse(event.ErrClosed)
	}
	a.held = nil
}

// drain appends until nothing waits. It reports whether staged events were found.
func (a *appender) drain(ctx context.Context, look bool) (found bool) {
	for {
		batch, staged := a.queue.Take(), a.staged.Swap(false)
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
