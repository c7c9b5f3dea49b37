package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/tail"
)

// ahead is a page read while the one before it is delivered, so that Postgres and the
// reader work at the same time. Only a subscription that has far to go has one: from
// its second page on.
type ahead struct {
	after, head event.Offset
	limit       int
	page        log.Page
	err         error
	done        chan struct{}
}

// request asks for what comes after the cursor.
func (s *Subscription) request(intervals []tail.Interval, upTo event.Offset, limit int) log.PageRequest {
	return log.PageRequest{
		Namespace: s.in.Namespace, ID: s.ns.ID, Client: s.in.Client,
		Intervals: intervals, After: s.cursor.Offset, UpTo: upTo, Limit: limit, Memory: s.in.Memory,
	}
}

// readAhead starts to read what comes after a position. The read outlives the caller's
// context and Close of the subscription, by one page at the most: to cancel it would
// cost its connection. Closing the pool waits for it.
func (s *Subscription) readAhead(ctx context.Context, l *lineage.Lineage, intervals []tail.Interval, after, head event.Offset, limit int) {
	a := &ahead{after: after, head: head, limit: limit, done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx)
	r := s.request(intervals, head, limit)
	r.After = after
	go func() {
		defer close(a.done)
		a.page, a.err = s.source.log.ReadPage(ctx, l, r)
	}()
	s.ahead = a
}

// page reads what comes after the cursor up to head: what was read ahead when that is
// it. It returns how far was read.
func (s *Subscription) page(ctx context.Context, l *lineage.Lineage, intervals []tail.Interval, head event.Offset, limit int) (log.Page, event.Offset, error) {
	a := s.ahead
	s.ahead = nil
	if a != nil && a.after == s.cursor.Offset && a.limit == limit {
		select {
		case <-a.done:
			if a.err == nil && a.page.Lineage == l {
				return a.page, a.head, nil
			}
			a.page.Release(s.in.Memory)
		case <-ctx.Done():
			return log.Page{}, 0, ctx.Err()
		}
	}
	p, err := s.source.log.ReadPage(ctx, l, s.request(intervals, head, limit))
	return p, head, err
}
