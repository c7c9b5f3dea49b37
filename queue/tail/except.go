package tail

import (
	"slices"

	"github.com/culvertmq/culvert/event"
)

// Excepting reports whether the event has exceptions: some members of its rooms may not get it.
func Excepting(e *event.Event) bool { return len(e.Except) > 0 }

// NotExcepted removes the events that except a client with these intervals.
func NotExcepted(events []*event.Event, intervals []Interval) []*event.Event {
	all := make(attachments, len(intervals))
	for i := range intervals {
		all[i].Interval = intervals[i]
	}
	return notExcepted(events, all)
}

// NotExcepted removes the events that except the reader's client.
func (rd *Reader) NotExcepted(events []*event.Event) []*event.Event {
	if !slices.ContainsFunc(events, Excepting) {
		return events
	}
	rd.t.mu.RLock()
	now := slices.Clone(rd.s.attachments)
	rd.t.mu.RUnlock()
	return notExcepted(events, now)
}

// notExcepted removes the events that except a client with these attachments: it was in one of the excepted
// rooms.
func notExcepted(events []*event.Event, all attachments) []*event.Event {
	if !slices.ContainsFunc(events, Excepting) {
		return events
	}
	// There may be many events that each except many rooms, and the client may be in many: a map is faster.
	in := make(map[event.Room]attachments, len(all))
	for _, a := range all {
		in[a.Room] = append(in[a.Room], a)
	}
	return slices.DeleteFunc(events, func(e *event.Event) bool {
		return slices.ContainsFunc(e.Except, func(r event.Room) bool {
			return slices.ContainsFunc(in[r], func(a attachment) bool { return a.covers(e.Offset) })
		})
	})
}
