package tail

import (
	"slices"
	"time"

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

// attachment is an interval of a reader. If it has no tail, its room is not read, and it only decides which
// events except the client. That is so for memberships that have lapsed, and for all memberships of an ad hoc
// reader's client: the reader reads only the rooms it names.
type attachment struct {
	Interval
	tail *roomTail
	gone time.Time // when it may be dropped, if it has ended
}

// over reports whether a reader at a position gets nothing more through the attachment.
func (a *attachment) over(at event.Offset) bool { return a.Until <= at && !time.Now().Before(a.gone) }

// attachments are sorted by their rooms' names, so that those in one room are quickly found: a client may be in
// many rooms, and events may except many.
type attachments []attachment

func (all attachments) sort() {
	slices.SortFunc(all, func(a, b attachment) int { return a.Room.Compare(b.Room) })
}

// in returns the attachments in a room.
func (all attachments) in(r event.Room) attachments {
	from := all.firstIn(r)
	to := from
	for to < len(all) && all[to].Room == r {
		to++
	}
	return all[from:to]
}

// firstIn returns the index of the first attachment in a room, or where it would be.
func (all attachments) firstIn(r event.Room) int {
	i, _ := slices.BinarySearchFunc(all, r, func(a attachment, r event.Room) int { return a.Room.Compare(r) })
	return i
}

// attachmentsOf returns the attachments of the reader, whose client has these intervals. The caller holds the
// lock.
func (rd *Reader) attachmentsOf(intervals []Interval) attachments {
	var all attachments
	for _, r := range rd.o.Rooms {
		all = append(all, attachment{Interval: Forever(r), tail: rd.room(r)})
	}
	if rd.o.Client != (event.Client{}) {
		intervals = append([]Interval{Forever(event.Everyone()), Forever(rd.o.Client.OwnRoom())}, intervals...)
	}
	for _, i := range intervals {
		all = append(all, rd.take(i))
	}
	all.sort()
	return all
}

// take makes an attachment from an interval of the client.
func (rd *Reader) take(i Interval) attachment {
	if rd.o.adHoc() || i.Lapsed {
		return attachment{Interval: i}
	}
	return attachment{Interval: i, tail: rd.room(i.Room)}
}

// room returns the tail of a room of the reader's namespace.
func (rd *Reader) room(r event.Room) *roomTail {
	return rd.t.room(roomKey{rd.o.Namespace.String(), r.String()})
}

// end ends the attachment of the client's membership in a room. The rooms that an ad hoc reader names stay attached:
// they are not memberships.
func (rd *Reader) end(r event.Room, at event.Offset) {
	in := rd.attachments.in(r)
	for i := range in {
		if a := &in[i]; a.Until == event.MaxOffset && (!rd.o.adHoc() || a.tail == nil) {
			a.Until, a.gone = at, time.Now().Add(rd.o.Keep)
		}
	}
}

// Trim drops the attachments that are over at a position.
func (rd *Reader) Trim(at event.Offset) {
	rd.t.mu.Lock()
	defer rd.t.mu.Unlock()
	all := rd.attachments
	rd.attachments = nil
	still := map[*roomTail]bool{}
	for _, a := range all {
		if !a.over(at) {
			rd.attachments = append(rd.attachments, a)
			still[a.tail] = true
		}
	}
	for _, a := range all {
		if !still[a.tail] {
			rd.leave(a.tail)
		}
	}
}
