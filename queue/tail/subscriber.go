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
	// Waker is told when there may be something new to read; nil: the channel of Reader.Wake receives.
	Waker Waker
}

// Waker is told that a reader may have something new to read. Wake is called with locks of the tail held, by
// several goroutines at once: it must return soon, and must not call the tail. Wakes for one cause, such as an
// event of a room, have the same burst. It is 0 for a wake that has nothing to do with others.
type Waker interface{ Wake(burst uint64) }

// channel is the Waker of a goroutine that waits. Its capacity is 1.
type channel chan struct{}

// Wake implements Waker.
func (c channel) Wake(uint64) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (o *ReaderOptions) adHoc() bool { return len(o.Rooms) > 0 }

// Allows reports whether the client may read a room that it is in by its own token.
func (o *ReaderOptions) Allows(r event.Room) bool { return o.May == nil || o.May(r) }

// unread is the value of known while a reader does not know its client's intervals.
const unread event.Offset = -1

// subscriber is a reader as the tail sees it: what it reads, what is known of its client's memberships, and the
// volatile events that wait for it.
type subscriber struct {
	o       ReaderOptions
	rooms   rooms // the tail's
	waker   Waker
	pending pending

	// The tail's lock guards these, and o.May.
	resting     bool // nobody reads at the moment: the reader is in no room, so that nobody has to walk over it
	attachments attachments
	known       event.Offset   // the attachments have all changes up to here
	missed      bool           // maybe there were events about the client since Postgres was asked for its intervals
	entries     []*event.Event // events about the client that came while known is unread
	ended       error          // why no more events come
}

type roomKey struct{ namespace, room string }

// rooms are the rooms that have events in the tail, or readers.
type rooms map[roomKey]*roomTail

// roomTail has the events of one room and its readers. It is dropped when it has neither.
type roomTail struct {
	key     roomKey
	events  fifo[*event.Event]
	readers map[*subscriber]struct{}
}

// room returns the tail of a room, and makes it when there is none.
func (all rooms) room(key roomKey) *roomTail {
	r := all[key]
	if r == nil {
		r = &roomTail{key: key}
		all[key] = r
	}
	return r
}

// drop drops the tail of a room if it has neither events nor readers.
func (all rooms) drop(r *roomTail) {
	if len(r.readers) == 0 && r.events.len() == 0 {
		delete(all, r.key)
	}
}

func (r *roomTail) wake(burst uint64) {
	for s := range r.readers {
		s.waker.Wake(burst)
	}
}

// add registers a reader.
func (r *roomTail) add(s *subscriber) {
	if r.readers == nil {
		r.readers = map[*subscriber]struct{}{}
	}
	r.readers[s] = struct{}{}
}

// attachment is an interval of a reader. If its room is not read, it only decides which events except the client. That
// is so for memberships that have lapsed, and for all memberships of an ad hoc reader's client: the reader reads
// only the rooms it names.
type attachment struct {
	Interval
	read bool
	tail *roomTail // of a room that is read; nil while the reader rests
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

// intervals returns the client's intervals, whether or not their rooms are read.
func (all attachments) intervals() []Interval {
	intervals := make([]Interval, len(all))
	for i := range all {
		intervals[i] = all[i].Interval
	}
	return intervals
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
func (s *subscriber) attachmentsOf(intervals []Interval) attachments {
	var all attachments
	for _, r := range s.o.Rooms {
		all = append(all, s.attach(attachment{Interval: Forever(r), read: true}))
	}
	if s.o.Client != (event.Client{}) {
		intervals = append([]Interval{Forever(event.Everyone()), Forever(s.o.Client.OwnRoom())}, intervals...)
	}
	for _, i := range intervals {
		all = append(all, s.take(i))
	}
	all.sort()
	return all
}

// take makes an attachment from an interval of the client. The caller holds the lock.
func (s *subscriber) take(i Interval) attachment {
	return s.attach(attachment{Interval: i, read: !s.o.adHoc() && !i.Lapsed})
}

// attach puts the reader into the room of an attachment, if the room is read and the reader does not rest. The caller
// holds the lock.
func (s *subscriber) attach(a attachment) attachment {
	if a.read && !s.resting {
		a.tail = s.rooms.room(roomKey{s.o.Namespace.String(), a.Room.String()})
		a.tail.add(s)
	}
	return a
}

// rest takes the reader out of its rooms; it keeps its attachments. The caller holds the lock.
func (s *subscriber) rest() {
	s.resting = true
	for i := range s.attachments {
		s.leave(s.attachments[i].tail)
		s.attachments[i].tail = nil
	}
}

// resume puts the reader into its rooms again. The caller holds the lock.
func (s *subscriber) resume() {
	s.resting = false
	for i, a := range s.attachments {
		s.attachments[i] = s.attach(a)
	}
}

// clientRef identifies a client.
type clientRef struct{ namespace, client string }

func (s *subscriber) ref() clientRef {
	return clientRef{s.o.Namespace.String(), s.o.Client.String()}
}

// detach takes the reader out of its rooms. The caller holds the lock.
func (s *subscriber) detach() {
	for _, a := range s.attachments {
		s.leave(a.tail)
	}
	s.attachments = nil
}

// leave takes the reader out of a room; for a nil room it does nothing. The caller holds the lock.
func (s *subscriber) leave(r *roomTail) {
	if r != nil {
		delete(r.readers, s)
		s.rooms.drop(r)
	}
}

// trim drops the attachments that are over at a position. The caller holds the lock.
func (s *subscriber) trim(at event.Offset) {
	all := s.attachments
	s.attachments = nil
	still := map[*roomTail]bool{}
	for _, a := range all {
		if !a.over(at) {
			s.attachments = append(s.attachments, a)
			still[a.tail] = true
		}
	}
	for _, a := range all {
		if !still[a.tail] {
			s.leave(a.tail)
		}
	}
}
