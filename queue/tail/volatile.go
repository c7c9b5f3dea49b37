package tail

import (
	"slices"

	"github.com/culvertmq/culvert/event"
)

// Volatile is a volatile event to all of its rooms.
type Volatile struct {
	Event  *event.Event
	To     []event.Room
	Signal bool         // it is for the readers of the client Event.From, see queue.Signal
	After  event.Offset // it is for those who are members at this position
}

// Publish gives volatile events to the readers that are there now. Each reader gets an event once.
func (t *Tail) Publish(events []*Volatile) {
	for _, e := range events {
		t.publishOne(e) // one at a time, so that others get the lock in between
	}
}

// Drop counts n volatile events as dropped: no reader here gets them.
func (t *Tail) Drop(n int) { t.o.Dropped.Add(float64(n)) }

func (t *Tail) publishOne(v *Volatile) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := v.Event
	h := &held{bytes: SizeOf(len(e.Data)), all: &t.volatileBytes}
	burst := t.bursts.Add(1)
	if v.Signal {
		for s := range t.clients[clientRef{e.Namespace, e.From.String()}] {
			t.deliver(s, pendingEvent{e, h}, burst)
		}
		return
	}
	var given map[*subscriber]struct{} // readers in several of the rooms get it once
	if len(v.To) > 1 {
		given = map[*subscriber]struct{}{}
	}
	for _, r := range v.To {
		room := t.rooms[roomKey{e.Namespace, r.String()}]
		if room == nil || len(room.readers) == 0 {
			continue
		}
		as := seenFrom(e, r)
		for s := range room.readers {
			if s.known == unread && len(e.Except) > 0 {
				t.Drop(1) // whether it is excepted is not known
				continue
			}
			if _, again := given[s]; again || !s.reads(r, v.After) || s.isInAny(e.Except, v.After) {
				continue
			}
			if given != nil {
				given[s] = struct{}{}
			}
			t.deliver(s, pendingEvent{as, h}, burst)
		}
	}
}

func (t *Tail) deliver(s *subscriber, e pendingEvent, burst uint64) {
	if s.resting {
		return
	}
	if n := s.pending.add(e, int64(t.o.Bytes)); n > 0 {
		t.Drop(n)
	}
	s.waker.Wake(burst)
}

// seenFrom returns a volatile event as a member of one of its rooms sees it.
func seenFrom(e *event.Event, r event.Room) *event.Event {
	return &event.Event{
		Namespace: e.Namespace, Room: r, Name: e.Name, Data: e.Data, Binary: e.Binary,
		From: e.From, At: e.At,
	}
}

// isIn reports whether the reader's client is in a room at a position. While its intervals are not known, it
// counts as being in no room that it joined, because it may have left any.
func (s *subscriber) isIn(r event.Room, at event.Offset) bool {
	return slices.ContainsFunc(s.attachments.in(r), func(a attachment) bool {
		return a.holds(at) && (a.Since == 0 || s.known != unread)
	})
}

// reads is isIn for the rooms that the reader reads.
func (s *subscriber) reads(r event.Room, at event.Offset) bool {
	return slices.ContainsFunc(s.attachments.in(r), func(a attachment) bool {
		return a.read && a.holds(at) && (a.Since == 0 || s.known != unread)
	})
}

func (s *subscriber) isInAny(rooms []event.Room, at event.Offset) bool {
	return slices.ContainsFunc(rooms, func(r event.Room) bool { return s.isIn(r, at) })
}
