package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue/tail"
)

// Interest says what a subscription is for.
type Interest struct {
	Namespace event.Namespace
	// Client is the client whose stored cursor is the start when After is zero, and whose rooms decide about
	// Except. Zero: an ad hoc subscription of a backend.
	Client event.Client
	// Rooms makes the subscription ad hoc: it has just these rooms, and nothing about the client is stored. If
	// there are none, it has the client's own room, Everyone, and the rooms the client is in, as they change.
	Rooms []event.Room
	// May reports whether the client's token allows it to read a room: memberships that the client made by its
	// own token hold only in such rooms. nil allows every room. It must not block.
	May func(event.Room) bool
	// Rights stands for what May allows: Interests of one client with equal Rights allow the same rooms. With Rights, Close
	// keeps for Options.SessionIdle what is known of the client, and the next Subscribe that continues
	// with the same Rights after Cursor asks Postgres nothing. It is for long polls; empty: nothing is kept.
	Rights string
	// After is the position to continue from; zero: the stored cursor, and the head
	// for a client never seen.
	After event.Cursor
	// Earliest starts at the oldest retained event when After is zero.
	Earliest bool
	// Memory is charged with the events that are read from Postgres for this reader alone; nil: they are not
	// counted. Events of the tail are shared and never charged.
	Memory event.Memory
}

// allows reports whether the client may read a room it is in by its own token.
func (in *Interest) allows(r event.Room) bool { return in.May == nil || in.May(r) }

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
		Namespace: in.Namespace, Client: in.Client, Rooms: in.Rooms, May: in.May, Keep: q.keep,
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

// Wake returns a channel that receives when Poll may have something new. Spurious wakes happen.
func (s *Subscription) Wake() <-chan struct{} { return s.reader.Wake() }

// Rouse makes Wake receive. Any goroutine may call it, at any time.
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

func (s *Subscription) poll(ctx context.Context, limit int) (event.Batch, error) {
	for {
		b, err := s.pollOnce(ctx, limit)
		if err != nil {
			return event.Batch{Cursor: s.cursor}, err
		}
		b = skipUnreadable(b, s.cursor)
		s.cursor = b.Cursor
		// Read on if all that was read excepts the client.
		if len(b.Events) > 0 || b.Gap != nil || !b.More {
			b.Volatile = s.reader.Volatile()
			return b, nil
		}
		b.GiveBack(s.in.Memory)
	}
}

func (s *Subscription) pollOnce(ctx context.Context, limit int) (event.Batch, error) {
	// In a restored database the id may be that of another namespace, which catchUp notices. And the tail may
	// still have events below the floor, which must not be shown.
	if floor, deleted := s.source.registry.Visible(s.in.Namespace, s.ns.ID, s.ns.Floor); deleted || s.cursor.Offset < floor {
		return s.catchUp(ctx, limit)
	}
	r, ok := s.reader.Read(s.cursor, s.run, limit, s.buf[:0])
	if !ok {
		return s.catchUp(ctx, limit)
	}
	s.buf = r.Events
	if r.Over {
		s.reader.Trim(r.UpTo)
	}
	return event.Batch{Events: r.Events, Cursor: event.Cursor{Log: s.cursor.Log, Offset: r.UpTo}, More: r.More}, nil
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
