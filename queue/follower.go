package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// follower keeps the tail up to the log's head: it reads what other instances
// and applications appended, once per wake, whoever waits for it.
type follower struct {
	q      *Queue
	wake   chan struct{}
	target atomic.Int64 // the highest head heard of

	mu    sync.Mutex
	asked []chan struct{} // see caughtUp
}

// followPage is how many rows one read takes. It is above the number of rooms
// an event may have, so that a page always gets past one offset.
const followPage = 2_000

func newFollower(q *Queue) *follower {
	return &follower{q: q, wake: make(chan struct{}, 1)}
}

// lookAt has the follower read up to head, if the tail is not there yet.
// MaxOffset makes it look in any case.
func (f *follower) lookAt(head event.Offset) {
	for old := f.target.Load(); event.Offset(old) < head; old = f.target.Load() {
		if f.target.CompareAndSwap(old, int64(head)) {
			break
		}
	}
	notify(f.wake)
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

// answer is catchUp for those who asked before it begins; after a failure they wait on.
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

// run is the follower's goroutine: it looks when told to, and every Poll to make
// up for a notification that was lost.
func (f *follower) run(ctx context.Context) {
	tick := time.NewTicker(f.q.o.Poll)
	defer tick.Stop()
	away := false
	for {
		target := event.MaxOffset
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
			if target = event.Offset(f.target.Swap(0)); target <= f.q.tail.position().Offset {
				continue
			}
		case <-tick.C:
		}
		err := f.answer(ctx, target)
		if ctx.Err() != nil {
			return
		}
		// One line when Postgres goes and one when it is back, not one a second.
		if err != nil && !away {
			f.q.o.Logger.Warn("cannot follow the log; trying again until Postgres is back", "error", err)
		} else if err == nil && away {
			f.q.o.Logger.Info("following the log again", "head", f.q.tail.position().String())
		}
		away = err != nil
	}
}

// catchUp reads until the tail is at target, or has all that was in the log when it began: others
// may append as fast as it reads.
func (f *follower) catchUp(ctx context.Context, target event.Offset) error {
	for {
		counter, more, err := f.readOnce(ctx)
		if err != nil || !more {
			return err
		}
		if counter > 0 && counter < target {
			target = counter
		}
		if f.q.tail.position().Offset >= target {
			return nil
		}
	}
}

const followSQL = `
SELECT *
  FROM culvert.follow($1, $2, $3, $4, $5, $6)`

// readOnce reads one page of what the tail lacks. more: there may be more. counter is the highest
// offset that was given out by then, 0 if that is not known.
func (f *follower) readOnce(ctx context.Context) (counter event.Offset, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	l := f.q.lineage.Load()
	at, upto := f.q.tail.toRead()
	p, err := scanCarefully(nil, func(careful bool) (pgx.Rows, error) {
		return f.q.db.write.Query(ctx, followSQL, l.Generation, int64(at.Offset), int64(upto), followPage, maxBatch, careful)
	})
	switch {
	case postgres.IsOutdated(err):
		return 0, true, f.q.lineage.Renew(ctx, l)
	case err != nil:
		return 0, false, postgres.Unavailable(context.WithoutCancel(ctx), "follow", err)
	case p.counter < at.Offset:
		return 0, true, f.q.lineage.Overtaken(ctx, at.Offset)
	case p.floor > at.Offset:
		return 0, true, f.startOver(ctx, l, at, p)
	}
	more = p.bytes >= maxBatch || len(p.events) == followPage
	if len(p.events) == followPage { // it may end between two rooms of one event
		last := p.events[len(p.events)-1].Offset
		for p.events[len(p.events)-1].Offset == last {
			p.events = p.events[:len(p.events)-1]
		}
	}
	head := upto
	if more || upto == event.MaxOffset {
		if len(p.events) == 0 {
			return p.counter, false, nil
		}
		head = p.events[len(p.events)-1].Offset
	}
	if len(p.events) > 0 {
		f.q.metrics.followed(p.events)
	}
	f.q.faults.look(p.events...)
	f.q.tail.merge(l, head, p.events)
	return p.counter, more || upto < event.MaxOffset, nil
}

// startOver is for a tail that no longer continues: retention dropped what comes after
// its head. Subscriptions then find their gap in Postgres.
func (f *follower) startOver(ctx context.Context, l *lineage.Lineage, at event.Cursor, p page) error {
	now, head, err := f.q.lineage.Look(ctx)
	if err != nil {
		return err
	}
	f.q.o.Logger.Warn("the tail of the log starts over", "from", at.String(), "to", event.Cursor{Log: now.Log, Offset: head}.String(), "floor", p.floor)
	if now.SameHistory(l) { // else the next page says so
		f.q.tail.reset(l, head)
	}
	return nil
}

// feed hands the events an append of our own stored to the tail. What else was stored before
// them is read.
func (q *Queue) feed(l *lineage.Lineage, events []*event.Event, r appended) {
	prev := r.prev
	if r.moved > 0 {
		prev = r.base
	}
	if !q.tail.extend(l, prev, r.head, events) {
		q.follower.lookAt(r.head)
	}
}
