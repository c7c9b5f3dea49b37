package queue

import (
	"context"
	"testing"
	"time"
	"weak"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/queue/tail"
)

// Statements whose cost must not grow with rows that they do not ask for.
const (
	StateSQL    = stateSQL
	RoomsSQL    = roomsSQL
	EveryoneSQL = everyoneSQL
	OwnSQL      = ownSQL
)

// RegistryByNotificationAlone keeps the queues opened during the test from
// polling the registry.
func RegistryByNotificationAlone(t *testing.T) {
	old := registryPoll
	registryPoll = time.Hour
	t.Cleanup(func() { registryPoll = old })
}

// WithIDs calls WithIDs of the lineage with an f that needs no ids.
func (q *Queue) WithIDs(ctx context.Context, f func() error) error {
	return q.lineage.WithIDs(ctx, func(*lineage.Lineage) error { return f() })
}

// CaughtUp returns a channel that is closed once this instance has read all that is in the log now.
func (q *Queue) CaughtUp() <-chan struct{} { return q.log.CaughtUp() }

// Read returns how far this instance has read the log.
func (q *Queue) Read() event.Offset { return q.tail.Position().Offset }

// Queries returns how often requests have asked Postgres for something to read.
func (q *Queue) Queries() int64 { return q.db.Read.Pool.Stat().AcquireCount() }

// IdleReader is a reader that is kept between two polls. It becomes nil when nothing holds it any more.
type IdleReader = weak.Pointer[tail.Reader]

// IdleReaders returns the readers that are kept between two polls, the oldest first.
func (q *Queue) IdleReaders() (all []IdleReader) {
	i := q.source.idle
	i.mu.Lock()
	defer i.mu.Unlock()
	for e := i.oldest.Front(); e != nil; e = e.Next() {
		all = append(all, weak.Make(e.Value.(*idleReader).reader))
	}
	return all
}

// KeepIdle lowers the bound of kept readers so that only n of those kept now fit.
func (q *Queue) KeepIdle(n int) {
	i := q.source.idle
	i.mu.Lock()
	defer i.mu.Unlock()
	i.most = i.bytes * n / i.oldest.Len()
}

// Cold makes Open leave the tail empty, so that what was stored before is read from Postgres.
func Cold(o *Options) { o.cold = true }

// TailFloor returns the position after which this instance has all events in memory.
func (q *Queue) TailFloor() event.Offset { return q.tail.Floor() }
