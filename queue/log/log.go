// Package log stores events in Postgres in one order, and reads them.
//
// New makes a Log; Run does its work until its context ends. Append and AppendEach store emits, Change stores
// membership changes, and ReadPage reads events back. Every instance stores in transactions that hold the
// append lock, so the order of commits is the order of offsets: a reader that continues after an offset never
// misses an event that became visible late.
//
// The files:
//
//	append.go      a call of Append, and units: what is stored or refused as one
//	appender.go    the goroutine that stores units, and store.go, what one turn of it does
//	call.go        the arguments and results of culvert.append; results.go tells units what became of them
//	behind.go      units that wait for events from SQL, which staged.go moves into the log
//	series.go      the order of one AppendEach; audience.go: who is to reply
//	roomquota.go   how many rooms may be made; size.go: what an emit takes while it waits
//	members.go     joins and leaves, many in one transaction
//	follower.go    reads into the tail what others have stored, when listen.go hears of it
//	page.go        pages for one reader; bodies.go: data that is in another row
//	unreadable.go  events that cannot be read
//	retention.go   drops the oldest slices
package log

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/tail"
)

// Log writes and follows the log of one database, for one instance. Its methods are safe for concurrent use.
type Log struct {
	o        Options
	rooms    *roomQuota
	follower *follower
	appender *appender
	members  *membershipWriter
}

// Options configure a Log. All but Listener must be set.
type Options struct {
	DB      *postgres.Pools
	Lineage *lineage.Keeper
	// Tail gets all events, whichever instance stored them.
	Tail    *tail.Tail
	Metrics *Metrics
	Faults  *Faults
	Logger  *slog.Logger
	// Listener waits for notifications. If it is nil, the log is read every Poll.
	Listener *postgres.Listener
	Poll     time.Duration
	// Waiting bounds the emits that wait, and likewise the membership changes.
	Waiting batch.Load
	// AppendTimeout is how long one append may take before its emits fail.
	AppendTimeout time.Duration
	// Retention: see queue.Options.
	Retention       time.Duration
	RetentionEvents int64
	Slice           time.Duration
	SliceEvents     int64
}

// New returns a log. It does nothing until Run is called.
func New(o Options) *Log {
	f := newFollower(o)
	a := newAppender(o, f)
	return &Log{o: o, rooms: newRoomQuota(o), follower: f, appender: a, members: newMembershipWriter(o, f, a)}
}

// Neighbours are functions that the log calls for other packages. Registry and Volatile must not block.
type Neighbours struct {
	Registry func() // operators changed something
	Volatile func() // an instance has published volatile events
	// Sweep deletes what deleted namespaces have left. Retention calls it, and it may take long.
	Sweep func(context.Context) error
}

// Run appends, follows, and drops old slices until ctx ends. Calls that still wait then return event.ErrClosed.
func (lg *Log) Run(ctx context.Context, n Neighbours) {
	var all sync.WaitGroup
	all.Go(func() { lg.appender.run(ctx) })
	all.Go(func() { lg.members.run(ctx) })
	all.Go(func() { lg.follower.run(ctx) })
	if lg.o.Listener != nil {
		listener := &listener{o: lg.o, follower: lg.follower, appender: lg.appender, neighbours: n}
		all.Go(func() { listener.run(ctx) })
	}
	all.Go(func() { lg.retain(ctx, n.Sweep) })
	all.Wait()
}

// Close refuses new emits and membership changes, and waits until those that wait are answered, at most until
// ctx ends.
func (lg *Log) Close(ctx context.Context) error {
	return errors.Join(lg.members.queue.Close(ctx), lg.appender.queue.Close(ctx))
}

// Announce says that events from SQL may have been committed. It never blocks.
func (lg *Log) Announce() { lg.appender.announce() }

// LookAt makes the follower bring the tail up to head; with MaxOffset, up to whatever is in the log. It never
// blocks.
func (lg *Log) LookAt(head event.Offset) { lg.follower.lookAt(head) }

// CaughtUp returns a channel that is closed once the tail has all that is committed at the time of the call.
func (lg *Log) CaughtUp() <-chan struct{} { return lg.follower.caughtUp() }

// Waiting is the number of emits that wait to be stored.
func (lg *Log) Waiting() int { return lg.appender.queue.Waiting().Events }

// SliceSize is the number of offsets in a slice: slice n begins at offset n*SliceSize. The SQL in migrations/
// has the same number.
const SliceSize = 1_000_000_000

// notify wakes the goroutine that receives from a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
