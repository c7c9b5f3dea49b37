package tail

import (
	"slices"

	"github.com/culvertmq/culvert/event"
)

// Interval is a membership interval: the room's events after Since up to Until are for the client.
type Interval struct {
	Room         event.Room
	Since, Until event.Offset
	// Lapsed: the client joined by its own token, and the token it has now does not allow the room.
	Lapsed bool
}

// Forever is an interval without a beginning or an end.
func Forever(r event.Room) Interval { return Interval{Room: r, Until: event.MaxOffset} }

// covers reports whether an event at o falls into the interval.
func (i Interval) covers(o event.Offset) bool { return i.Since < o && o <= i.Until }

// holds reports whether the client is a member once all membership changes up to a position are made.
func (i Interval) holds(at event.Offset) bool { return i.Since <= at && at < i.Until }

// Excepting reports whether the event has exceptions: some members of its rooms may not get it.
func Excepting(e *event.Event) bool { return len(e.Except) > 0 }

// NotExcepted removes the events that except a client with these intervals: it was in one of the excepted rooms.
func NotExcepted(events []*event.Event, intervals []Interval) []*event.Event {
	if !slices.ContainsFunc(events, Excepting) {
		return events
	}
	// There may be many events that each except many rooms, and the client may be in many: a map is faster.
	in := make(map[event.Room][]Interval, len(intervals))
	for _, i := range intervals {
		in[i.Room] = append(in[i.Room], i)
	}
	return slices.DeleteFunc(events, func(e *event.Event) bool {
		return slices.ContainsFunc(e.Except, func(r event.Room) bool {
			return slices.ContainsFunc(in[r], func(i Interval) bool { return i.covers(e.Offset) })
		})
	})
}
