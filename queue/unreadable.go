package queue

import (
	"slices"

	"github.com/culvertmq/culvert/event"
)

// An event may be unreadable if it came into the log in another way than by culvert.append and culvert.emit, or
// if a disk has changed it. It is never delivered: its readers get a gap in its place, and continue.

// skipUnreadable removes the unreadable events of a batch that was read after a position. If there are events
// before the first of them, it returns only these; otherwise it returns the gap and the events after it.
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
