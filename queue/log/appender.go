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
// Combining could be added here: an instance that finds the append lock taken could stage its batch durably and
// let the holder of the lock append it.
type appender struct {
	o        Options
	follower *follower
	closing  sync.WaitGroup            // connections that are being closed
	seen     atomic.Pointer[movedUpTo] // only run sets it
	pid      atomic.Uint32             // of the Postgres process that ran the last append

	// Only run uses these.
	away   postgres.Outage
	moving moveBounds
	held   []*unit // in order; see behind.go
	now    horizon // now_ of the last append; see culvert.append

	queue  *batch.Queue[*unit] // its load includes the held units
	staged atomic.Bool         // somebody announced staged events
}

// MostAppended bounds one append, so that no emit waits long for others and a batch needs little of Postgres'
// memory. A single unit may be larger.
var MostAppended = batch.Load{Events: 2_000, Rooms: 2_000, Bytes: 2 << 20}

func newAppender(o Options, f *follower) *appender {
	return &appender{
		o: o, follower: f, away: postgres.NewOutage(o.Logger, o.DB.Work.Pool, "emits"), moving: firstMoved,
		queue: batch.New[*unit](batch.Options{What: "appends", Most: o.Waiting, Batch: MostAppended}),
	}
}

// announce says that staged events may have been committed; the appender then looks for them.
func (a *appender) announce() {
	a.staged.Store(true)
	a.queue.Wake()
}

// soonest is the pause until the next search for staged events after some were found: where one transaction
// commits, others do. As long as none is found, the pause doubles, up to Poll.
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

// refuse answers the units that still wait when run ends.
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

// horizon is a transaction id. It means something only on its own server: on another one that was behind, all
// staged events may have lower ids.
type horizon struct {
	of  *lineage.Lineage
	xid uint64
}

// on returns the id for culvert.append, or 0 if l is not of the same server.
func (h *horizon) on(l *lineage.Lineage) int64 {
	if h == nil || h.of == nil || !h.of.SameHistory(l) {
		return 0
	}
	return int64(h.xid) //nolint:gosec // a transaction id counts up from 0
}

// movedUpTo says which staged events are in the log already, see culvert.append: those of all transactions that
// are visible in seen, and those of the transaction part up to the id last (both are 0 at first). Like a
// horizon, it means something only on its own server.
type movedUpTo struct {
	of   *lineage.Lineage
	seen string // a pg_snapshot
	part int64
	last int64
}

// on returns c for culvert.append. If l is not of the same server, it says that nothing was moved.
func (c *movedUpTo) on(l *lineage.Lineage) movedUpTo {
	if c == nil || c.of == nil || !c.of.SameHistory(l) {
		return movedUpTo{seen: "1:1:"}
	}
	return *c
}
