package tail

import (
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
)

// ReaderOptions say what a Reader is for.
type ReaderOptions struct {
	Namespace event.Namespace
	// Client is the one whose memberships count; zero: there is none.
	Client event.Client
	// Rooms makes the reader ad hoc: it reads these rooms, whatever rooms its client is in. If there are none,
	// it reads the rooms of its client.
	Rooms []event.Room
	// May reports whether the client's token allows it to read a room; nil: every one. It must not block.
	May func(event.Room) bool
	// Keep is how long a membership is remembered after its end, for volatile events that come late.
	Keep time.Duration
}

func (o *ReaderOptions) adHoc() bool { return len(o.Rooms) > 0 }

// Allows reports whether the client may read a room that it is in by its own token.
func (o *ReaderOptions) Allows(r event.Room) bool { return o.May == nil || o.May(r) }

// unread is the value of known while a reader does not know its client's intervals.
const unread event.Offset = -1

type roomKey struct{ namespace, room string }

// roomTail has the events of one room and its readers. It is dropped when it has neither.
type roomTail struct {
	key     roomKey
	events  fifo[*event.Event]
	readers map[*Reader]struct{}
}

func (r *roomTail) wake() {
	for rd := range r.readers {
		notify(rd.wake)
	}
}

// add registers a reader; for a nil room it does nothing.
func (r *roomTail) add(rd *Reader) {
	switch {
	case r == nil:
	case r.readers == nil:
		r.readers = map[*Reader]struct{}{rd: {}}
	default:
		r.readers[rd] = struct{}{}
	}
}

// notify wakes the goroutine that receives from a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

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

// clientRef identifies a client.
type clientRef struct{ namespace, client string }

func (rd *Reader) ref() clientRef {
	return clientRef{rd.o.Namespace.String(), rd.o.Client.String()}
}

// detach takes the reader out of its rooms. The caller holds the lock.
func (rd *Reader) detach() {
	for _, a := range rd.attachments {
		rd.leave(a.tail)
	}
	rd.attachments = nil
}

// leave takes the reader out of a room; for a nil room it does nothing. The caller holds the lock.
func (rd *Reader) leave(r *roomTail) {
	if r != nil {
		delete(r.readers, rd)
		rd.t.drop(r)
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
