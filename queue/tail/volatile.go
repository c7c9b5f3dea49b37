package tail

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/culvertmq/culvert/event"
)

// maxPending and maxPendingBytes bound the volatile events that a reader which is slow holds, but one event always fits. The oldest go first; durable ones are not
// affected.
const (
	maxPending      = 64
	maxPendingBytes = 1 << 20
)

// pending are volatile events that wait until a reader takes them.
type pending struct {
	mu     sync.Mutex
	events []pendingEvent
	bytes  int
}

// pendingEvent is a volatile event that waits for a reader. What it takes is held once for all of them.
type pendingEvent struct {
	event *event.Event
	held  *held
}

// held is what one volatile event takes of what all readers hold together.
type held struct {
	readers atomic.Int32
	bytes   int
	all     *atomic.Int64
}

func (h *held) keep() {
	if h.readers.Add(1) == 1 {
		h.all.Add(int64(h.bytes))
	}
}

func (h *held) let() {
	if h.readers.Add(-1) == 0 {
		h.all.Add(-int64(h.bytes))
	}
}

// add reports how many were dropped for it. While all readers hold more than most
// together, those that have some waiting, whose readers are the slow ones, hold one
// each; and none while it is twice as much.
func (p *pending) add(e pendingEvent, most int64) (dropped int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := e.held.all.Load()
	for len(p.events) > 0 && (len(p.events) == maxPending || p.bytes+e.held.bytes > maxPendingBytes || all > most) {
		p.drop()
		dropped++
	}
	if all > 2*most {
		return dropped + 1
	}
	e.held.keep()
	p.events, p.bytes = append(p.events, e), p.bytes+e.held.bytes
	return dropped
}

// drop lets go of the oldest.
func (p *pending) drop() {
	p.bytes -= p.events[0].held.bytes
	p.events[0].held.let()
	p.events = slices.Delete(p.events, 0, 1)
}

func (p *pending) take() []*event.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.events) == 0 {
		return nil
	}
	events := make([]*event.Event, len(p.events))
	for i, e := range p.events {
		events[i] = e.event
		e.held.let()
	}
	p.events, p.bytes = nil, 0
	return events
}

// Volatile is a volatile event that is not yet that of one room.
type Volatile struct {
	Event  *event.Event
	To     []event.Room
	Signal bool         // it is for the readers of the client Event.From, see queue.Signal
	After  event.Offset // it is for the members at this position: see Interval
}

// Publish gives volatile events to the readers that are there now, each once.
func (t *Tail) Publish(events []*Volatile) {
	for _, e := range events {
		t.publishOne(e) // others get the lock in between
	}
}

// Drop counts volatile events that nobody here gets.
func (t *Tail) Drop(n int) { t.o.Dropped.Add(float64(n)) }

func (t *Tail) publishOne(v *Volatile) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := v.Event
	h := &held{bytes: SizeOf(len(e.Data)), all: &t.flying}
	if v.Signal {
		for rd := range t.clients[clientRef{e.Namespace, e.From.String()}] {
			t.hand(rd, pendingEvent{e, h})
		}
		return
	}
	var given map[*Reader]struct{} // those in several of the rooms get it once
	if len(v.To) > 1 {
		given = map[*Reader]struct{}{}
	}
	for _, r := range v.To {
		room := t.rooms[roomKey{e.Namespace, r.String()}]
		if room == nil || len(room.readers) == 0 {
			continue
		}
		as := seenFrom(e, r)
		for rd := range room.readers {
			if rd.known == unread && len(e.Except) > 0 {
				t.Drop(1) // whether it is excepted is not known
				continue
			}
			if _, again := given[rd]; again || !rd.reads(r, v.After) || rd.isInAny(e.Except, v.After) {
				continue
			}
			if given != nil {
				given[rd] = struct{}{}
			}
			t.hand(rd, pendingEvent{as, h})
		}
	}
}

func (t *Tail) hand(rd *Reader, e pendingEvent) {
	if n := rd.pending.add(e, int64(t.o.Bytes)); n > 0 {
		t.Drop(n)
	}
	notify(rd.wake)
}

// seenFrom is a volatile event as a member of one of its rooms sees it.
func seenFrom(e *event.Event, r event.Room) *event.Event {
	return &event.Event{
		Namespace: e.Namespace, Room: r, Name: e.Name, Data: e.Data, Binary: e.Binary,
		From: e.From, At: e.At,
	}
}

// isIn reports whether the reader's client is in a room at a position, as far as that is known:
// after the tail started over, it may have left any that it joined.
func (rd *Reader) isIn(r event.Room, at event.Offset) bool {
	return slices.ContainsFunc(rd.attachments.in(r), func(a attachment) bool {
		return a.holds(at) && (a.Since == 0 || rd.known != unread)
	})
}

// reads is isIn for what the reader receives.
func (rd *Reader) reads(r event.Room, at event.Offset) bool {
	return slices.ContainsFunc(rd.attachments.in(r), func(a attachment) bool {
		return a.tail != nil && a.holds(at) && (a.Since == 0 || rd.known != unread)
	})
}

func (rd *Reader) isInAny(rooms []event.Room, at event.Offset) bool {
	return slices.ContainsFunc(rooms, func(r event.Room) bool { return rd.isIn(r, at) })
}
