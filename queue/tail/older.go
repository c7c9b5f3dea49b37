package tail

import (
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
)

// Floor returns where the tail begins: it has every event after this position up to its head.
func (t *Tail) Floor() event.Offset {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.floor
}

// Precede adds the events after one position up to another, which is the tail's floor, in front of those it has. It
// returns whether there is room for still older ones. The oldest events leave the tail at once if there is no room for
// them. If the tail does not begin at upto any more, Precede does nothing.
//
// Nobody is told of these events. They were stored before the tail began: the memberships that readers asked Postgres
// for have their changes already, and observers have looked at Postgres since.
func (t *Tail) Precede(l *lineage.Lineage, after, upto event.Offset, events []*event.Event) (room bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isOf(l) || t.floor != upto || after > upto {
		return false
	}
	ring := make([]entry, len(events))
	byRoom := map[*roomTail][]*event.Event{}
	for i, e := range events {
		before, several := neighbour(events, i)
		ring[i] = t.entry(e, before, several)
		t.bytes += ring[i].cost
		r := t.rooms.room(roomKey{e.Namespace, e.Room.String()})
		byRoom[r] = append(byRoom[r], e)
	}
	t.ring.unshift(ring)
	for r, older := range byRoom {
		r.events.unshift(older)
	}
	t.floor = after
	t.trim()
	return t.floor == after
}
