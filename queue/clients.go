package queue

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"
)

// clients writes what changes often about clients, stored cursors and who is
// online, many at a time: acknowledgements that arrive within ackPause, or while
// an update is under way, share one statement.
type clients struct {
	q    *Queue
	wake chan struct{}

	mu     sync.Mutex
	acks   map[clientKey]*pendingAck
	online map[clientKey]*presence
	touch  map[clientKey]time.Duration // leases to be written
	closed bool
	idle   chan struct{} // closed by run when it has flushed after closed
}

type clientKey struct {
	ns     Namespace
	client Client
}

// pendingAck is shared by the requests that acknowledge for one client.
type pendingAck struct {
	cursor Offset
	stored Cursor
	err    error
	done   chan struct{}
}

const ackPause = 5 * time.Millisecond

func newClients(q *Queue) *clients {
	return &clients{
		q: q, wake: make(chan struct{}, 1), idle: make(chan struct{}),
		acks: map[clientKey]*pendingAck{}, online: map[clientKey]*presence{}, touch: map[clientKey]time.Duration{},
	}
}

// close refuses new acknowledgements and waits until the waiting ones are written.
func (c *clients) close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	notify(c.wake)
	select {
	case <-c.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("acknowledgements under way: %w", ctx.Err())
	}
}

// run is the goroutine that writes.
func (c *clients) run(ctx context.Context) {
	renew := time.NewTicker(leaseSweep)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			if c.stopped() {
				c.flush(ctx)
				close(c.idle)
				<-ctx.Done()
				return
			}
			select {
			case <-time.After(ackPause):
			case <-ctx.Done():
			}
		case <-renew.C:
			c.sweep(time.Now())
		}
		c.flush(ctx)
	}
}

func (c *clients) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// flush writes what has gathered.
func (c *clients) flush(ctx context.Context) {
	c.mu.Lock()
	acks, touch := c.acks, c.touch
	c.acks = make(map[clientKey]*pendingAck, len(acks))
	c.touch = map[clientKey]time.Duration{}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, c.q.o.AppendTimeout)
	defer cancel()
	if len(acks) > 0 {
		err := c.writeAcks(ctx, acks)
		for _, p := range acks {
			if p.stored.IsZero() && p.err == nil {
				p.err = cmp.Or(err, errNoAnswer)
			}
			close(p.done)
		}
	}
	if len(touch) > 0 {
		if err := c.writeLeases(ctx, touch); err != nil && ctx.Err() == nil {
			c.q.o.Logger.Debug("leases of clients not renewed; the next sweep does", "error", err)
		}
	}
}
