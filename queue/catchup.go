package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/log"
)

// catchUp reads one page from Postgres, up to the position the intervals are known for.
func (s *Subscription) catchUp(ctx context.Context, limit int) (event.Batch, error) {
	l := s.source.lineage.Load()
	if s.ns.Generation != l.Generation {
		ns, err := s.source.lineage.IDs().Again(ctx, s.in.Namespace, s.ns, l.After(s.of))
		if postgres.IsOutdated(err) {
			return event.Batch{Cursor: s.cursor, More: true}, s.source.lineage.Renew(ctx, l)
		}
		if err != nil {
			return event.Batch{}, err
		}
		s.ns, s.of = ns, l
	}
	head, intervals, ok, err := s.reader.Intervals(l, s.cursor.Offset)
	if err != nil {
		return event.Batch{}, err
	}
	if !ok { // the tail is of another history, which the next call looks for
		return event.Batch{Cursor: s.cursor, More: true}, nil
	}
	if intervals == nil {
		return s.reload(ctx)
	}
	p, read, err := s.page(ctx, l, intervals, head.Offset, limit)
	if postgres.IsOutdated(err) {
		return event.Batch{Cursor: s.cursor, More: true}, s.source.lineage.Renew(ctx, l)
	}
	if err != nil {
		return event.Batch{}, err
	}
	b := s.batch(&p, event.Cursor{Log: head.Log, Offset: read}, limit)
	if s.pages++; b.More && b.Gap == nil && s.pages > 1 {
		s.readAhead(ctx, l, intervals, b.Cursor.Offset, head.Offset, limit)
	}
	b.Events = s.reader.NotExcepted(b.Events)
	return b, nil
}

// batch makes a Batch from a page. head is how far was read.
func (s *Subscription) batch(p *log.Page, head event.Cursor, limit int) event.Batch {
	s.run = p.Lineage.OpenRun()
	b := event.Batch{Gap: gapBefore(s.cursor, p, s.source.tail.HeadOf(p.Lineage)), Events: p.Events, Cursor: s.cursor, More: p.Full(limit), Taken: p.Taken}
	if b.Gap != nil {
		b.Cursor = b.Gap.To
		if b.Gap.Reason != event.GapPruned {
			// The page was read after an offset that means nothing in this log.
			b.Events, b.More = nil, true
			return b
		}
	}
	if !b.More && head.Log == p.Log {
		b.Cursor.Offset = max(b.Cursor.Offset, head.Offset)
	}
	if n := len(p.Events); n > 0 {
		b.Cursor.Offset = max(b.Cursor.Offset, p.Events[n-1].Offset)
	}
	return b
}

// reload asks Postgres for the client's intervals again: the tail started over and may have missed changes. It
// returns an empty Batch with More, so that the caller calls again.
func (s *Subscription) reload(ctx context.Context) (event.Batch, error) {
	s.reader.Asking()
	r, err := s.source.resume(ctx, s.in, true)
	if err != nil {
		return event.Batch{}, err
	}
	if !r.stored && !s.adHoc && s.run != s.source.lineage.Load().OpenRun() {
		// The restored database is from before the client came: store it again.
		if err := s.source.makeClient(ctx, s.in, s.cursor); err != nil {
			return event.Batch{}, err
		}
		s.source.presence.stored(s.in.Namespace, s.in.Client)
	}
	s.reader.Attach(r.intervals, r.known)
	return event.Batch{Cursor: s.cursor, More: true}, nil
}

// gapBefore returns the gap between a cursor and the page read after it. All events up to head are committed: a
// client with a cursor that was never assigned continues there.
func gapBefore(c event.Cursor, p *log.Page, head event.Offset) *event.Gap {
	to, known := p.Lineage.Place(c.Offset, p.Counter)
	switch {
	case c.Log != p.Log:
		return &event.Gap{From: c, To: event.Cursor{Log: p.Log, Offset: p.Floor}, Reason: event.GapLog}
	case !known:
		if to == p.Lineage.OpenRun() {
			to = max(to, head)
		}
		return &event.Gap{From: c, To: event.Cursor{Log: p.Log, Offset: to}, Reason: event.GapRewound}
	case p.Pruned > c.Offset:
		return &event.Gap{From: c, To: event.Cursor{Log: p.Log, Offset: p.Pruned}, Reason: event.GapPruned}
	}
	return nil
}
