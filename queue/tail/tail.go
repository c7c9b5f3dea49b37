// Package tail holds the newest events of the log in the memory of an instance, and those who wait for more.
//
// New makes a Tail; whoever appends or follows the log gives it events with Extend and Merge. A Reader is one
// subscription: NewReader, Attach with what Postgres says of its client, then Read whenever Wake receives. Changes of
// memberships come with the log, and the tail applies them to the readers of the client. Volatile
// events pass through with Publish and leave no trace.
package tail

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/trusted"
)

// Tail holds the recent events of the log in memory, by room, and wakes the
// readers that wait for more. It is always a gapless piece of the log:
// every event after floor up to head. Its methods are safe for concurrent use.
type Tail struct {
	o      Options
	flying atomic.Int64 // bytes of volatile events that wait for readers

	mu    sync.RWMutex
	log   string
	run   event.Offset // the open one of its lineage: nothing of another history gets in
	head  event.Offset
	known event.Offset // that the log reaches up to; less than head where the tail came to know of it by having it
	floor event.Offset
	ring  fifo[entry] // all events, oldest first
	bytes int
	early early
	rooms map[roomKey]*roomTail
	// clients has the readers that events about a client are for.
	clients map[clientRef]map[*Reader]struct{}
	heard   []func([]*event.Event)
}

// Options configure a Tail.
type Options struct {
	// Events and Bytes bound what it holds.
	Events, Bytes int
	// Dropped counts the volatile events that slow readers did not get.
	Dropped prometheus.Counter
}

// New makes a tail of no log: Adopt gives it one.
func New(o Options) *Tail {
	return &Tail{o: o, rooms: map[roomKey]*roomTail{}, clients: map[clientRef]map[*Reader]struct{}{}}
}

// Observe has f told of all events that come, and with nil that the tail started over. It is called under the
// tail's lock and must not block.
func (t *Tail) Observe(f func([]*event.Event)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = append(t.heard, f)
}

func (t *Tail) tellObservers(events []*event.Event) {
	for _, f := range t.heard {
		f(events)
	}
}

type roomKey struct{ namespace, room string }

// roomTail is the tail of one room and who waits for it. It is dropped when it
// has neither.
type roomTail struct {
	key     roomKey
	events  fifo[*event.Event]
	readers map[*Reader]struct{}
}

// ShortData is how many bytes of data and exceptions every row of an event to several rooms repeats, in Postgres and
// here: to look them up elsewhere would cost more.
const ShortData = 256

// eventOverhead is what an event costs in memory beside its data, which is held
// twice: as it came and in its encoded form.
const eventOverhead = 512

// SizeOf is the memory that an event with so many bytes of data takes.
func SizeOf(data int) int { return 2*data + eventOverhead }

// entry weighs an event, given the one before it. Long data is held once for all rooms of an event;
// what is encoded of it is counted once it is there.
func (t *Tail) entry(e, before *event.Event, several bool) entry {
	if !several || len(e.Data) <= ShortData {
		return entry{event: e, cost: SizeOf(len(e.Data))}
	}
	n := entry{event: e, cost: eventOverhead, later: &encoded{tail: t}}
	e.OnEncoded(trusted.CountWith(n.later.count))
	if before == nil || before.Offset != e.Offset {
		n.cost += len(e.Data)
	}
	return n
}

// Position is how far the tail has the log.
func (t *Tail) Position() event.Cursor {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return event.Cursor{Log: t.log, Offset: t.head}
}

// Newest is how far the log is known to reach.
func (t *Tail) Newest() event.Cursor {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return event.Cursor{Log: t.log, Offset: max(t.head, t.known)}
}

// Learn notes that the log of this history reaches up to head.
func (t *Tail) Learn(l *lineage.Lineage, head event.Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOf(l) {
		t.known = max(t.known, head)
	}
}

// HeadOf is the head if the tail is of this history, else 0: of two histories the head of
// one says nothing about the other.
func (t *Tail) HeadOf(l *lineage.Lineage) event.Offset {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.isOf(l) {
		return 0
	}
	return t.head
}

// NewestOf is how far the log is known to reach if the tail is of this history, else 0.
func (t *Tail) NewestOf(l *lineage.Lineage) event.Offset {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.isOf(l) {
		return 0
	}
	return max(t.head, t.known)
}

// Extend adds what came right after prev. Where the tail does not reach up to there, something in
// between is to be read first: then Extend keeps the events until that is there, and returns false.
func (t *Tail) Extend(l *lineage.Lineage, prev, head event.Offset, events []*event.Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isOf(l) {
		return false
	}
	t.known = max(t.known, head)
	if prev > t.head {
		t.keepEarly(piece{prev, head, events})
		return false
	}
	t.join(head, events)
	t.joinEarly()
	return true
}

