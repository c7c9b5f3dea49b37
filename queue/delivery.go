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

// delivery gives volatile events to subscriptions in the order they came, each once the
// tail, which knows the members, has all that was in the log when it was emitted. They are
// for the members at that position: nobody gets one after a leave that was answered before, also
// who has come back since, and nobody misses one after a join, also who has left since.
type delivery struct {
	tail   *tail.Tail
	log    *log.Log
	logger *slog.Logger
	most   batch.Load // that waits
	wake   chan struct{}
	// empty is a position no event stands at, which the tail has passed all the same: the
	// end of a slice. Only run uses it.
	empty event.Cursor

	mu      sync.Mutex
	waiting []volatileBatch
	load    batch.Load
}

// volatileBatch is volatile events that were emitted together.
type volatileBatch struct {
	at     event.Cursor // all that was in the log is at or below it
	events []*tail.Volatile
}

// volatilePatience is how long volatile events wait for an instance that cannot follow the
// log. Those it cannot place are lost: to deliver them by old memberships could
// show them to somebody who has left.
const volatilePatience = 5 * time.Second

func newDelivery(o Options, t *tail.Tail, lg *log.Log) *delivery {
	return &delivery{tail: t, log: lg, logger: o.Logger, most: o.waits(), wake: make(chan struct{}, 1)}
}

// add hands over events that were emitted when the log was at a position or below.
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

// deliver waits at most once: a read of the log that begins now sees all that was
// committed when any of the batches was emitted, also where their position is that of an append
// which is not committed yet, or never will be.
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

// catchUp reports whether the tail has got all that is in the log by now.
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
