package queue

import (
	"context"
	"errors"
	"slices"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/tail"
)

// History reads a page of one room after a cursor, or from the oldest retained event if the cursor is zero.
// Events that except the viewer are left out; a zero viewer is a backend, which sees all. The page has at most
// limit events and about 4 MiB. Errors: ErrUnavailable.
func (q *Queue) History(ctx context.Context, ns event.Namespace, r event.Room, viewer event.Client, after event.Cursor, limit int) (event.Batch, error) {
	return q.HistoryOf(ctx, Interest{Namespace: ns, Client: viewer, Rooms: []event.Room{r}, After: after}, limit)
}

// HistoryOf is History of the one room in in.Rooms; the events are charged to in.Memory. Errors:
// ErrUnavailable, ErrNoMemory.
func (q *Queue) HistoryOf(ctx context.Context, in Interest, limit int) (event.Batch, error) {
	for {
		var b event.Batch
		err := q.lineage.WithIDs(ctx, func(l *lineage.Lineage) (err error) {
			b, err = q.source.history(ctx, l, in, limit)
			return err
		})
		if !errors.Is(err, event.ErrDeleted) {
			return b, err
		}
		// The namespace's id was outdated, and is forgotten now: look it up again.
	}
}

func (src *source) history(ctx context.Context, l *lineage.Lineage, in Interest, limit int) (event.Batch, error) {
	s := &Subscription{source: src, adHoc: true, cursor: in.After, in: in}
	var err error
	if s.ns, err = src.lineage.IDs().Lookup(ctx, in.Namespace); err != nil {
		return event.Batch{}, err
	}
	if in.After.IsZero() {
		if s.cursor, err = src.earliest(ctx, l, in, s.ns.ID); err != nil {
			return event.Batch{}, postgres.Unavailable(ctx, "floor", err)
		}
	}
	for same := true; ; {
		head := event.Cursor{Log: l.Log, Offset: src.tail.HeadOf(l)} // a later snapshot has everything up to it
		p, err := src.log.ReadPage(ctx, l, s.request([]tail.Interval{tail.Forever(in.Rooms[0])}, event.MaxOffset, limit))
		if err != nil {
			return event.Batch{Cursor: s.cursor}, err
		}
		b := s.batch(&p, head, limit)
		same = same && !slices.ContainsFunc(b.Events, tail.Excepting)
		if err := s.except(ctx, &b); err != nil {
			b.GiveBack(in.Memory)
			return event.Batch{Cursor: s.cursor}, err
		}
		same = same && !slices.ContainsFunc(b.Events, (*event.Event).Unreadable)
		b = skipUnreadable(b, s.cursor)
		if s.cursor = b.Cursor; len(b.Events) > 0 || b.Gap != nil || !b.More {
			// A page that ends before the room's last event, from a position the caller named and without a
			// gap, stays the same until retention drops its events: nothing is ever stored between two visible
			// offsets.
			b.Final = same && b.More && !p.Cut && b.Gap == nil && !in.After.IsZero()
			return b, nil
		}
		b.GiveBack(in.Memory)
	}
}

// except removes the events that except the viewer. Most pages have no events with exceptions; then Postgres is
// not asked for the viewer's rooms.
func (s *Subscription) except(ctx context.Context, b *event.Batch) error {
	if s.in.Client == (event.Client{}) || !slices.ContainsFunc(b.Events, tail.Excepting) {
		return nil
	}
	in := s.in
	in.After = s.cursor
	r, err := s.source.resume(ctx, in, true)
	if err != nil {
		return err
	}
	b.Events = tail.NotExcepted(b.Events, append(r.intervals, tail.Forever(event.Everyone()), tail.Forever(s.in.Client.OwnRoom()), tail.Forever(s.in.Rooms[0])))
	return nil
}
