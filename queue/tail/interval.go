package tail

import "github.com/culvertmq/culvert/event"

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
