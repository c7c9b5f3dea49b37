package queue

import (
	"slices"

	"github.com/culvertmq/culvert/event"
)

// An event that came into the log by another way than culvert.append and culvert.emit,
// or that a disk has changed, may be such that no reader could take it. It is handed to
// nobody, and whoever it was for gets a gap in its place, so that it holds up nothing.

// skipUnreadable takes out what cannot be read, after a position: the events before it
// come first, then the gap together with what follows it.
func skipUnreadable(b event.Batch, after event.Cursor) event.Batch {
	first := slices.IndexFunc(b.Events, (*event.Event).Unreadable)
	switch {
	case first < 0:
		return b
	case first > 0:
		b.Events, b.Cursor, b.More = b.Events[:first], b.Events[first-1].Cursor(), true
		return b
	case b.Gap != nil: // one gap at a time
		b.Events, b.Cursor, b.More = nil, b.Gap.To, true
		return b
	}
	n := slices.IndexFunc(b.Events, func(e *event.Event) bool { return !e.Unreadable() })
	if n < 0 {
		n = len(b.Events)
	}
	b.Gap = &event.Gap{From: after, To: b.Events[n-1].Cursor(), Reason: event.GapUnreadable}
	b.Events = b.Events[n:]
	if next := slices.IndexFunc(b.Events, (*event.Event).Unreadable); next > 0 {
		b.Events, b.Cursor, b.More = b.Events[:next], b.Events[next-1].Cursor(), true
	}
	return b
}
