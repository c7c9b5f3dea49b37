package queue

import (
	"slices"
	"sync"
)

// maxPending bounds the volatile events a subscription holds for a reader that is
// slow. The oldest go first; durable ones are not affected.
const maxPending = 64

// pending are volatile events that wait for the next Poll of a subscription.
type pending struct {
	mu     sync.Mutex
	events []*Event
}

// add reports whether one was dropped for it.
func (p *pending) add(e *Event) (dropped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if dropped = len(p.events) == maxPending; dropped {
		p.events = slices.Delete(p.events, 0, 1)
	}
	p.events = append(p.events, e)
	return dropped
}

func (p *pending) take() []*Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	events := p.events
	p.events = nil
	return events
}

// fling gives volatile events to the subscriptions that are open now, each once.
func (t *tail) fling(events []*Event) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range events {
		if e.signal {
			for s := range t.clients[clientRef{e.Namespace, e.From.name}] {
				t.hand(s, e)
			}
			continue
		}
		var given map[*Subscription]struct{} // those in several of the rooms get it once
		if len(e.to) > 1 {
			given = map[*Subscription]struct{}{}
		}
		for _, r := range e.to {
			room := t.rooms[roomKey{e.Namespace, r.name}]
			if room == nil || len(room.subs) == 0 {
				continue
			}
			as := e.in(r)
			for s := range room.subs {
				if s.known == unread && len(e.Except) > 0 {
					t.dropped.Inc() // whether it is excepted is not known
					continue
				}
				if _, again := given[s]; again || !s.reads(r, e.after) || s.isInAny(e.Except, e.after) {
					continue
				}
				if given != nil {
					given[s] = struct{}{}
				}
				t.hand(s, as)
			}
		}
	}
}

func (t *tail) hand(s *Subscription, e *Event) {
	if s.pending.add(e) {
		t.dropped.Inc()
	}
	notify(s.wake)
}

// in is a volatile event as a member of one of its rooms sees it.
func (e *Event) in(r Room) *Event {
	return &Event{
		Namespace: e.Namespace, Room: r, Name: e.Name, Data: e.Data, Binary: e.Binary,
		From: e.From, At: e.At,
	}
}

// isIn reports whether the subscription is in a room at a position, as far as that is known:
// after the tail started over, its client may have left any that it joined.
func (s *Subscription) isIn(r Room, at Offset) bool {
	return slices.ContainsFunc(s.seats, func(seat seat) bool {
		return seat.room == r && seat.holds(at) && (seat.since == 0 || s.known != unread)
	})
}

// reads is isIn for what the subscription receives.
func (s *Subscription) reads(r Room, at Offset) bool {
	return slices.ContainsFunc(s.seats, func(seat seat) bool {
		return seat.tail != nil && seat.room == r && seat.holds(at) && (seat.since == 0 || s.known != unread)
	})
}

func (s *Subscription) isInAny(rooms []Room, at Offset) bool {
	return slices.ContainsFunc(rooms, func(r Room) bool { return s.isIn(r, at) })
}
