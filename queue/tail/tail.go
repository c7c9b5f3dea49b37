// Package tail holds the newest events of the log in the memory of an instance, and wakes readers that wait for
// more.
//
// New makes a Tail; the log gives it events with Extend and Merge. A Reader is one subscription: NewReader,
// Attach with what Postgres says of its client, then Read whenever Wake receives. Changes of memberships come
// with the log, and the tail applies them to the readers of the client. Publish hands volatile events to the
// readers; the tail does not keep them.
package tail

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/trusted"
)

// Tail holds the recent events of the log in memory, by room, and wakes the
// readers that wait for more. It is always a gapless piece of the log:
// every event after floor up to head. Its methods are safe for concurrent use.
type Tail struct {
	o             Options
	volatileBytes atomic.Int64 // bytes of volatile events that wait for readers
	bursts        atomic.Uint64

	mu    sync.RWMutex
	log   string
	run   event.Offset // the open run of its lineage: nothing of another history is taken
	head  event.Offset
	known event.Offset // the log reaches at least up to here; may be less than head
	floor event.Offset
	ring  fifo[entry] // all events, oldest first
	bytes int
	early early
	rooms rooms // never replaced, since the readers refer to this map
	// clients has the readers of each client, for events about it.
	clients map[clientRef]map[*subscriber]struct{}
}

// Options configure a Tail.
type Options struct {
	// Events and Bytes bound what it holds.
	Events, Bytes int
	// Dropped counts the volatile events that slow readers did not get.
	Dropped prometheus.Counter
	// Observers are called with all events that come, and with nil when the tail starts over. They are called
	// under the tail's lock and must not block.
	Observers []func([]*event.Event)
}

// New returns an empty tail without a log: Adopt gives it one.
func New(o Options) *Tail {
	return &Tail{o: o, rooms: rooms{}, clients: map[clientRef]map[*subscriber]struct{}{}}
}

func (t *Tail) tellObservers(events []*event.Event) {
	for _, f := range t.o.Observers {
		f(events)
	}
}

// entry says what an event counts for; before is the event in front of it. Long data is held once for all rooms
// of an event, and its encoded form is counted when it is made.
func (t *Tail) entry(e, before *event.Event, several bool) entry {
	if !several || len(e.Data) <= ShortData {
		return entry{event: e, cost: SizeOf(len(e.Data))}
	}
	later := &encoded{}
	n := entry{event: e, cost: eventOverhead, later: later}
	e.OnEncoded(trusted.CountWith(func(bytes int) { t.count(later, bytes) }))
	if before == nil || before.Offset != e.Offset {
		n.cost += len(e.Data)
	}
	return n
}

// count adds bytes to the size of an entry and of the tail, unless the entry has left the tail.
func (t *Tail) count(later *encoded, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if later.evicted {
		return
	}
	later.bytes += bytes
	t.bytes += bytes
	t.trim()
}

// Position returns how far the tail has the log.
func (t *Tail) Position() event.Cursor {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return event.Cursor{Log: t.log, Offset: t.head}
}

// Newest returns how far the log is known to reach.
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

// HeadOf returns the head if the tail is of this history, else 0: the head of one history says nothing about
// another.
func (t *Tail) HeadOf(l *lineage.Lineage) event.Offset {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.isOf(l) {
		return 0
	}
	return t.head
}

// ToRead returns the part of the log that has to be read next: it begins after at, the tail's position, and ends at upto,
// where the first early piece begins; upto is MaxOffset if there is none.
func (t *Tail) ToRead() (at event.Cursor, upto event.Offset) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return event.Cursor{Log: t.log, Offset: t.head}, t.early.begin()
}

// NewestOf returns how far the log is known to reach if the tail is of this history, else 0.
func (t *Tail) NewestOf(l *lineage.Lineage) event.Offset {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.isOf(l) {
		return 0
	}
	return max(t.head, t.known)
}

