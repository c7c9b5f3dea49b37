package tail

import (
	"cmp"
	"slices"

	"github.com/culvertmq/culvert/event"
)

// early is what came before something that is in front of it in the log: what this instance
// appended right after others did, whose events are still to be read. Without it all that
// comes after those would have to be read back from Postgres, for as long as appends go on.
type early struct {
	pieces []piece // in order
	events int
	bytes  int
}

// piece is a gapless piece of the log: every event after prev up to head.
type piece struct {
	prev, head event.Offset
	events     []*event.Event
}

// size is about what a piece costs in memory.
func (p *piece) size() (n int) {
	for i, e := range p.events {
		n += eventOverhead
		if i == 0 || p.events[i-1].Offset != e.Offset {
			n += 2 * len(e.Data)
		}
	}
	return n
}

// keepEarly keeps a piece beyond the head, in up to half of the tail's memory. One that is not kept is
// read later. The caller holds the lock.
func (t *Tail) keepEarly(p piece) {
	size := p.size()
	if len(p.events) == 0 || t.early.events+len(p.events) > t.o.Events/2 || t.early.bytes+size > t.o.Bytes/2 {
		return
	}
	i, _ := slices.BinarySearchFunc(t.early.pieces, p.prev, func(p piece, prev event.Offset) int { return cmp.Compare(p.prev, prev) })
	t.early.pieces = slices.Insert(t.early.pieces, i, p)
	t.early.events += len(p.events)
	t.early.bytes += size
	t.trim()
}

// joinEarly adds the pieces that the tail now reaches up to. The caller holds the lock.
func (t *Tail) joinEarly() {
	for len(t.early.pieces) > 0 && t.early.pieces[0].prev <= t.head {
		p := t.early.pieces[0]
		t.early.pieces[0] = piece{}
		t.early.pieces = t.early.pieces[1:]
		t.early.events -= len(p.events)
		t.early.bytes -= p.size()
		t.join(p.head, p.events)
	}
}

// ToRead is the gap that is to be read next: after the tail's position, and up to the
// first piece that is there already, MaxOffset if there is none.
func (t *Tail) ToRead() (at event.Cursor, upto event.Offset) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	upto = event.MaxOffset
	if len(t.early.pieces) > 0 {
		upto = t.early.pieces[0].prev
	}
	return event.Cursor{Log: t.log, Offset: t.head}, upto
}