// Merge adds events read from Postgres after a position the tail had passed or
// stood at; those it has meanwhile got are left out. head is how far was read.
func (t *Tail) Merge(l *lineage.Lineage, head event.Offset, events []*event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isOf(l) {
		return
	}
	t.join(head, events)
	t.joinEarly()
}

// join adds all up to head of which the tail has the beginning. The caller holds the lock.
func (t *Tail) join(head event.Offset, events []*event.Event) {
	if head <= t.head {
		return
	}
	t.push(slices.DeleteFunc(events, func(e *event.Event) bool { return e.Offset <= t.head }))
	t.head = head
}

// isOf reports whether the tail is of this history. The caller holds the lock.
func (t *Tail) isOf(l *lineage.Lineage) bool { return t.log == l.Log && t.run == l.OpenRun() }

// Adopt goes on in another history, whose newest event is at head. What the tail has is
// kept if all of it is of that history, too, which it is when the last of it is: no
// offset is given out twice. Members may have changed in any case. kept: it was.
func (t *Tail) Adopt(l *lineage.Lineage, head event.Offset) (kept bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, kept = l.Place(t.head, head)
	kept = kept && t.log == l.Log && t.head >= l.Floor
	t.early = early{}
	t.log, t.run, t.known = l.Log, l.OpenRun(), 0
	if !kept {
		t.clear(head)
		return false
	}
	t.unread()
	for _, r := range t.rooms {
		r.wake()
	}
	t.tellObservers(nil)
	return true
}

// Reset starts the tail anew, empty, at another position: retention overtook it.
func (t *Tail) Reset(l *lineage.Lineage, head event.Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOf(l) && t.head < head {
		t.clear(head)
	}
}

// clear empties the tail. Everybody is woken to find out. The caller holds the lock.
func (t *Tail) clear(head event.Offset) {
	t.head, t.floor = head, head
	for _, n := range t.ring.all() {
		n.gone()
	}
	t.ring, t.bytes, t.early = fifo[entry]{}, 0, early{}
	t.unread()
	for key, r := range t.rooms {
		r.events = fifo[*event.Event]{}
		if r.wake(); len(r.readers) == 0 {
			delete(t.rooms, key)
		}
	}
	t.tellObservers(nil)
}

// unread has the intervals of every client asked for again: what happened in between may be
// about them. The caller holds the lock.
func (t *Tail) unread() {
	for _, readers := range t.clients {
		for rd := range readers {
			rd.known, rd.missed = unread, true
		}
	}
}

func (t *Tail) push(events []*event.Event) {
	woken := map[*roomTail]struct{}{}
	var before *event.Event
	for i, e := range events {
		r := t.room(roomKey{e.Namespace, e.Room.String()})
		several := before != nil && before.Offset == e.Offset || i+1 < len(events) && events[i+1].Offset == e.Offset
		n := t.entry(e, before, several)
		before = e
		r.events.push(e)
		t.ring.push(n)
		t.bytes += n.cost
		if len(r.readers) > 0 {
			woken[r] = struct{}{}
		}
		if e.Room.String() == membersRoom && e.Fault == nil {
			t.tellReaders(e)
		}
	}
	for r := range woken {
		r.wake()
	}
	t.tellObservers(events)
	t.trim()
}

func (t *Tail) trim() {
	for t.ring.len()+t.early.events > t.o.Events || t.bytes+t.early.bytes > t.o.Bytes {
		t.evict()
	}
}

func (t *Tail) evict() {
	n := t.ring.pop()
	t.bytes -= n.gone()
	e := n.event
	t.floor = e.Offset
	r := t.rooms[roomKey{e.Namespace, e.Room.String()}]
	r.events.pop() // the oldest of all is the oldest of its room
	t.drop(r)
}

// room returns the tail of a room, making it when there is none.
func (t *Tail) room(key roomKey) *roomTail {
	r := t.rooms[key]
	if r == nil {
		r = &roomTail{key: key}
		t.rooms[key] = r
	}
	return r
}

func (t *Tail) drop(r *roomTail) {
	if len(r.readers) == 0 && r.events.len() == 0 {
		delete(t.rooms, r.key)
	}
}

func (r *roomTail) wake() {
	for rd := range r.readers {
		notify(rd.wake)
	}
}

// add registers a reader; a nil room has none.
func (r *roomTail) add(rd *Reader) {
	switch {
	case r == nil:
	case r.readers == nil:
		r.readers = map[*Reader]struct{}{rd: {}}
	default:
		r.readers[rd] = struct{}{}
	}
}

// WakeAll has every reader look at what it may do now.
func (t *Tail) WakeAll() {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, r := range t.rooms {
		r.wake()
	}
}

// Has reports whether the tail has got to a position.
func (t *Tail) Has(at event.Cursor) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.log == at.Log && t.head >= at.Offset
}

// notify wakes whoever receives from a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
