package queue

import (
	"slices"
	"strings"
	"sync"
)

// tail holds the recent events of the log in memory, by room, and wakes the
// subscriptions that wait for more. It is always a gapless piece of the log:
// every event after floor up to head.
type tail struct {
	maxEvents, maxBytes int

	mu    sync.RWMutex
	log   string
	head  Offset
	floor Offset
	ring  fifo // all events, oldest first
	bytes int
	rooms map[roomKey]*roomTail
}

type roomKey struct{ namespace, room string }

// roomTail is the tail of one room and who waits for it. It is dropped when it
// has neither.
type roomTail struct {
	key    roomKey
	events fifo
	subs   map[*Subscription]struct{}
}

// eventOverhead is what an event costs in memory beside its data, which is held
// twice: as it came and in its encoded form.
const eventOverhead = 512

func (e *Event) size() int { return 2*len(e.Data) + eventOverhead }

func newTail(log string, head Offset, maxEvents, maxBytes int) *tail {
	return &tail{
		maxEvents: maxEvents, maxBytes: maxBytes,
		log: log, head: head, floor: head,
		rooms: map[roomKey]*roomTail{},
	}
}

func (t *tail) position() Cursor {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return Cursor{t.log, t.head}
}

// extend adds what came right after prev. It refuses, changing nothing, when the
// tail does not end at prev: then something is in between, to be read first.
func (t *tail) extend(log string, prev, head Offset, events []*Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log != log || t.head != prev {
		return false
	}
	t.push(events)
	t.head = head
	return true
}

// merge adds events read from Postgres after a position the tail had passed or
// stood at; those it has meanwhile got are left out. head is how far was read.
func (t *tail) merge(log string, head Offset, events []*Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log != log || head <= t.head {
		return
	}
	t.push(slices.DeleteFunc(events, func(e *Event) bool { return e.Offset <= t.head }))
	t.head = head
}

// reset starts the tail anew, empty, at another position: the log was replaced,
// or retention overtook the tail. Everybody is woken to find out.
func (t *tail) reset(log string, head Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log, t.head, t.floor = log, head, head
	t.ring, t.bytes = fifo{}, 0
	for key, r := range t.rooms {
		r.events = fifo{}
		if r.wake(); len(r.subs) == 0 {
			delete(t.rooms, key)
		}
	}
}

func (t *tail) push(events []*Event) {
	woken := map[*roomTail]struct{}{}
	for _, e := range events {
		r := t.room(roomKey{e.Namespace, e.Room.name})
		r.events.push(e)
		t.ring.push(e)
		t.bytes += e.size()
		if len(r.subs) > 0 {
			woken[r] = struct{}{}
		}
	}
	for r := range woken {
		r.wake()
	}
	for t.ring.len() > t.maxEvents || t.bytes > t.maxBytes {
		t.evict()
	}
}

func (t *tail) evict() {
	e := t.ring.pop()
	t.floor = e.Offset
	t.bytes -= e.size()
	r := t.rooms[roomKey{e.Namespace, e.Room.name}]
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

// join registers a subscription with its rooms.
func (t *tail) join(s *Subscription, keys []roomKey) []*roomTail {
	t.mu.Lock()
	defer t.mu.Unlock()
	rooms := make([]*roomTail, len(keys))
	for i, key := range keys {
		rooms[i] = t.room(key)
		if rooms[i].subs == nil {
			rooms[i].subs = map[*Subscription]struct{}{}
		}
		rooms[i].subs[s] = struct{}{}
	}
	return rooms
}

func (t *tail) leave(s *Subscription, rooms []*roomTail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range rooms {
		delete(r.subs, s)
		t.drop(r)
	}
}

// read returns the events of the rooms after a cursor, at most limit and about
// maxBytes of them, and how far that is. ok is false when the cursor is older
// than the tail or of another log.
func (t *tail) read(rooms []*roomTail, after Cursor, limit int, dst []*Event) (events []*Event, upTo Offset, more, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if after.Log != t.log || after.Offset < t.floor {
		return dst, after.Offset, false, false
	}
	for _, r := range rooms {
		all := r.events.all()
		from, _ := slices.BinarySearchFunc(all, after.Offset+1, func(e *Event, o Offset) int { return int(e.Offset - o) })
		// One more than asked for tells whether there is more; an event in
		// several of the rooms may take up several places.
		dst = append(dst, all[from:min(len(all), from+limit+1)]...)
	}
	if len(rooms) > 1 {
		dst = inOrder(dst)
	}
	dst, more = cut(dst, limit)
	if upTo = max(t.head, after.Offset); more {
		upTo = dst[len(dst)-1].Offset
	}
	return dst, upTo, more, true
}

// inOrder sorts events of several rooms by offset and keeps one of each: the
// room whose name comes first, so that every transport shows the same one.
func inOrder(events []*Event) []*Event {
	slices.SortFunc(events, func(a, b *Event) int {
		if a.Offset != b.Offset {
			return int(a.Offset - b.Offset)
		}
		return strings.Compare(a.Room.name, b.Room.name)
	})
	return slices.CompactFunc(events, func(a, b *Event) bool { return a.Offset == b.Offset })
}

// maxBatch bounds the data of one Batch, in bytes; one event always fits.
const maxBatch = 4 << 20

// cut shortens events to limit and to maxBatch bytes.
func cut(events []*Event, limit int) (kept []*Event, more bool) {
	bytes := 0
	for i, e := range events {
		bytes += len(e.Data)
		if i == limit || i > 0 && bytes > maxBatch {
			return events[:i], true
		}
	}
	return events, false
}
