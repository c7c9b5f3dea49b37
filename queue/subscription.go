package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue/tail"
)

// Subscription is a cursor and the membership intervals of a client. Only one goroutine at a time may use it.
type Subscription struct {
	source *source
	in     Interest
	ns     lineage.NamespaceRef
	of     *lineage.Lineage // the lineage of ns
	adHoc  bool
	cursor event.Cursor
	run    event.Offset // the history the cursor is known to be of, or lineage.Nowhere
	reader *tail.Reader
	buf    []*event.Event
	closed bool

	pages int    // read from Postgres
	ahead *ahead // nil: none
}

// Subscribe opens a subscription. A position of another log, one that retention has passed, and one that this
// log never assigned are not errors: the first batch has a Gap. Errors: ErrUnavailable, ErrClosed.
func (q *Queue) Subscribe(ctx context.Context, in Interest) (*Subscription, error) {
	in.Rooms = event.UniqueRooms(in.Rooms)
	if s := q.source.continued(in); s != nil {
		q.presence.enter(in.Namespace, in.Client)
		return s, nil
	}
	s := &Subscription{source: q.source, in: in, adHoc: len(in.Rooms) > 0}
	err := q.lineage.WithIDs(ctx, func(l *lineage.Lineage) (err error) {
		s.of = l
		s.ns, err = q.lineage.IDs().Lookup(ctx, in.Namespace)
		return err
	})
	if err != nil {
		return nil, postgres.Unavailable(ctx, "subscribe", err)
	}
	s.reader = q.tail.NewReader(tail.ReaderOptions{ // before Postgres is asked, so that no change is missed
		Namespace: in.Namespace, Client: in.Client, Rooms: in.Rooms, May: in.May, Keep: q.keep, Waker: in.Waker,
	})
	r, err := q.source.resume(ctx, in, s.adHoc)
	if err != nil {
		s.reader.Close()
		return nil, err
	}
	s.cursor, s.run = r.start, r.run
	s.reader.Attach(r.intervals, r.known)
	if !s.adHoc {
		q.presence.enter(in.Namespace, in.Client)
	}
	return s, nil
}

// continued returns a subscription with the reader that was kept for it; nil: Postgres has to be asked.
func (src *source) continued(in Interest) *Subscription {
	if in.Rights == "" || len(in.Rooms) > 0 || in.After.IsZero() {
		return nil
	}
	r := src.idle.take(clientKey{in.Namespace, in.Client}, in.Rights, in.After)
	if r == nil {
		return nil
	}
	_, deleted := src.registry.Visible(in.Namespace, r.ns.ID, r.ns.Floor)
	if !r.reader.Resume() || deleted {
		r.reader.Close()
		return nil
	}
	return &Subscription{source: src, in: in, ns: r.ns, of: r.of, cursor: r.cursor, run: r.run, reader: r.reader}
}

// Close releases the subscription; it never blocks and may be called twice.
func (s *Subscription) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.source.keepReader(s)
	if !s.adHoc {
		s.source.presence.leave(s.in.Namespace, s.in.Client)
	}
}

// keepReader keeps the reader of a subscription that is closed, or closes it.
func (src *source) keepReader(s *Subscription) {
	if s.in.Rights == "" || s.adHoc {
		s.reader.Close()
		return
	}
	src.idle.put(&idleReader{
		key: clientKey{s.in.Namespace, s.in.Client}, rights: s.in.Rights,
		ns: s.ns, of: s.of, cursor: s.cursor, run: s.run, reader: s.reader,
	})
}

// Wake returns a channel that receives when Poll may have something new; nil with Interest.Waker. Spurious wakes
// happen.
func (s *Subscription) Wake() <-chan struct{} { return s.reader.Wake() }

// Rouse wakes the reader. Any goroutine may call it, at any time.
func (s *Subscription) Rouse() { s.reader.Rouse() }

// Allow replaces the Interest's May when the client has another token. The next Poll uses the new one.
func (s *Subscription) Allow(may func(event.Room) bool) {
	s.in.May = may
	s.ahead = nil
	s.reader.Allow(may)
}

// Cursor is the position up to which Poll has returned everything.
func (s *Subscription) Cursor() event.Cursor { return s.cursor }

