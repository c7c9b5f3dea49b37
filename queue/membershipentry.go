package queue

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/trusted"
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

// membershipEntry is what such an event says.
type membershipEntry struct {
	Client string `json:"client"`
	Room   string `json:"room"`
	// Own: the client joined by its own token.
	Own bool `json:"own,omitempty"`
}

// entry is the event of a change, as the follower would read it.
func (c *membershipChange) entry(log string, at time.Time) *event.Event {
	data, err := json.Marshal(membershipEntry{c.client.String(), c.room.String(), c.own})
	if err != nil {
		panic(err) // two strings
	}
	return &event.Event{
		Log: log, Offset: c.position.Offset, Namespace: c.ns.String(), Room: event.StoredRoom(trusted.Of(membersRoom)),
		Name: c.op, Data: string(data), At: at,
	}
}

// clientRef finds the subscriptions of a client in the tail.
type clientRef struct{ namespace, client string }

// watch has entries about the subscription's client reach it from now on. Until it
// is attached, they are kept.
func (t *tail) watch(s *Subscription) {
	if s.in.Client == (event.Client{}) {
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

// ask begins to ask Postgres for the intervals of the subscription's client once more.
func (t *tail) ask(s *Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.missed = false
}

func (s *Subscription) ref() clientRef {
	return clientRef{s.in.Namespace.String(), s.in.Client.String()}
}

// unread stands for a subscription that does not know its client's intervals.
const unread event.Offset = -1

// enter tells the subscriptions of the client an event of membersRoom is about.
func (t *tail) enter(e *event.Event) {
	var m membershipEntry
	if json.Unmarshal([]byte(e.Data), &m) != nil {
		return // only culvert.move writes there
	}
	for s := range t.clients[clientRef{e.Namespace, m.Client}] {
		t.move(s, e)
	}
}

// move applies an entry to one subscription, if what it knows does not contain it.
func (t *tail) move(s *Subscription, e *event.Event) {
	if s.known == unread {
		s.entries = append(s.entries, e)
		return
	}
	if e.Offset <= s.known {
		return
	}
	s.known = e.Offset
	var m membershipEntry
	_ = json.Unmarshal([]byte(e.Data), &m) // enter could
	switch e.Name {
	case entryJoin:
		room := event.StoredRoom(trusted.Of(m.Room))
		s.end(room, e.Offset) // a backend's membership takes the place of the client's own
		attachment := s.take(interval{room: room, since: e.Offset, until: event.MaxOffset, lapsed: m.Own && !s.in.allows(room)})
		attachment.tail.add(s)
		s.attachments = slices.Insert(s.attachments, s.attachments.firstIn(room), attachment)
	case entryLeave:
		s.end(event.StoredRoom(trusted.Of(m.Room)), e.Offset)
	case entryForget:
		s.ended = event.ErrForgotten
		notify(s.wake)
	}
}

// end ends the attachment of the client's membership in a room. The rooms of an ad hoc
// subscription have nothing to do with memberships.
func (s *Subscription) end(r event.Room, at event.Offset) {
	in := s.attachments.in(r)
	for i := range in {
		if attachment := &in[i]; attachment.until == event.MaxOffset && (!s.adHoc || attachment.tail == nil) {
			attachment.until, attachment.gone = at, time.Now().Add(s.memory())
		}
	}
}

// attachmentsNow is a copy of the attachments of a subscription.
func (t *tail) attachmentsNow(s *Subscription) attachments {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(s.attachments)
}

// notExcepted takes out the events that are not for a client with these attachments: it was in one
// of the rooms that they except.
func notExcepted(events []*event.Event, all attachments) []*event.Event {
	if !slices.ContainsFunc(events, excepting) {
		return events
	}
	// Each of many events may except many rooms, and the client be in as many: a map pays.
	in := make(map[event.Room]attachments, len(all))
	for _, attachment := range all {
		in[attachment.room] = append(in[attachment.room], attachment)
	}
	return slices.DeleteFunc(events, func(e *event.Event) bool {
		return slices.ContainsFunc(e.Except, func(r event.Room) bool {
			return slices.ContainsFunc(in[r], func(attachment attachment) bool { return attachment.covers(e.Offset) })
		})
	})
}
