package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/tail"
)

// ahead is a page read while the one before it is delivered, so that Postgres and the reader work at the same
// time. Only a subscription that is far behind reads ahead: from its second page on.
type ahead struct {
	after, head event.Offset
	limit       int
	page        log.Page
	err         error
	done        chan struct{}
}

// request returns the request for what comes after the cursor.
func (s *Subscription) request(intervals []tail.Interval, upTo event.Offset, limit int) log.PageRequest {
	return log.PageRequest{
		Namespace: s.in.Namespace, ID: s.ns.ID, Client: s.in.Client,
		Intervals: intervals, After: s.cursor.Offset, UpTo: upTo, Limit: limit, Memory: s.in.Memory,
	}
}

// readAhead starts to read what comes after a position. The read continues after the caller's context has ended
// or the subscription was closed, by one page at most: canceling it would cost a connection. Closing the pool
// waits for it.
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

// page returns what comes after the cursor, up to head or to where it was read ahead, and the position up to
// which it was read.
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
