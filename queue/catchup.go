package queue

import (
	"context"
	"slices"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// catchUp reads one page from Postgres, up to the position the intervals are known for.
func (s *Subscription) catchUp(ctx context.Context, limit int) (event.Batch, error) {
	l := s.q.lineage.Load()
	if s.ns.Generation != l.Generation {
		ns, err := s.q.ids.Again(ctx, s.in.Namespace, s.ns, l.After(s.of))
		if postgres.IsOutdated(err) {
			return event.Batch{Cursor: s.cursor, More: true}, s.q.lineage.Renew(ctx, l)
		}
		if err != nil {
			return event.Batch{}, err
		}
		s.ns, s.of = ns, l
	}
	head, intervals, ok, err := s.q.tail.intervalsOf(s, l)
	if err != nil {
		return event.Batch{}, err
	}
	if !ok { // the next look finds the history that the tail is of
		return event.Batch{Cursor: s.cursor, More: true}, nil
	}
	if intervals == nil {
		return s.reload(ctx)
	}
	p, read, err := s.page(ctx, l, intervals, head.Offset, limit)
	if postgres.IsOutdated(err) {
		return event.Batch{Cursor: s.cursor, More: true}, s.q.lineage.Renew(ctx, l)
	}
	if err != nil {
		return event.Batch{}, err
	}
	b := s.batch(p, event.Cursor{Log: head.Log, Offset: read}, limit)
	if s.pages++; b.More && b.Gap == nil && s.pages > 1 {
		s.readAhead(ctx, l, intervals, b.Cursor.Offset, head.Offset, limit)
	}
	if slices.ContainsFunc(b.Events, excepting) {
		b.Events = notExcepted(b.Events, s.q.tail.attachmentsNow(s))
	}
	return b, nil
}

// batch is a page as an answer. head is how far it was read.
func (s *Subscription) batch(p page, head event.Cursor, limit int) event.Batch {
	s.run = p.lineage.OpenRun()
	b := event.Batch{Gap: gapBefore(s.cursor, p, s.q.tail.headOf(p.lineage)), Events: p.events, Cursor: s.cursor, More: p.full(limit), Taken: p.taken}
	if b.Gap != nil {
		b.Cursor = b.Gap.To
		if b.Gap.Reason != event.GapPruned {
			// The page was read after an offset that means nothing in this log.
			b.Events, b.More = nil, true
			return b
		}
	}
	if !b.More && head.Log == p.log {
		b.Cursor.Offset = max(b.Cursor.Offset, head.Offset)
	}
	if n := len(p.events); n > 0 {
		b.Cursor.Offset = max(b.Cursor.Offset, p.events[n-1].Offset)
	}
	return b
}

// reload asks Postgres for the client's intervals once more: the tail started over and
// may have missed changes. The empty Batch has the caller go on from there.
func (s *Subscription) reload(ctx context.Context) (event.Batch, error) {
	s.q.tail.ask(s)
	r, err := s.q.resume(ctx, s.in, true)
	if err != nil {
		return event.Batch{}, err
	}
	if !r.stored && !s.adHoc && s.run != s.q.lineage.Load().OpenRun() {
		// The database was put back to before the client came: it is new once more.
		if err := s.q.makeClient(ctx, s.in, s.cursor); err != nil {
			return event.Batch{}, err
		}
		s.q.presence.stored(s.in.Namespace, s.in.Client)
	}
	s.q.tail.attach(s, r.intervals, r.known)
	return event.Batch{Cursor: s.cursor, More: true}, nil
}

// intervalsOf are the intervals the subscription reads, and the position up to which the
// tail, and so the intervals, are known. They are nil when they must be asked for again. ok is
// false when the tail is of another history than l.
func (t *tail) intervalsOf(s *Subscription, l *lineage.Lineage) (head event.Cursor, intervals []interval, ok bool, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	head = event.Cursor{Log: t.log, Offset: max(t.head, s.cursor.Offset)}
	if s.ended != nil || s.known == unread {
		return head, nil, t.isOf(l), s.ended
	}
	intervals = make([]interval, 0, len(s.attachments))
	for _, attachment := range s.attachments {
		if attachment.tail != nil {
			intervals = append(intervals, attachment.interval)
		}
	}
	return head, intervals, t.isOf(l), nil
}

// gapBefore tells what lies between a cursor and the page read after it. head is a position
// whose events have all been committed: whoever comes with one that nobody was ever given
// goes on there.
func gapBefore(c event.Cursor, p page, head event.Offset) *event.Gap {
	to, known := p.lineage.Place(c.Offset, p.counter)
	switch {
	case c.Log != p.log:
		return &event.Gap{From: c, To: event.Cursor{Log: p.log, Offset: p.floor}, Reason: event.GapLog}
	case !known:
		if to == p.lineage.OpenRun() {
			to = max(to, head)
		}
		return &event.Gap{From: c, To: event.Cursor{Log: p.log, Offset: to}, Reason: event.GapRewound}
	case p.pruned > c.Offset:
		return &event.Gap{From: c, To: event.Cursor{Log: p.log, Offset: p.pruned}, Reason: event.GapPruned}
	}
	return nil
}