// Extend adds the events after prev, up to head. If the tail does not reach up to prev, the events in between
// have to be read first: then Extend keeps the new ones until they are, and returns false.
func (t *Tail) Extend(l *lineage.Lineage, prev, head event.Offset, events []*event.Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isOf(l) {
		return false
	}
	t.known = max(t.known, head)
	if prev > t.head {
		t.early.keep(piece{prev, head, events}, t.o.Events/2, t.o.Bytes/2) // in up to half of the tail's memory
		t.trim()
		return false
	}
	t.join(head, events)
	t.joinEarly()
	return true
}

// Merge adds the events up to head that were read from Postgres, after a position that the tail had reached.
// Events that the tail has got meanwhile are left out.
func (t *Tail) Merge(l *lineage.Lineage, head event.Offset, events []*event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isOf(l) {
		return
	}
	t.join(head, events)
	t.joinEarly()
}

// join adds events up to head that begin right after the tail's end, or before it. The caller holds the lock.
func (t *Tail) join(head event.Offset, events []*event.Event) {
	if head <= t.head {
		return
	}
	t.push(slices.DeleteFunc(events, func(e *event.Event) bool { return e.Offset <= t.head }))
	t.head = head
}

// joinEarly adds the early pieces whose beginning the tail has reached. The caller holds the lock.
func (t *Tail) joinEarly() {
	for {
		p, ok := t.early.next(t.head)
		if !ok {
			return
		}
		t.join(p.head, p.events)
	}
}

// isOf reports whether the tail is of this history. The caller holds the lock.
func (t *Tail) isOf(l *lineage.Lineage) bool { return t.log == l.Log && t.run == l.OpenRun() }

// Adopt makes the tail continue in another history, whose newest event is at head. The tail's events are kept if
// all of them are of that history, too; kept reports it. They are if the last one is, because no offset is
// assigned twice. Intervals are asked for again in any case: memberships may have changed.
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
		r.wake(0)
	}
	t.tellObservers(nil)
	return true
}

// Reset empties the tail and starts it again at another position, because retention overtook it.
func (t *Tail) Reset(l *lineage.Lineage, head event.Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOf(l) && t.head < head {
		t.clear(head)
	}
}

// clear empties the tail and wakes all readers, so that they notice. The caller holds the lock.
func (t *Tail) clear(head event.Offset) {
	t.head, t.floor = head, head
	for _, n := range t.ring.all() {
		n.gone()
	}
	t.ring, t.bytes, t.early = fifo[entry]{}, 0, early{}
	t.unread()
	for key, r := range t.rooms {
		r.events = fifo[*event.Event]{}
		if r.wake(0); len(r.readers) == 0 {
			delete(t.rooms, key)
		}
	}
	t.tellObservers(nil)
}

// unread makes the readers ask for their clients' intervals again: changes may have been missed. The caller
// holds the lock.
func (t *Tail) unread() {
	for _, readers := range t.clients {
		for s := range readers {
			s.known, s.missed = unread, true
		}
	}
}

func (t *Tail) push(events []*event.Event) {
	woken := map[*roomTail]struct{}{}
	for i, e := range events {
		r := t.rooms.room(roomKey{e.Namespace, e.Room.String()})
		before, several := neighbour(events, i)
		n := t.entry(e, before, several)
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
		r.wake(t.bursts.Add(1))
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
	t.rooms.drop(r)
}

// WakeAll wakes every reader, so that it checks what it may do now.
func (t *Tail) WakeAll() {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, r := range t.rooms {
		r.wake(0)
	}
}

// Has reports whether the tail has reached a position.
func (t *Tail) Has(at event.Cursor) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.log == at.Log && t.head >= at.Offset
}

// Behind returns how long ago the first event after o was stored. A client that acknowledges o is behind by this
// much; at the head it is 0. If o is older than the tail, Behind returns the age of the tail's oldest event,
// which is too little.
func (t *Tail) Behind(o event.Offset, now time.Time) time.Duration {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := t.ring.all()
	i, _ := slices.BinarySearchFunc(all, o+1, func(n entry, o event.Offset) int { return int(n.event.Offset - o) })
	if i == len(all) {
		return 0
	}
	return max(0, now.Sub(all[i].event.At))
}
