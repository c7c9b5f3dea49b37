package queue

import (
	"context"
	"slices"
)

// History reads a page of one room after a cursor, the oldest retained event
// first when the cursor is zero, without what excepts the viewer (zero: a
// backend, who sees all). It has at most limit events and about 4 MiB. Errors:
// ErrUnavailable.
func (q *Queue) History(ctx context.Context, ns Namespace, r Room, viewer Client, after Cursor, limit int) (Batch, error) {
	s := &Subscription{q: q, adHoc: true, cursor: after, in: Interest{Namespace: ns, Client: viewer, Rooms: []Room{r}}}
	if after.IsZero() {
		var err error
		if s.cursor, err = q.earliest(ctx); err != nil {
			return Batch{}, err
		}
	}
	for {
		head := q.tail.position() // a later snapshot has everything up to it
		p, err := q.readPage(ctx, ns, []stay{forever(r)}, s.cursor.Offset, MaxOffset, limit)
		if err != nil {
			return Batch{Cursor: s.cursor}, err
		}
		b := s.batch(p, head, limit)
		if err := s.except(ctx, &b); err != nil {
			return Batch{Cursor: s.cursor}, err
		}
		if s.cursor = b.Cursor; len(b.Events) > 0 || b.Gap != nil || !b.More {
			return b, nil
		}
	}
}

// except takes out what is not for the viewer. Most pages have nothing that could
// be, and cost no question about the rooms the viewer is in.
func (s *Subscription) except(ctx context.Context, b *Batch) error {
	if s.in.Client == (Client{}) || !slices.ContainsFunc(b.Events, func(e *Event) bool { return len(e.Except) > 0 }) {
		return nil
	}
	in := s.in
	in.After = s.cursor
	r, err := s.q.resume(ctx, in, true)
	if err != nil {
		return err
	}
	s.seats = nil
	for _, st := range append(r.stays, forever(Everyone), forever(s.in.Client.OwnRoom()), forever(s.in.Rooms[0])) {
		s.seats = append(s.seats, seat{stay: st})
	}
	b.Events = slices.DeleteFunc(b.Events, s.excepted)
	return nil
}
