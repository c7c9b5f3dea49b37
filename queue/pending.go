package queue

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/culvertmq/culvert/event"
)

// maxPending and maxPendingBytes bound the volatile events a subscription holds for a
// reader that is slow, but one event always fits. The oldest go first; durable ones are not
// affected.
const (
	maxPending      = 64
	maxPendingBytes = 1 << 20
)

// pending are volatile events that wait for the next Poll of a subscription.
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

// held is what one volatile event takes of what all subscriptions hold together.
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

// add reports how many were dropped for it. While all subscriptions hold more than most
// together, those that have some waiting, whose readers are the slow ones, hold one
// each; and none while it is twice as much.
func (p *pending) add(f pendingEvent, most int64) (dropped int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := f.held.all.Load()
	for len(p.events) > 0 && (len(p.events) == maxPending || p.bytes+f.held.bytes > maxPendingBytes || all > most) {
		p.drop()
		dropped++
	}
	if all > 2*most {
		return dropped + 1
	}
	f.held.keep()
	p.events, p.bytes = append(p.events, f), p.bytes+f.held.bytes
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
	for i, f := range p.events {
		events[i] = f.event
		f.held.let()
	}
	p.events, p.bytes = nil, 0
	return events
}

// publishVolatile gives volatile events to the subscriptions that are open now, each once.
func (t *tail) publishVolatile(events []*volatileEvent) {
	for _, e := range events {
		t.publishOne(e) // others get the lock in between
	}
}

func (t *tail) publishOne(v *volatileEvent) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := v.event
	h := &held{bytes: sizeOfEvent(e), all: &t.flying}
	if v.signal {
		for s := range t.clients[clientRef{e.Namespace, e.From.String()}] {
			t.hand(s, pendingEvent{e, h})
		}
		return
	}
	var given map[*Subscription]struct{} // those in several of the rooms get it once
	if len(v.to) > 1 {
		given = map[*Subscription]struct{}{}
	}
	for _, r := range v.to {
		room := t.rooms[roomKey{e.Namespace, r.String()}]
		if room == nil || len(room.subs) == 0 {
			continue
		}
		as := seenFrom(e, r)
		for s := range room.subs {
			if s.known == unread && len(e.Except) > 0 {
				t.dropped.Inc() // whether it is excepted is not known
				continue
			}
			if _, again := given[s]; again || !s.reads(r, v.after) || s.isInAny(e.Except, v.after) {
				continue
			}
			if given != nil {
				given[s] = struct{}{}
			}
			t.hand(s, pendingEvent{as, h})
		}
	}
}

func (t *tail) hand(s *Subscription, f pendingEvent) {
	if n := s.pending.add(f, int64(t.maxBytes)); n > 0 {
		t.dropped.Add(float64(n))
	}
	notify(s.wake)
}

// seenFrom is a volatile event as a member of one of its rooms sees it.
func seenFrom(e *event.Event, r event.Room) *event.Event {
	return &event.Event{
		Namespace: e.Namespace, Room: r, Name: e.Name, Data: e.Data, Binary: e.Binary,
		From: e.From, At: e.At,
	}
}

// isIn reports whether the subscription is in a room at a position, as far as that is known:
// after the tail started over, its client may have left any that it joined.
func (s *Subscription) isIn(r event.Room, at event.Offset) bool {
	return slices.ContainsFunc(s.attachments.in(r), func(attachment attachment) bool {
		return attachment.holds(at) && (attachment.since == 0 || s.known != unread)
	})
}

// reads is isIn for what the subscription receives.
func (s *Subscription) reads(r event.Room, at event.Offset) bool {
	return slices.ContainsFunc(s.attachments.in(r), func(attachment attachment) bool {
		return attachment.tail != nil && attachment.holds(at) && (attachment.since == 0 || s.known != unread)
	})
}

func (s *Subscription) isInAny(rooms []event.Room, at event.Offset) bool {
	return slices.ContainsFunc(rooms, func(r event.Room) bool { return s.isIn(r, at) })
}
