package queue

import (
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
)

// interval is a time in a room, as positions of the log: the events after since up to
// until are for the member.
type interval struct {
	room         event.Room
	since, until event.Offset
	// lapsed: the client made the membership by its own token, and the one it comes with
	// now does not allow the room.
	lapsed bool
}

// forever is an interval without a beginning or an end.
func forever(r event.Room) interval { return interval{room: r, until: event.MaxOffset} }

// covers reports whether an event at o falls into the interval.
func (s interval) covers(o event.Offset) bool { return s.since < o && o <= s.until }

// holds reports whether the interval goes on at a position: a change of members at or below it
// was made before, and one above it afterwards.
func (s interval) holds(at event.Offset) bool { return s.since <= at && at < s.until }

// memory is how long an attachment is kept after its end, for volatile events that were emitted
// before it and come later: at the next look for them, where nobody tells of them, and
// when the log can be followed.
func (s *Subscription) memory() time.Duration { return s.q.o.Poll + volatilePatience }

// attachment is an interval of a subscription. Without a tail it is not read, and only decides
// about Except: an ad hoc subscription reads the rooms it names, whatever rooms its
// client is in, and what has lapsed is not for the client.
type attachment struct {
	interval
	tail *roomTail
	gone time.Time // when it may be given up, for one that has ended
}

// over reports whether nothing more comes for the attachment to a reader at a position.
func (s *attachment) over(at event.Offset) bool { return s.until <= at && !time.Now().Before(s.gone) }

// attachments are in the order of their rooms' names, so that those in one room are quickly found: a
// client may be in many rooms, and events may except many.
type attachments []attachment

func (s attachments) sort() {
	slices.SortFunc(s, func(a, b attachment) int { return a.room.Compare(b.room) })
}

// in are the attachments in a room.
func (s attachments) in(r event.Room) attachments {
	from := s.firstIn(r)
	to := from
	for to < len(s) && s[to].room == r {
		to++
	}
	return s[from:to]
}

// firstIn is the index of the first attachment in a room, or where it would be.
func (s attachments) firstIn(r event.Room) int {
	i, _ := slices.BinarySearchFunc(s, r, func(attachment attachment, r event.Room) int { return attachment.room.Compare(r) })
	return i
}

// attachmentsOf are the attachments of a subscription whose client is in rooms.
func (s *Subscription) attachmentsOf(intervals []interval) attachments {
	var all attachments
	for _, r := range s.in.Rooms {
		all = append(all, attachment{interval: forever(r), tail: s.q.tail.room(s.key(r))})
	}
	if s.in.Client != (event.Client{}) {
		intervals = append([]interval{forever(event.Everyone), forever(s.in.Client.OwnRoom())}, intervals...)
	}
	for _, st := range intervals {
		all = append(all, s.take(st))
	}
	all.sort()
	return all
}

// take makes an attachment of an interval of the client.
func (s *Subscription) take(st interval) attachment {
	if s.adHoc || st.lapsed {
		return attachment{interval: st}
	}
	return attachment{interval: st, tail: s.q.tail.room(s.key(st.room))}
}

func (s *Subscription) key(r event.Room) roomKey { return roomKey{s.in.Namespace.String(), r.String()} }

// attach gives the subscription its attachments, by what Postgres says of its client up to known, and
// then by the entries of the log that came since. They replace those it had.
func (t *tail) attach(s *Subscription, intervals []interval, known event.Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.detach(s)
	s.attachments = s.attachmentsOf(intervals)
	for _, attachment := range s.attachments {
		attachment.tail.add(s)
	}
	if s.known = known; s.missed {
		s.known = unread
	}
	entries := s.entries
	s.entries = nil
	for _, e := range entries {
		t.move(s, e)
	}
}

// detach takes the subscription out of its rooms. The caller holds the lock.
func (t *tail) detach(s *Subscription) {
	for _, attachment := range s.attachments {
		if attachment.tail != nil {
			delete(attachment.tail.subs, s)
			t.drop(attachment.tail)
		}
	}
	s.attachments = nil
}

// trimAttachments gives up the attachments that are over at a position.
func (t *tail) trimAttachments(s *Subscription, at event.Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var kept attachments
	for _, attachment := range s.attachments {
		if !attachment.over(at) {
			kept = append(kept, attachment)
		}
	}
	left := s.attachments
	s.attachments = kept
	still := make(map[*roomTail]bool, len(kept))
	for _, attachment := range kept {
		still[attachment.tail] = true
	}
	for _, attachment := range left {
		if attachment.tail != nil && !still[attachment.tail] {
			delete(attachment.tail.subs, s)
			t.drop(attachment.tail)
		}
	}
}
