package queue

import (
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/tail"
)

// Interest says what a subscription is for.
type Interest struct {
	Namespace event.Namespace
	// Client is the client whose stored cursor is the start when After is zero, and whose rooms decide about
	// Except. Zero: an ad hoc subscription of a backend.
	Client event.Client
	// Rooms makes the subscription ad hoc: it has just these rooms, and nothing about the client is stored. If
	// there are none, it has the client's own room, Everyone, and the rooms the client is in, as they change.
	Rooms []event.Room
	// May reports whether the client's token allows it to read a room: memberships that the client made by its
	// own token hold only in such rooms. nil allows every room. It must not block.
	May func(event.Room) bool
	// Rights stands for what May allows: Interests of one client with equal Rights allow the same rooms. If it
	// is not empty, Close keeps what is known of the client for Options.SessionIdle. A Subscribe in that time with
	// equal Rights, and with After at the closed subscription's Cursor, needs no query. It is for long polls.
	Rights string
	// After is the position to continue from; zero: the stored cursor, and the head
	// for a client never seen.
	After event.Cursor
	// Earliest starts at the oldest retained event when After is zero.
	Earliest bool
	// Memory is charged with the events that are read from Postgres for this reader alone; nil: they are not
	// counted. Events of the tail are shared and never charged.
	Memory event.Memory
	// Waker is told when Poll may have something new, for readers that have no goroutine which waits; nil: the
	// channel of Subscription.Wake receives. Next needs the channel.
	Waker tail.Waker
}

// allows reports whether the client may read a room it is in by its own token.
func (in *Interest) allows(r event.Room) bool { return in.May == nil || in.May(r) }

// from is the position from which intervals are needed; nil: the stored cursor. at is of this log.
func (in *Interest) from(at event.Cursor) *event.Offset {
	switch {
	case in.After.Log == at.Log && !in.After.IsZero():
		return &in.After.Offset
	case !in.After.IsZero() || in.Earliest:
		return new(event.Offset)
	}
	return nil
}
