package queue

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/tail"
)

// delivery gives volatile events to subscriptions in the order they came. Each event waits until the tail,
// which knows the members, has all that was in the log when the event was emitted. It is for the members at
// that position: a client whose leave was answered before does not get it, even if it has joined again since,
// and a client whose join was answered before gets it, even if it has left since.
type delivery struct {
	tail   *tail.Tail
	log    *log.Log
	logger *slog.Logger
	most   batch.Load // of what waits
	wake   chan struct{}
	// empty is the end of a slice. No event has this position, so the tail never reports it, but it has all
	// events up to it. Only run uses it.
	empty event.Cursor

	mu      sync.Mutex
	waiting []volatileBatch
	load    batch.Load
}

// volatileBatch is volatile events that were emitted together.
type volatileBatch struct {
	at     event.Cursor // all that was in the log then is at or below it
	events []*tail.Volatile
}

// volatilePatience is how long volatile events wait while an instance cannot follow the log. Then they are
// lost: delivering them by old memberships could show them to clients that have left.
const volatilePatience = 5 * time.Second

func newDelivery(o Options, t *tail.Tail, lg *log.Log) *delivery {
	return &delivery{tail: t, log: lg, logger: o.Logger, most: o.waits(), wake: make(chan struct{}, 1)}
}

// add queues events that were emitted when the log was at a position or below.
func (d *delivery) add(at event.Cursor, events []*tail.Volatile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := loadOf(events)
	if !d.load.Plus(all).Within(d.most, 1) {
		d.tail.Drop(len(events))
		return
	}
	d.waiting = append(d.waiting, volatileBatch{at, events})
	d.load = d.load.Plus(all)
	notify(d.wake)
}

// run is the goroutine that delivers.
func (d *delivery) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		d.mu.Lock()
		batches := d.waiting
		d.waiting, d.load = nil, batch.Load{}
		d.mu.Unlock()
		d.deliver(ctx, batches)
	}
}

// deliver waits for the tail at most once: a read of the log that begins now sees all that was committed when
// any of the batches was emitted. That is true even if their position is that of an append which is not
// committed yet, or never will be.
func (d *delivery) deliver(ctx context.Context, batches []volatileBatch) {
	current := false
	for i, f := range batches {
		if !current && !d.tail.Has(f.at) && f.at != d.empty {
			if !d.catchUp(ctx) {
				for _, lost := range batches[i:] {
					d.tail.Drop(len(lost.events))
				}
				return
			}
			current = true
			// No event ever gets the last offset of a slice: the counter is moved
			// there when a slice is opened, after all earlier appends have ended.
			if f.at.Offset%log.SliceSize == log.SliceSize-1 {
				d.empty = f.at
			}
		}
		d.tail.Publish(f.events)
	}
}

// catchUp waits until the tail has all that is in the log now, and reports whether it has.
func (d *delivery) catchUp(ctx context.Context) bool {
	timer := time.NewTimer(volatilePatience)
	defer timer.Stop()
	select {
	case <-d.log.CaughtUp():
		return true
	case <-timer.C:
		d.logger.Warn("volatile events are lost: the log cannot be followed")
	case <-ctx.Done():
	}
	return false
}

// loadOf returns what volatile events take while they wait.
func loadOf(events []*tail.Volatile) (all batch.Load) {
	for _, e := range events {
		l := batch.Load{Events: 1, Rooms: len(e.To), Bytes: tail.SizeOf(len(e.Event.Data)) + len(e.To)*log.NameBytes + len(e.Event.Except)*log.NameBytes}
		for _, list := range [][]event.Room{e.To, e.Event.Except} {
			for _, r := range list {
				l.Bytes += len(r.String())
			}
		}
		all = all.Plus(l)
	}
	return all
}
