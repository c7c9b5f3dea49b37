package log

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/tail"
)

// follower brings the tail up to the log's head: it reads what other instances appended, once for all readers
// of this instance.
type follower struct {
	o      Options
	wake   chan struct{}
	target atomic.Int64 // the highest head that was announced

	mu    sync.Mutex
	asked []chan struct{} // see caughtUp
}

func newFollower(o Options) *follower {
	return &follower{o: o, wake: make(chan struct{}, 1)}
}

// lookAt makes the follower read up to head, if the tail is not there yet. With MaxOffset it reads in any case.
func (f *follower) lookAt(head event.Offset) {
	for old := f.target.Load(); event.Offset(old) < head; old = f.target.Load() {
		if f.target.CompareAndSwap(old, int64(head)) {
			break
		}
	}
	notify(f.wake)
}

// notify wakes the goroutine that receives from a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// caughtUp returns a channel that is closed once the tail has all that is committed at
// the time of the call.
func (f *follower) caughtUp() <-chan struct{} {
	done := make(chan struct{})
	f.mu.Lock()
	f.asked = append(f.asked, done)
	f.mu.Unlock()
	f.lookAt(event.MaxOffset)
	return done
}

// answer catches up, and answers the calls of caughtUp that were made before it began; after a failure they
// wait on.
func (f *follower) answer(ctx context.Context, target event.Offset) error {
	f.mu.Lock()
	asked := f.asked
	f.asked = nil
	f.mu.Unlock()
	if len(asked) > 0 {
		target = event.MaxOffset
	}
	err := f.catchUp(ctx, target)
	if err != nil {
		f.mu.Lock()
		f.asked = append(f.asked, asked...)
		f.mu.Unlock()
		return err
	}
	for _, done := range asked {
		close(done)
	}
	return nil
}

// run is the follower's goroutine: it reads when told to, and every Poll to make
// up for a notification that was lost.
func (f *follower) run(ctx context.Context) {
	tick := time.NewTicker(f.o.Poll)
	defer tick.Stop()
	away := false
	for {
		target := event.MaxOffset
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
			if target = event.Offset(f.target.Swap(0)); target <= f.o.Tail.Position().Offset {
				continue
			}
		case <-tick.C:
		}
		err := f.answer(ctx, target)
		if ctx.Err() != nil {
			return
		}
		// One line when Postgres fails and one when it is back, not one a second.
		if err != nil && !away {
			f.o.Logger.Warn("cannot follow the log; trying again until Postgres is back", "error", err)
		} else if err == nil && away {
			f.o.Logger.Info("following the log again", "head", f.o.Tail.Position().String())
		}
		away = err != nil
	}
}

// catchUp reads until the tail is at target, or has all that was in the log when catchUp began. It does not
// wait for the head: others may append as fast as it reads.
func (f *follower) catchUp(ctx context.Context, target event.Offset) error {
	for {
		counter, more, err := f.readOnce(ctx)
		if err != nil || !more {
			return err
		}
		if counter > 0 && counter < target {
			target = counter
		}
		if f.o.Tail.Position().Offset >= target {
			return nil
		}
	}
}

const followSQL = `
SELECT *
  FROM culvert.follow($1, $2, $3, $4, $5, $6)`

// readOnce reads one page of what the tail lacks. more: there may be more. counter is the highest offset that
// was assigned by then, 0 if that is not known.
func (f *follower) readOnce(ctx context.Context) (counter event.Offset, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	l := f.o.Lineage.Load()
	at, upto := f.o.Tail.ToRead()
	p, err := scanCarefully(nil, func(careful bool) (pgx.Rows, error) {
		return f.o.DB.Write.Query(ctx, followSQL, l.Generation, int64(at.Offset), int64(upto), followPage, tail.MaxBatch, careful)
	})
	switch {
	case postgres.IsOutdated(err):
		return 0, true, f.o.Lineage.Renew(ctx, l)
	case err != nil:
		return 0, false, postgres.Unavailable(context.WithoutCancel(ctx), "follow", err)
	case p.Counter < at.Offset:
		return 0, true, f.o.Lineage.Overtaken(ctx, at.Offset)
	case p.Floor > at.Offset:
		return 0, true, f.startOver(ctx, l, at, p)
	}
	more = p.cutShort()
	if len(p.Events) == followPage { // it may end between two rooms of one event
		last := p.Events[len(p.Events)-1].Offset
		for p.Events[len(p.Events)-1].Offset == last {
			p.Events = p.Events[:len(p.Events)-1]
		}
	}
	head := upto
	if more || upto == event.MaxOffset {
		if len(p.Events) == 0 {
			return p.Counter, false, nil
		}
		head = p.Events[len(p.Events)-1].Offset
	}
	if len(p.Events) > 0 {
		f.o.Metrics.haveFollowed(p.Events)
	}
	f.o.Faults.Look(p.Events...)
	f.o.Tail.Merge(l, head, p.Events)
	return p.Counter, more || upto < event.MaxOffset, nil
}

// startOver empties the tail and begins at the log's head, because retention dropped events that come next in
// the tail. Subscriptions then find their gap in Postgres.
func (f *follower) startOver(ctx context.Context, l *lineage.Lineage, at event.Cursor, p Page) error {
	now, head, err := f.o.Lineage.Look(ctx)
	if err != nil {
		return err
	}
	f.o.Logger.Warn("retention dropped events before this instance had read them; its tail starts over at the head", "from", at.String(), "to", event.Cursor{Log: now.Log, Offset: head}.String(), "floor", p.Floor)
	if now.SameHistory(l) { // else the next read finds out
		f.o.Tail.Reset(l, head)
	}
	return nil
}
