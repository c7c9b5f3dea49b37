package event

import (
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/culvertmq/culvert/internal/trusted"
)

// Event is one immutable entry of the log, as one of the rooms it was addressed to sees it. Events of
// Subscription.Poll are shared between subscriptions and must not be changed; those of Next, of a page of
// history and of a handler are the caller's own.
type Event struct {
	Log       string
	Offset    Offset
	Namespace string
	Room      Room
	Name      string
	// Data is one line of valid JSON. When Binary is set it is a JSON string
	// holding base64.
	Data   string
	Binary bool
	From   Client // zero when a backend emitted it without a client
	At     time.Time
	Except []Room // clients in any of these do not get it
	// ReplyUntil is set when the emitter wants replies: they are accepted until then.
	ReplyUntil time.Time

	// Fault says why the stored event cannot be read. An event with a Fault is never delivered.
	Fault error

	once    sync.Once
	wireKey any // the key that wire is for
	wire    []byte
	encoded trusted.Counter
}

// OnEncoded makes c count the bytes of the encoded form, once there is one. It must be called before the event
// is shared.
func (e *Event) OnEncoded(c trusted.Counter) { e.encoded = c }

// Unreadable reports whether the event has a Fault.
func (e *Event) Unreadable() bool { return e.Fault != nil }

// Copy returns a copy of the event that its receiver may change.
func (e *Event) Copy() *Event {
	return &Event{
		Log: e.Log, Offset: e.Offset, Namespace: e.Namespace, Room: e.Room, Name: e.Name,
		Data: e.Data, Binary: e.Binary, From: e.From, At: e.At, Except: slices.Clone(e.Except), ReplyUntil: e.ReplyUntil,
	}
}

// Volatile reports whether the event was never stored: it has no offset.
func (e *Event) Volatile() bool { return e.Offset == 0 }

// Cursor returns the position right after this event.
func (e *Event) Cursor() Cursor { return Cursor{e.Log, e.Offset} }

// Wire returns encode's result for this event. key identifies the encoder. For the first key the result is
// computed once and kept for all subscriptions; for another key it is computed each time. key must be
// comparable, and should be of a type of the caller's own. The bytes must not be changed.
func (e *Event) Wire(key any, encode func(*Event) []byte) []byte {
	first := false
	e.once.Do(func() { e.wireKey, e.wire, first = key, encode(e), true })
	if first {
		e.encoded.Count(len(e.wire))
	}
	if e.wireKey != key {
		return encode(e)
	}
	return e.wire
}

// Gap reports events that the reader can no longer get.
type Gap struct {
	From, To Cursor
	// Reason is GapPruned, GapLog, GapRewound or GapUnreadable.
	Reason string
}

// Reasons of a Gap.
const (
	GapPruned = "pruned" // retention dropped events of the subscription's rooms
	// GapRewound: the log lost its end in a restore or failover, and From with it, or it never assigned From.
	// To may be far below From; all that came instead follows after it.
	GapRewound = "rewound"
	GapLog     = "log" // the cursor belongs to another log; reading goes on at the oldest retained event
	// GapUnreadable: the event stored at To cannot be read.
	GapUnreadable = "unreadable"
)

// Batch is the next part of what a subscription or a page of history has.
type Batch struct {
	Gap    *Gap // comes before Events
	Events []*Event
	// Volatile events have no order relative to Events. One whose name begins with "culvert:" is a Signal.
	Volatile []*Event
	Cursor   Cursor // go on after this; moves with the head when Events is empty
	More     bool   // there may be more at once
	// Final is set by History: the same cursor and limit give the same events, as long as these are kept.
	Final bool
	// Taken is how many bytes of its reader's Memory the batch has taken. They must be given back when the
	// batch is no longer used.
	Taken int
}

// All yields the events, then the volatile ones.
func (b Batch) All() iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		for _, list := range [][]*Event{b.Events, b.Volatile} {
			for _, e := range list {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// String makes a Gap readable in logs.
func (g Gap) String() string { return fmt.Sprintf("%s..%s (%s)", g.From, g.To, g.Reason) }
