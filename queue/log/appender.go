package log

import (
	"context"
	"errors"
	"slices"
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
// Instances that append at the same time share commits, too: see offers.go.
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
	peers  peers

	queue  *batch.Queue[*unit] // its load includes the held units
	staged atomic.Bool         // somebody announced staged events
}

func newAppender(o Options, f *follower) *appender {
	return &appender{
		o: o, follower: f, away: postgres.NewOutage(o.Logger, o.DB.Work.Pool, "emits"), moving: firstMoved, peers: peers{expect: 1},
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

// store answers every unit of the batch, or holds it. Units that share a key with an earlier one of the batch
// wait for its result, and so does what follows them in their series.
func (a *appender) store(ctx context.Context, batch []*unit, t *turn) {
	for {
		waiting := unbroken(batch)
		if len(waiting) == 0 && len(batch) > 0 {
			return
		}
		now, later := apart(waiting)
		err := a.attempt(ctx, now, t)
		switch {
		case err == nil:
		case len(now) > 1 && !errors.Is(err, event.ErrUnavailable):
			// One emit that Postgres refuses must not fail the others, so each is tried alone. They must not
			// overtake one that is held meanwhile.
			for i, u := range now {
				if u.held || u.Answered() || len(unbroken(now[i:i+1])) == 0 || len(a.holdBehind(now[i:i+1])) == 0 {
					continue
				}
				if err := a.attempt(ctx, []*unit{u}, t); err != nil {
					u.refuse(err)
				}
			}
		default:
			for _, u := range now {
				if !u.held {
					u.refuse(err)
				}
			}
		}
		if batch = a.holdBehind(later); len(batch) == 0 {
			return
		}
	}
}

// attempt appends the batch and settles its units. Emits with known keys get their result, and units behind
// staged events are held; then the rest is tried again. If ids were outdated, everything is tried again. ctx
// ends only when the queue has given up waiting for the appender.
func (a *appender) attempt(ctx context.Context, batch []*unit, t *turn) error {
	ctx, cancel := context.WithTimeout(ctx, a.o.AppendTimeout)
	defer cancel()
	for {
		b, err := a.build(ctx, batch)
		if postgres.IsOutdated(err) {
			if err := a.renew(ctx, b.lineage); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			// The deadline is the appender's, not a caller's: if it passes, Postgres is slow.
			err = postgres.Unavailable(context.WithoutCancel(ctx), "append", err)
			a.failed(ctx, err)
			return err
		}
		start := time.Now()
		r, err := a.append(ctx, b, t)
		if err != nil {
			return err
		}
		switch {
		case r.generation != b.lineage.Generation:
			if err := a.renew(ctx, b.lineage); err != nil {
				return err
			}
			continue
		case len(r.waits) > 0:
			batch = a.hold(b.units, r.waits)
		case len(r.known) > 0:
			a.o.Tail.Learn(b.lineage, slices.Max(r.knownOffset))
			batch = b.settleKnown(r)
		default:
			a.o.Metrics.appended(len(b.events), time.Since(start), 0)
			a.feed(b.lineage, b.finish(r), r)
			for _, u := range b.units {
				u.Answer(nil)
			}
			return nil
		}
		if len(batch) == 0 {
			return nil
		}
	}
}

// feed hands the events that our own append stored to the tail. The follower reads what was stored before them.
func (a *appender) feed(l *lineage.Lineage, events []*event.Event, r appended) {
	prev := r.prev
	if r.moved > 0 {
		prev = r.base
	}
	if !a.o.Tail.Extend(l, prev, r.head, events) {
		a.follower.lookAt(r.head)
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
