// Package log stores events in Postgres in one order, and reads them.
//
// New makes a Log; Run does its work until its context ends. Append and AppendEach store emits, Change stores
// membership changes, and ReadPage reads events back. Every instance stores in transactions that hold the
// append lock, so the order of commits is the order of offsets: a reader that continues after an offset never
// misses an event that became visible late.
//
// The files, from the top down; each uses only those below it (the methods of Log, appender and appendBatch fill
// several files):
//
//	log.go         New, Run, Close, and short methods
//	append.go      a call of Append or AppendEach
//	listen.go      notifications: others have stored something
//	members.go     joins and leaves, many in one transaction
//	retention.go   drops the oldest slices
//	appender.go    the goroutine that stores units, and how it stores a batch of them
//	staged.go      events from SQL: whether some wait, and moving them into the log between appends
//	behind.go      units that wait for events from SQL
//	call.go        one call of culvert.append
//	offers.go      batches of several instances that share a commit
//	bounds.go      how many events from SQL one append moves
//	results.go     the results of culvert.append, and answering units by them
//	arguments.go   the arguments of culvert.append
//	audience.go    who is to reply
//	keys.go        units that have an idempotency key in common
//	unit.go        units: what is stored or refused as one, what they take while they wait, the series of one
//	               AppendEach, and which events from SQL come before them
//	roomquota.go   how many rooms may be made
//	follower.go    reads into the tail what others have stored
//	warm.go        reads into the tail what was stored before the start
//	read.go        reads pages: for one reader, and for the follower
//	bodies.go      data that is in another row
//	page.go        a page, and a request for one
//	options.go     what a log is given
//	unreadable.go  events that cannot be read; metrics.go: what is measured
package log

import (
	"context"
	"errors"
	"sync"

	"github.com/culvertmq/culvert/event"
)

// Log writes and follows the log of one database, for one instance. Its methods are safe for concurrent use.
type Log struct {
	o        Options
	rooms    *roomQuota
	follower *follower
	appender *appender
	members  *membershipWriter
}

// New returns a log. It does nothing until Run is called.
func New(o Options) *Log {
	f := newFollower(o)
	a := newAppender(o, f)
	return &Log{o: o, rooms: newRoomQuota(o), follower: f, appender: a, members: newMembershipWriter(o, f, a)}
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
