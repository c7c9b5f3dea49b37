package queue

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// acks writes stored cursors, many at a time: acknowledgements that arrive within
// ackPause, or while an update is under way, share one statement.
type acks struct {
	q    *Queue
	wake chan struct{}

	mu      sync.Mutex
	waiting map[clientKey]*pendingAck
	closed  bool
	idle    chan struct{} // closed by run when it has flushed after closed

	away postgres.Outage // only run uses it
}

type clientKey struct {
	ns     event.Namespace
	client event.Client
}

// pendingAck is shared by the requests that acknowledge for one client.
type pendingAck struct {
	cursor event.Offset
	of     *lineage.Lineage // that has the cursor
	stored event.Cursor     // set once it is committed
	err    error
	done   chan struct{}
}

const ackPause = 5 * time.Millisecond

func newAcks(q *Queue) *acks {
	return &acks{
		q: q, wake: make(chan struct{}, 1), idle: make(chan struct{}),
		waiting: map[clientKey]*pendingAck{}, away: postgres.NewOutage(q.o.Logger, q.db.work.Pool, "acknowledgements"),
	}
}

// close refuses new acknowledgements and waits until the waiting ones are written.
func (a *acks) close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	notify(a.wake)
	select {
	case <-a.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("acknowledgements under way: %w", ctx.Err())
	}
}

// run is the goroutine that writes.
func (a *acks) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			a.refuse()
			return
		case <-a.wake:
		}
		if a.stopped() {
			a.flush(ctx)
			close(a.idle)
			return
		}
		select {
		case <-time.After(ackPause):
		case <-ctx.Done():
		}
		a.flush(ctx)
	}
}

// refuse answers what waits when Close does not.
func (a *acks) refuse() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, p := range a.waiting {
		p.err = event.ErrClosed
		close(p.done)
	}
	clear(a.waiting)
}

func (a *acks) stopped() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// flush writes what has gathered.
func (a *acks) flush(ctx context.Context) {
	a.mu.Lock()
	waiting := a.waiting
	a.waiting = make(map[clientKey]*pendingAck, len(waiting))
	a.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.q.o.AppendTimeout)
	defer cancel()
	err := a.write(ctx, waiting)
	a.away.Note(ctx, err)
	for _, p := range waiting {
		p.err = cmp.Or(p.err, err)
		close(p.done)
	}
}
