package queue

import (
	"slices"
	"strings"
)

// reading is what the tail has for a subscription.
type reading struct {
	events []*Event
	upTo   Offset // how far that is
	more   bool
	over   bool // some seats are over
}

// read returns the events of the subscription's seats after its cursor, at most
// limit and about maxBatch bytes of them. ok is false when the tail does not know:
// the cursor is older than it or not yet known to be of its history, or the seats are not known.
func (t *tail) read(s *Subscription, limit int, dst []*Event) (r reading, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	after := s.cursor
	if after.Log != t.log || s.run != t.run || after.Offset < t.floor || s.known == unread || s.ended != nil {
		return r, false
	}
	sources := 0
	for i := range s.seats {
		seat := &s.seats[i]
		r.over = r.over || seat.over(after.Offset)
		if seat.tail == nil {
			continue
		}
		n := len(dst)
		// One more than asked for tells whether there is more; an event in
		// several of the rooms may take up several places.
		if dst = seat.tail.between(dst, max(after.Offset, seat.since), seat.until, limit+1); len(dst) > n {
			sources++
		}
	}
	if sources > 1 {
		dst = inOrder(dst)
	}
	r.events, r.more = cut(dst, limit)
	if r.upTo = max(t.head, after.Offset); r.more {
		r.upTo = r.events[len(r.events)-1].Offset
	}
	r.events = slices.DeleteFunc(r.events, s.excepted)
	return r, true
}

// between adds at most limit events after one offset up to another to dst.
func (r *roomTail) between(dst []*Event, after, upTo Offset, limit int) []*Event {
	all := r.events.all()
	if n := len(all); n == 0 || all[n-1].Offset <= after {
		return dst // what most rooms of a client have, most of the time
	}
	all = all[firstAfter(all, after):]
	if upTo != MaxOffset {
		all = all[:firstAfter(all, upTo)]
	}
	return append(dst, all[:min(len(all), limit)]...)
}

// firstAfter is the index of the first event after an offset.
func firstAfter(events []*Event, o Offset) int {
	i, _ := slices.BinarySearchFunc(events, o+1, func(e *Event, o Offset) int { return int(e.Offset - o) })
	return i
}

// inOrder sorts events of several rooms by offset and keeps one of each: the
// room whose name comes first, so that every transport shows the same one.
func inOrder(events []*Event) []*Event {
	slices.SortFunc(events, func(a, b *Event) int {
		if a.Offset != b.Offset {
			return int(a.Offset - b.Offset)
		}
		return strings.Compare(a.Room.name, b.Room.name)
	})
	return slices.CompactFunc(events, func(a, b *Event) bool { return a.Offset == b.Offset })
}

// maxBatch bounds the data of one Batch, in bytes; one event always fits.
const maxBatch = 4 << 20

// cut shortens events to limit and to maxBatch bytes.
func cut(events []*Event, limit int) (kept []*Event, more bool) {
	bytes := 0
	for i, e := range events {
		bytes += len(e.Data)
		if i == limit || i > 0 && bytes > maxBatch {
			return events[:i], true
		}
	}
	return events, false
}
