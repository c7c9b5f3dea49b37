package queue

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"

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

// faults tells the operator of events that cannot be read, of each once.
type faults struct {
	log     *slog.Logger
	metrics *metrics

	mu   sync.Mutex
	told map[event.Offset]struct{}
}

// maxTold bounds what is remembered of them.
const maxTold = 10_000

func newFaults(log *slog.Logger, m *metrics) *faults {
	return &faults{log: log, metrics: m, told: map[event.Offset]struct{}{}}
}

// look reports those among the events.
func (f *faults) look(events ...*event.Event) {
	for _, e := range events {
		if e.Fault != nil {
			f.tell(e)
		}
	}
}

func (f *faults) tell(e *event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.told[e.Offset]; again && !e.Volatile() {
		return
	}
	if len(f.told) >= maxTold {
		clear(f.told)
	}
	f.told[e.Offset] = struct{}{}
	f.metrics.unreadable.Inc()
	f.log.Error("an event cannot be read; it is left out, and its readers are told of a gap", "offset", e.Offset,
		"namespace", e.Namespace, "room", fmt.Sprintf("%q", e.Room.String()), "error", e.Fault)
}
