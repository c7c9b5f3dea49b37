package queue

import (
	"context"
	"slices"
)

// Interest says what a subscription is for.
type Interest struct {
	Namespace Namespace
	// Client whose stored cursor is the start when After is zero, and whose own
	// room decides about Except. Zero: an ad hoc subscription of a backend.
	Client Client
	// Rooms makes it ad hoc: just these rooms, and nothing about the client is
	// stored. None: the client's own room and Everyone.
	Rooms []Room
	// After is the position to go on from; zero: the stored cursor, and the head
	// for a client never seen.
	After Cursor
	// Earliest starts at the oldest retained event when After is zero.
	Earliest bool
}

// Subscription is a cursor and a set of rooms. One goroutine at a time uses it.
type Subscription struct {
	q      *Queue
	in     Interest // Rooms are filled in
	adHoc  bool
	cursor Cursor
	rooms  []*roomTail
	wake   chan struct{}
	buf    []*Event
	closed bool
}

// Subscribe opens a subscription. A position of another log or one that
// retention has passed is no error: the first batch carries the Gap. One beyond
// the head counts as the head. Errors: ErrUnavailable, ErrClosed.
func (q *Queue) Subscribe(ctx context.Context, in Interest) (*Subscription, error) {
	s := &Subscription{q: q, in: in, adHoc: len(in.Rooms) > 0, wake: make(chan struct{}, 1)}
	if !s.adHoc {
		s.in.Rooms = []Room{Everyone, in.Client.OwnRoom()}
	}
	start, err := q.start(ctx, in, s.adHoc)
	if err != nil {
		return nil, err
	}
	s.cursor = start
	keys := make([]roomKey, 0, len(s.in.Rooms))
	for _, r := range s.in.Rooms {
		keys = append(keys, roomKey{in.Namespace.name, r.name})
	}
	slices.SortFunc(keys, func(a, b roomKey) int { return compareKeys(a, b) })
	s.rooms = q.tail.join(s, slices.Compact(keys))
	if !s.adHoc {
		q.clients.enter(in.Namespace, in.Client)
	}
	return s, nil
}

// Close releases the subscription; it never blocks and may be called twice.
func (s *Subscription) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.q.tail.leave(s, s.rooms)
	if !s.adHoc {
		s.q.clients.leave(s.in.Namespace, s.in.Client)
	}
}

// Wake receives when a Poll may have something new. Spurious wakes happen.
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Cursor is the position up to which Poll has returned everything.
func (s *Subscription) Cursor() Cursor { return s.cursor }

// Next is Poll that waits until there is an event or a gap. At ctx's end it
// returns an empty Batch with the current cursor and ctx's error.
func (s *Subscription) Next(ctx context.Context, limit int) (Batch, error) {
	for {
		b, err := s.Poll(ctx, limit)
		if err != nil || len(b.Events) > 0 || b.Gap != nil {
			return b, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Batch{Cursor: s.cursor}, ctx.Err()
		}
	}
}

// Poll returns what is there now, at most limit events and about 4 MiB (but at
// least one), without waiting for any. It reads Postgres when the cursor is
// older than the tail; ErrUnavailable leaves the subscription as it was, to be
// tried again. The Batch is valid until the next call.
func (s *Subscription) Poll(ctx context.Context, limit int) (Batch, error) {
	return s.poll(ctx, limit, s.pollOnce)
}

// poll reads until there is something for this client or nothing at all: what
// was read may all have been excepted.
func (s *Subscription) poll(ctx context.Context, limit int, read func(context.Context, int) (Batch, error)) (Batch, error) {
	for {
		b, err := read(ctx, limit)
		if err != nil {
			return Batch{Cursor: s.cursor}, err
		}
		s.cursor = b.Cursor
		b.Events = slices.DeleteFunc(b.Events, s.excepted)
		if len(b.Events) > 0 || b.Gap != nil || !b.More {
			return b, nil
		}
	}
}

func (s *Subscription) pollOnce(ctx context.Context, limit int) (Batch, error) {
	events, upTo, more, ok := s.q.tail.read(s.rooms, s.cursor, limit, s.buf[:0])
	if !ok {
		return s.catchUp(ctx, limit)
	}
	s.buf = events
	return Batch{Events: events, Cursor: Cursor{s.cursor.Log, upTo}, More: more}, nil
}

// catchUp reads one page from Postgres.
func (s *Subscription) catchUp(ctx context.Context, limit int) (Batch, error) {
	head := s.q.tail.position() // a later snapshot has everything up to it
	p, err := s.q.readPage(ctx, s.in, s.cursor.Offset, limit)
	if err != nil {
		return Batch{}, err
	}
	b := Batch{Gap: gapBefore(s.cursor, p), Events: p.events, Cursor: s.cursor, More: p.full(limit)}
	if b.Gap != nil {
		b.Cursor = b.Gap.To
		if b.Gap.Reason == GapLog {
			// The page was read after an offset of the other log.
			b.Events, b.More = nil, true
			return b, nil
		}
	}
	if !b.More && head.Log == p.log {
		b.Cursor.Offset = max(b.Cursor.Offset, head.Offset)
	}
	if n := len(p.events); n > 0 {
		b.Cursor.Offset = max(b.Cursor.Offset, p.events[n-1].Offset)
	}
	return b, nil
}

// gapBefore tells what lies between a cursor and the page read after it.
func gapBefore(c Cursor, p page) *Gap {
	switch {
	case c.Log != p.log:
		return &Gap{From: c, To: Cursor{p.log, p.floor}, Reason: GapLog}
	case p.pruned > c.Offset:
		return &Gap{From: c, To: Cursor{p.log, p.pruned}, Reason: GapPruned}
	}
	return nil
}

// excepted reports whether the event names a room of this client in Except.
func (s *Subscription) excepted(e *Event) bool {
	if s.in.Client == (Client{}) && !s.adHoc {
		return false // a backend reading history sees all
	}
	for _, r := range e.Except {
		if slices.Contains(s.in.Rooms, r) || s.in.Client != (Client{}) && (r == Everyone || r == s.in.Client.OwnRoom()) {
			return true
		}
	}
	return false
}