// Next is Poll, but waits until there is an event, volatile or not, or a gap. It returns copies, which the
// caller may change. When ctx ends, it returns an empty Batch with the current cursor, and ctx's error.
func (s *Subscription) Next(ctx context.Context, limit int) (event.Batch, error) {
	for {
		b, err := s.poll(ctx, limit)
		if err != nil || len(b.Events) > 0 || len(b.Volatile) > 0 || b.Gap != nil {
			b.Events, b.Volatile = allCopied(b.Events), allCopied(b.Volatile)
			return b, err
		}
		select {
		case <-s.reader.Wake():
		case <-ctx.Done():
			return event.Batch{Cursor: s.cursor}, ctx.Err()
		}
	}
}

// Poll returns what is there now, at most limit events and about 4 MiB (but at least one), without waiting for
// any. It reads Postgres when the cursor is older than the tail. ErrUnavailable leaves the subscription as it
// was, so that Poll can be tried again; after ErrForgotten and ErrDeleted it is at its end. The events are copies, which the
// caller may change.
func (s *Subscription) Poll(ctx context.Context, limit int) (event.Batch, error) {
	b, err := s.poll(ctx, limit)
	b.Events, b.Volatile = allCopied(b.Events), allCopied(b.Volatile)
	return b, err
}

// PollShared is Poll for this module's own server: the events are those of all subscriptions and must not be changed. The Batch is
// valid until the next call.
func (s *Subscription) PollShared(ctx context.Context, limit int, _ trusted.Shared) (event.Batch, error) {
	return s.poll(ctx, limit)
}

// PollRecent is PollShared without Postgres: it never waits for anything else than memory. ok is false, and nothing
// has changed, if Postgres has to be asked: PollShared does that.
func (s *Subscription) PollRecent(limit int, _ trusted.Shared) (b event.Batch, ok bool) {
	for {
		b, ok := s.recent(limit)
		if !ok {
			return event.Batch{Cursor: s.cursor}, false
		}
		if s.taken(&b) {
			return b, true
		}
	}
}

func (s *Subscription) poll(ctx context.Context, limit int) (event.Batch, error) {
	for {
		b, err := s.pollOnce(ctx, limit)
		if err != nil {
			return event.Batch{Cursor: s.cursor}, err
		}
		if s.taken(&b) {
			return b, nil
		}
	}
}

// taken moves the cursor over a batch that was read, and adds the volatile events. It returns false if the caller
// must read on, because all that was read excepts the client.
func (s *Subscription) taken(b *event.Batch) bool {
	*b = skipUnreadable(*b, s.cursor)
	s.cursor = b.Cursor
	if len(b.Events) > 0 || b.Gap != nil || !b.More {
		b.Volatile = s.reader.Volatile()
		return true
	}
	b.GiveBack(s.in.Memory)
	return false
}

func (s *Subscription) pollOnce(ctx context.Context, limit int) (event.Batch, error) {
	if b, ok := s.recent(limit); ok {
		return b, nil
	}
	return s.catchUp(ctx, limit)
}

// recent reads the tail. ok is false if Postgres has to be asked.
func (s *Subscription) recent(limit int) (b event.Batch, ok bool) {
	// In a restored database the id may be that of another namespace, which catchUp notices. And the tail may
	// still have events below the floor, which must not be shown.
	if floor, deleted := s.source.registry.Visible(s.in.Namespace, s.ns.ID, s.ns.Floor); deleted || s.cursor.Offset < floor {
		return b, false
	}
	r, ok := s.reader.Read(s.cursor, s.run, limit, s.buf[:0])
	if !ok {
		return b, false
	}
	s.keep(r.Events)
	if r.Over {
		s.reader.Trim(r.UpTo)
	}
	return event.Batch{Events: r.Events, Cursor: event.Cursor{Log: s.cursor.Log, Offset: r.UpTo}, More: r.More}, true
}

// mostKept is how long a list a subscription keeps for its next read while nothing happens.
const mostKept = 16

// keep keeps the list of a read for the next one. When there was nothing, the subscription waits: it then must not
// hold memory that others could use.
func (s *Subscription) keep(events []*event.Event) {
	s.buf = events
	if len(events) > 0 {
		return
	}
	if cap(s.buf) > mostKept {
		s.buf = nil
		return
	}
	clear(s.buf[:cap(s.buf)])
}

// allCopied returns copies of events, in a list of its own.
func allCopied(events []*event.Event) []*event.Event {
	copies := make([]*event.Event, len(events))
	for i, e := range events {
		copies[i] = e.Copy()
	}
	return copies
}

// For returns a context whose reads count for a client. Connections to Postgres are shared out fairly among the
// reads that wait for one, by namespace and then by client. Without For, a read counts for the client that the
// call names; the backends of a namespace count as one client.
func For(ctx context.Context, c event.Client) context.Context { return postgres.WithReader(ctx, c) }
