package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
)

// ahead is a page read while the one before it is delivered, so that Postgres and the
// reader work at the same time. Only a subscription that has far to go has one: from
// its second page on.
type ahead struct {
	after, head event.Offset
	limit       int
	page        page
	err         error
	done        chan struct{}
}

// readAhead starts to read what comes after a position. The read outlives the caller's
// context and Close of the subscription, by one page at the most: to cancel it would
// cost its connection. Closing the pool waits for it.
func (s *Subscription) readAhead(ctx context.Context, l *lineage.Lineage, intervals []interval, after, head event.Offset, limit int) {
	a := &ahead{after: after, head: head, limit: limit, done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer close(a.done)
		a.page, a.err = s.q.readPage(ctx, l, s.in, s.ns.ID, intervals, after, head, limit)
	}()
	s.ahead = a
}

// page reads what comes after the cursor up to head: what was read ahead when that is
// it. It returns how far was read.
func (s *Subscription) page(ctx context.Context, l *lineage.Lineage, intervals []interval, head event.Offset, limit int) (page, event.Offset, error) {
	a := s.ahead
	s.ahead = nil
	if a != nil && a.after == s.cursor.Offset && a.limit == limit {
		select {
		case <-a.done:
			if a.err == nil && a.page.lineage == l {
				return a.page, a.head, nil
			}
			a.page.release(s.in.Memory)
		case <-ctx.Done():
			return page{}, 0, ctx.Err()
		}
	}
	p, err := s.q.readPage(ctx, l, s.in, s.ns.ID, intervals, s.cursor.Offset, head, limit)
	return p, head, err
}
