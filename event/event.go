package event

import (
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/culvertmq/culvert/internal/trusted"
)

// Event is one immutable entry of the log, as seen in one of the rooms that it was addressed
// to. The events of Subscription.Poll are shared between subscriptions and must not be changed;
// those of Next, of a page of history and of a handler belong to the caller.
type Event struct {
	Log       string
	Offset    Offset
	Namespace string
	Room      Room
	Name      string
	// Data is one line of valid JSON. If Binary is set, it is a JSON string of
	// base64.
	Data   string
	Binary bool
	From   Client // zero when a backend emitted it for no client
	At     time.Time
	Except []Room // clients in any of these rooms do not get the event
	// ReplyUntil is set if the event asks for replies: they are taken until then.
	ReplyUntil time.Time

	// Fault says why the stored event cannot be read. Readers never get an event that has one.
	Fault error

	once    sync.Once
	wireKey any // the key with which wire was computed
	wire    []byte
	encoded trusted.Counter
}

// OnEncoded sets the counter of the bytes of the encoded form, which counts when Wire makes it. It
// must be called before anybody else has the event.
func (e *Event) OnEncoded(c trusted.Counter) { e.encoded = c }

// Unreadable reports whether the event has a Fault.
func (e *Event) Unreadable() bool { return e.Fault != nil }

// Copy returns a copy that its caller may change.
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

// Wire returns encode's result for this event, computed only once however many subscriptions call it with the
// same key, which stands for the encoder. Only the result for the first key is kept: with another key encode
// runs each time. key must be comparable and should have a type of the caller's own; the bytes must not be changed.
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

// Gap reports events that are lost.
type Gap struct {
	From, To Cursor
	// Reason is GapPruned, GapLog, GapRewound or GapUnreadable.
	Reason string
}

// Reasons of a Gap.
const (
	GapPruned = "pruned" // retention dropped events of the subscription's rooms
	// GapRewound: the log lost its end, with From, in a restore or failover; or it never gave out
	// From. To may be far below From: all events that came instead follow after To.
	GapRewound = "rewound"
	GapLog     = "log" // the cursor belongs to another log; reading continues at the oldest retained event
	// GapUnreadable: the row at To cannot be read as an event.
	GapUnreadable = "unreadable"
)

// Batch is the next part of what a subscription or a page of history has.
type Batch struct {
	Gap    *Gap // comes before Events
	Events []*Event
	// Volatile events have no order relative to the other events. One whose name
	// begins with "culvert:" is a Signal.
	Volatile []*Event
	Cursor   Cursor // continue after this; moves with the head when Events is empty
	More     bool   // there is more: ask again at once
	// Final is set by History: a call with the same cursor and the same limit
	// returns the same events for as long as they are kept.
	Final bool
	// Taken is how much the batch has taken of its reader's Memory. The receiver gives it back when
	// it is done with the batch.
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
