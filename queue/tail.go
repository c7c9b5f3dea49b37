package queue

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/trusted"
)

// tail holds the recent events of the log in memory, by room, and wakes the
// subscriptions that wait for more. It is always a gapless piece of the log:
// every event after floor up to head.
type tail struct {
	maxEvents, maxBytes int
	dropped             prometheus.Counter // volatile events a slow reader did not get
	flying              atomic.Int64       // bytes of volatile events that wait for readers

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
	// clients has the subscriptions that entries about a client are for.
	clients map[clientRef]map[*Subscription]struct{}
	// heard is told of all that comes, and with nil of a reset; it must not block.
	heard func([]*event.Event)
}

type roomKey struct{ namespace, room string }

// roomTail is the tail of one room and who waits for it. It is dropped when it
// has neither.
type roomTail struct {
	key    roomKey
	events fifo[*event.Event]
	subs   map[*Subscription]struct{}
}

// eventOverhead is what an event costs in memory beside its data, which is held
// twice: as it came and in its encoded form.
const eventOverhead = 512

func sizeOfEvent(e *event.Event) int { return sizeOf(len(e.Data)) }

// sizeOf is the memory that an event with so many bytes of data takes.
func sizeOf(data int) int { return 2*data + eventOverhead }

// entry weighs an event, given the one before it. Long data is held once for all rooms of an event;
// what is encoded of it is counted once it is there.
func (t *tail) entry(e, before *event.Event, several bool) entry {
	if !several || len(e.Data) <= brief {
		return entry{event: e, cost: sizeOfEvent(e)}
	}
	n := entry{event: e, cost: eventOverhead, later: &encoded{tail: t}}
	e.OnEncoded(trusted.CountWith(n.later.count))
	if before == nil || before.Offset != e.Offset {
		n.cost += len(e.Data)
	}
	return n
}

func newTail(l *lineage.Lineage, head event.Offset, maxEvents, maxBytes int, dropped prometheus.Counter) *tail {
	return &tail{
		maxEvents: maxEvents, maxBytes: maxBytes, dropped: dropped,
		log: l.Log, run: l.OpenRun(), head: head, floor: head,
		rooms:   map[roomKey]*roomTail{},
		clients: map[clientRef]map[*Subscription]struct{}{},
	}
}

// position is how far the tail has the log.
func (t *tail) position() event.Cursor {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return event.Cursor{Log: t.log, Offset: t.head}
}

// newest is how far the log is known to reach.
func (t *tail) newest() event.Cursor {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return event.Cursor{Log: t.log, Offset: max(t.head, t.known)}
}

// learn notes that the log of this history reaches up to head.
func (t *tail) learn(l *lineage.Lineage, head event.Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOf(l) {
		t.known = max(t.known, head)
	}
}

// headOf is the head if the tail is of this history, else 0: of two histories the head of
// one says nothing about the other.
func (t *tail) headOf(l *lineage.Lineage) event.Offset {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.isOf(l) {
		return 0
	}
	return t.head
}

// newestOf is how far the log is known to reach if the tail is of this history, else 0.
func (t *tail) newestOf(l *lineage.Lineage) event.Offset {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.isOf(l) {
		return 0
	}
	return max(t.head, t.known)
}

// extend adds what came right after prev. Where the tail does not reach up to there, something in
// between is to be read first: then extend keeps the events until that is there, and returns false.
func (t *tail) extend(l *lineage.Lineage, prev, head event.Offset, events []*event.Event) bool {
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

// merge adds events read from Postgres after a position the tail had passed or
// stood at; those it has meanwhile got are left out. head is how far was read.
func (t *tail) merge(l *lineage.Lineage, head event.Offset, events []*event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isOf(l) {
		return
	}
	t.join(head, events)
	t.joinEarly()
}

// join adds all up to head of which the tail has the beginning. The caller holds the lock.
func (t *tail) join(head event.Offset, events []*event.Event) {
	if head <= t.head {
		return
	}
	t.push(slices.DeleteFunc(events, func(e *event.Event) bool { return e.Offset <= t.head }))
	t.head = head
}

// isOf reports whether the tail is of this history. The caller holds the lock.
func (t *tail) isOf(l *lineage.Lineage) bool { return t.log == l.Log && t.run == l.OpenRun() }

// adopt goes on in another history, whose newest event is at head. What the tail has is
// kept if all of it is of that history, too, which it is when the last of it is: no
// offset is given out twice. Members may have changed in any case. kept: it was.
func (t *tail) adopt(l *lineage.Lineage, head event.Offset) (kept bool) {
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
	t.heard(nil)
	return true
}

// reset starts the tail anew, empty, at another position: retention overtook it.
func (t *tail) reset(l *lineage.Lineage, head event.Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOf(l) && t.head < head {
		t.clear(head)
	}
}

// clear empties the tail. Everybody is woken to find out. The caller holds the lock.
func (t *tail) clear(head event.Offset) {
	t.head, t.floor = head, head
	for _, n := range t.ring.all() {
		n.gone()
	}
	t.ring, t.bytes, t.early = fifo[entry]{}, 0, early{}
	t.unread()
	for key, r := range t.rooms {
		r.events = fifo[*event.Event]{}
		if r.wake(); len(r.subs) == 0 {
			delete(t.rooms, key)
		}
	}
	t.heard(nil)
}

// unread has the intervals of every client asked for again: what happened in between may be
// about them. The caller holds the lock.
func (t *tail) unread() {
	for _, subs := range t.clients {
		for s := range subs {
			s.known, s.missed = unread, true
		}
	}
}

func (t *tail) push(events []*event.Event) {
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
		if len(r.subs) > 0 {
			woken[r] = struct{}{}
		}
		if e.Room.String() == membersRoom && e.Fault == nil {
			t.enter(e)
		}
	}
	for r := range woken {
		r.wake()
	}
	t.heard(events)
	t.trim()
}

func (t *tail) trim() {
	for t.ring.len()+t.early.events > t.maxEvents || t.bytes+t.early.bytes > t.maxBytes {
		t.evict()
	}
}

func (t *tail) evict() {
	n := t.ring.pop()
	t.bytes -= n.gone()
	e := n.event
	t.floor = e.Offset
	r := t.rooms[roomKey{e.Namespace, e.Room.String()}]
	r.events.pop() // the oldest of all is the oldest of its room
	t.drop(r)
}

// room returns the tail of a room, making it when there is none.
func (t *tail) room(key roomKey) *roomTail {
	r := t.rooms[key]
	if r == nil {
		r = &roomTail{key: key}
		t.rooms[key] = r
	}
	return r
}

func (t *tail) drop(r *roomTail) {
	if len(r.subs) == 0 && r.events.len() == 0 {
		delete(t.rooms, r.key)
	}
}

func (r *roomTail) wake() {
	for s := range r.subs {
		notify(s.wake)
	}
}

// add registers a subscription; a nil room has none.
func (r *roomTail) add(s *Subscription) {
	switch {
	case r == nil:
	case r.subs == nil:
		r.subs = map[*Subscription]struct{}{s: {}}
	default:
		r.subs[s] = struct{}{}
	}
}

// leave forgets a subscription.
func (t *tail) leave(s *Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.detach(s)
	s.pending.take()
	ref := s.ref()
	if delete(t.clients[ref], s); len(t.clients[ref]) == 0 {
		delete(t.clients, ref)
	}
}

// wakeAll has every subscription look at what it may do now.
func (t *tail) wakeAll() {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, r := range t.rooms {
		r.wake()
	}
}
