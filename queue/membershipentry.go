package queue

import (
	"encoding/json"
	"slices"
	"time"
)

// membersRoom is where each namespace's log has the entries about its clients. No
// client can name it: it has a control character. The same name stands in migrations/.
const membersRoom = "\x01members"

// Events of membersRoom.
const (
	entryJoin   = "culvert:join"
	entryLeave  = "culvert:leave"
	entryForget = "culvert:forget"
)

// entry is what such an event says.
type entry struct {
	Client string `json:"client"`
	Room   string `json:"room"`
	// Own: the client joined by its own token.
	Own bool `json:"own,omitempty"`
}

// entry is the event of a change, as the follower would read it.
func (c *change) entry(log string, at time.Time) *Event {
	data, err := json.Marshal(entry{c.client.name, c.room.name, c.own})
	if err != nil {
		panic(err) // two strings
	}
	return &Event{
		Log: log, Offset: c.position.Offset, Namespace: c.ns.name, Room: Room{membersRoom},
		Name: c.op, Data: string(data), At: at,
	}
}

// clientRef finds the subscriptions of a client in the tail.
type clientRef struct{ namespace, client string }

// watch has entries about the subscription's client reach it from now on. Until it
// sits, they are kept.
func (t *tail) watch(s *Subscription) {
	if s.in.Client == (Client{}) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	ref := s.ref()
	if t.clients[ref] == nil {
		t.clients[ref] = map[*Subscription]struct{}{}
	}
	t.clients[ref][s] = struct{}{}
	s.known = unread
}

// ask begins to ask Postgres for the stays of the subscription's client once more.
func (t *tail) ask(s *Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.missed = false
}

func (s *Subscription) ref() clientRef { return clientRef{s.in.Namespace.name, s.in.Client.name} }

// unread stands for a subscription that does not know its client's stays.
const unread Offset = -1

// enter tells the subscriptions of the client an event of membersRoom is about.
func (t *tail) enter(e *Event) {
	var m entry
	if json.Unmarshal([]byte(e.Data), &m) != nil {
		return // only culvert.move writes there
	}
	for s := range t.clients[clientRef{e.Namespace, m.Client}] {
		t.move(s, e)
	}
}

// move applies an entry to one subscription, if what it knows does not contain it.
func (t *tail) move(s *Subscription, e *Event) {
	if s.known == unread {
		s.entries = append(s.entries, e)
		return
	}
	if e.Offset <= s.known {
		return
	}
	s.known = e.Offset
	var m entry
	_ = json.Unmarshal([]byte(e.Data), &m) // enter could
	switch e.Name {
	case entryJoin:
		room := Room{m.Room}
		s.end(room, e.Offset) // a backend's membership takes the place of the client's own
		seat := s.take(stay{room: room, since: e.Offset, until: MaxOffset, lapsed: m.Own && !s.in.allows(room)})
		seat.tail.add(s)
		s.seats = slices.Insert(s.seats, s.seats.firstIn(room), seat)
	case entryLeave:
		s.end(Room{m.Room}, e.Offset)
	case entryForget:
		s.ended = ErrForgotten
		notify(s.wake)
	}
}

// end ends the seat of the client's membership in a room. The rooms of an ad hoc
// subscription have nothing to do with memberships.
func (s *Subscription) end(r Room, at Offset) {
	in := s.seats.in(r)
	for i := range in {
		if seat := &in[i]; seat.until == MaxOffset && (!s.adHoc || seat.tail == nil) {
			seat.until, seat.gone = at, time.Now().Add(s.memory())
		}
	}
}

// seatsNow is a copy of the seats of a subscription.
func (t *tail) seatsNow(s *Subscription) seats {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(s.seats)
}

// notExcepted takes out the events that are not for a client with these seats: it was in one
// of the rooms that they except.
func notExcepted(events []*Event, all seats) []*Event {
	if !slices.ContainsFunc(events, excepting) {
		return events
	}
	// Each of many events may except many rooms, and the client be in as many: a map pays.
	in := make(map[Room]seats, len(all))
	for _, seat := range all {
		in[seat.room] = append(in[seat.room], seat)
	}
	return slices.DeleteFunc(events, func(e *Event) bool {
		return slices.ContainsFunc(e.Except, func(r Room) bool {
			return slices.ContainsFunc(in[r], func(seat seat) bool { return seat.covers(e.Offset) })
		})
	})
}
