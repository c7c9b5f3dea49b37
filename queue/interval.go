package queue

import (
	"slices"
	"time"
)

// stay is a time in a room, as positions of the log: the events after since up to
// until are for whoever stays.
type stay struct {
	room         Room
	since, until Offset
	// lapsed: the client made the membership by its own token, and the one it comes with
	// now does not allow the room.
	lapsed bool
}

// forever is a stay without a beginning or an end.
func forever(r Room) stay { return stay{room: r, until: MaxOffset} }

// covers reports whether an event at o falls into the stay.
func (s stay) covers(o Offset) bool { return s.since < o && o <= s.until }

// holds reports whether the stay goes on at a position: a change of members at or below it
// was made before, and one above it afterwards.
func (s stay) holds(at Offset) bool { return s.since <= at && at < s.until }

// memory is how long a seat is kept after its end, for volatile events that were emitted
// before it and come later: at the next look for them, where nobody tells of them, and
// when the log can be followed.
func (s *Subscription) memory() time.Duration { return s.q.o.Poll + volatilePatience }

// seat is a stay of a subscription. Without a tail it is not read, and only decides
// about Except: an ad hoc subscription reads the rooms it names, whatever rooms its
// client is in, and what has lapsed is not for the client.
type seat struct {
	stay
	tail *roomTail
	gone time.Time // when it may be given up, for one that has ended
}

// over reports whether nothing more comes for the seat to a reader at a position.
func (s *seat) over(at Offset) bool { return s.until <= at && !time.Now().Before(s.gone) }

// seats are in the order of their rooms' names, so that those in one room are quickly found: a
// client may be in many rooms, and events may except many.
type seats []seat

func (s seats) sort() {
	slices.SortFunc(s, func(a, b seat) int { return a.room.compare(b.room) })
}

// in are the seats in a room.
func (s seats) in(r Room) seats {
	from := s.firstIn(r)
	to := from
	for to < len(s) && s[to].room == r {
		to++
	}
	return s[from:to]
}

// firstIn is the index of the first seat in a room, or where it would be.
func (s seats) firstIn(r Room) int {
	i, _ := slices.BinarySearchFunc(s, r, func(seat seat, r Room) int { return seat.room.compare(r) })
	return i
}

// seatsOf are the seats of a subscription whose client stays in rooms.
func (s *Subscription) seatsOf(stays []stay) seats {
	var all seats
	for _, r := range s.in.Rooms {
		all = append(all, seat{stay: forever(r), tail: s.q.tail.room(s.key(r))})
	}
	if s.in.Client != (Client{}) {
		stays = append([]stay{forever(Everyone), forever(s.in.Client.OwnRoom())}, stays...)
	}
	for _, st := range stays {
		all = append(all, s.take(st))
	}
	all.sort()
	return all
}

// take makes a seat of a stay of the client.
func (s *Subscription) take(st stay) seat {
	if s.adHoc || st.lapsed {
		return seat{stay: st}
	}
	return seat{stay: st, tail: s.q.tail.room(s.key(st.room))}
}

func (s *Subscription) key(r Room) roomKey { return roomKey{s.in.Namespace.name, r.name} }

// sit seats the subscription by what Postgres says of its client up to known, and
// then by the entries of the log that came since. It replaces the seats it had.
func (t *tail) sit(s *Subscription, stays []stay, known Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unseat(s)
	s.seats = s.seatsOf(stays)
	for _, seat := range s.seats {
		seat.tail.add(s)
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

// unseat takes the subscription out of its rooms. The caller holds the lock.
func (t *tail) unseat(s *Subscription) {
	for _, seat := range s.seats {
		if seat.tail != nil {
			delete(seat.tail.subs, s)
			t.drop(seat.tail)
		}
	}
	s.seats = nil
}

// tidy gives up the seats that are over at a position.
func (t *tail) tidy(s *Subscription, at Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var kept seats
	for _, seat := range s.seats {
		if !seat.over(at) {
			kept = append(kept, seat)
		}
	}
	left := s.seats
	s.seats = kept
	still := make(map[*roomTail]bool, len(kept))
	for _, seat := range kept {
		still[seat.tail] = true
	}
	for _, seat := range left {
		if seat.tail != nil && !still[seat.tail] {
			delete(seat.tail.subs, s)
			t.drop(seat.tail)
		}
	}
}
