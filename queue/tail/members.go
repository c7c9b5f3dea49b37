package tail

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/trusted"
)

// membersRoom is the room of a namespace's membership changes. No client can name it, because it has a control
// character. The SQL in migrations/ uses the same name.
const membersRoom = "\x01members"

// Names of the events in membersRoom.
const (
	Join   = "culvert:join"
	Leave  = "culvert:leave"
	Forget = "culvert:forget"
)

// membershipData is the data of an event in membersRoom.
type membershipData struct {
	Client string `json:"client"`
	Room   string `json:"room"`
	// Own: the client joined by its own token.
	Own bool `json:"own,omitempty"`
}

// Membership is one change of a client's memberships.
type Membership struct {
	Name      string // Join, Leave or Forget
	Namespace event.Namespace
	Client    event.Client
	Room      event.Room // zero for Forget
	Own       bool       // the client did it by its own token
}

// Event returns the change as the log has it, at a position.
func (m Membership) Event(at event.Cursor, when time.Time) *event.Event {
	data, err := json.Marshal(membershipData{m.Client.String(), m.Room.String(), m.Own})
	if err != nil {
		panic(err) // impossible with strings and a bool
	}
	return &event.Event{
		Log: at.Log, Offset: at.Offset, Namespace: m.Namespace.String(), Room: event.StoredRoom(trusted.Of(membersRoom)),
		Name: m.Name, Data: string(data), At: when,
	}
}

// tellReaders passes an event of membersRoom to the readers of the client it is about. The caller holds the
// lock.
func (t *Tail) tellReaders(e *event.Event) {
	var m membershipData
	if json.Unmarshal([]byte(e.Data), &m) != nil {
		return // impossible: only culvert.move writes there
	}
	for s := range t.clients[clientRef{e.Namespace, m.Client}] {
		s.apply(e)
	}
}

// apply changes the reader's attachments as an event about its client says, unless they contain that change
// already. The caller holds the lock.
func (s *subscriber) apply(e *event.Event) {
	if s.known == unread {
		s.entries = append(s.entries, e)
		return
	}
	if e.Offset <= s.known {
		return
	}
	s.known = e.Offset
	var m membershipData
	_ = json.Unmarshal([]byte(e.Data), &m) // tellReaders has parsed it
	room := event.StoredRoom(trusted.Of(m.Room))
	switch e.Name {
	case Join:
		s.end(room, e.Offset) // a backend's membership replaces the client's own
		a := s.take(Interval{Room: room, Since: e.Offset, Until: event.MaxOffset, Lapsed: m.Own && !s.o.Allows(room)})
		s.attachments = slices.Insert(s.attachments, s.attachments.firstIn(room), a)
	case Leave:
		s.end(room, e.Offset)
	case Forget:
		s.ended = event.ErrForgotten
		s.waker.Wake(0)
	}
}

// end ends the attachment of the client's membership in a room. The rooms that an ad hoc reader names stay attached:
// they are not memberships.
func (s *subscriber) end(r event.Room, at event.Offset) {
	in := s.attachments.in(r)
	for i := range in {
		if a := &in[i]; a.Until == event.MaxOffset && (!s.o.adHoc() || !a.read) {
			a.Until, a.gone = at, time.Now().Add(s.o.Keep)
		}
	}
}
