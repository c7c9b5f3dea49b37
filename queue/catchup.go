package queue

import (
	"context"
	"slices"
)

// catchUp reads one page from Postgres, up to the position the intervals are known for.
func (s *Subscription) catchUp(ctx context.Context, limit int) (Batch, error) {
	l := s.q.lineage.Load()
	if s.ns.generation != l.generation {
		ns, err := s.q.ids.again(ctx, s.in.Namespace, s.ns, l.after(s.of))
		if isOutdated(err) {
			return Batch{Cursor: s.cursor, More: true}, s.q.renew(ctx, l)
		}
		if err != nil {
			return Batch{}, err
		}
		s.ns, s.of = ns, l
	}
	head, intervals, ok, err := s.q.tail.intervalsOf(s, l)
	if err != nil {
		return Batch{}, err
	}
	if !ok { // the next look finds the history that the tail is of
		return Batch{Cursor: s.cursor, More: true}, nil
	}
	if intervals == nil {
		return s.reload(ctx)
	}
	p, read, err := s.page(ctx, l, intervals, head.Offset, limit)
	if isOutdated(err) {
		return Batch{Cursor: s.cursor, More: true}, s.q.renew(ctx, l)
	}
	if err != nil {
		return Batch{}, err
	}
	b := s.batch(p, Cursor{head.Log, read}, limit)
	if s.pages++; b.More && b.Gap == nil && s.pages > 1 {
		s.readAhead(ctx, l, intervals, b.Cursor.Offset, head.Offset, limit)
	}
	if slices.ContainsFunc(b.Events, excepting) {
		b.Events = notExcepted(b.Events, s.q.tail.attachmentsNow(s))
	}
	return b, nil
}

// batch is a page as an answer. head is how far it was read.
func (s *Subscription) batch(p page, head Cursor, limit int) Batch {
	s.run = p.lineage.open()
	b := Batch{Gap: gapBefore(s.cursor, p, s.q.tail.headOf(p.lineage)), Events: p.events, Cursor: s.cursor, More: p.full(limit), Taken: p.taken}
	if b.Gap != nil {
		b.Cursor = b.Gap.To
		if b.Gap.Reason != GapPruned {
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
func (s *Subscription) reload(ctx context.Context) (Batch, error) {
	s.q.tail.ask(s)
	r, err := s.q.resume(ctx, s.in, true)
	if err != nil {
		return Batch{}, err
	}
	if !r.stored && !s.adHoc && s.run != s.q.lineage.Load().open() {
		// The database was put back to before the client came: it is new once more.
		if err := s.q.makeClient(ctx, s.in, s.cursor); err != nil {
			return Batch{}, err
		}
		s.q.presence.stored(s.in.Namespace, s.in.Client)
	}
	s.q.tail.attach(s, r.intervals, r.known)
	return Batch{Cursor: s.cursor, More: true}, nil
}

// intervalsOf are the intervals the subscription reads, and the position up to which the
// tail, and so the intervals, are known. They are nil when they must be asked for again. ok is
// false when the tail is of another history than l.
func (t *tail) intervalsOf(s *Subscription, l *lineage) (head Cursor, intervals []interval, ok bool, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	head = Cursor{t.log, max(t.head, s.cursor.Offset)}
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
func gapBefore(c Cursor, p page, head Offset) *Gap {
	to, known := p.lineage.place(c.Offset, p.counter)
	switch {
	case c.Log != p.log:
		return &Gap{From: c, To: Cursor{p.log, p.floor}, Reason: GapLog}
	case !known:
		if to == p.lineage.open() {
			to = max(to, head)
		}
		return &Gap{From: c, To: Cursor{p.log, to}, Reason: GapRewound}
	case p.pruned > c.Offset:
		return &Gap{From: c, To: Cursor{p.log, p.pruned}, Reason: GapPruned}
	}
	return nil
}
