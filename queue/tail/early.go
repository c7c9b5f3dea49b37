package tail

import (
	"cmp"
	"slices"

	"github.com/culvertmq/culvert/event"
)

// early has events that came before those in front of them in the log: this instance appended them right after
// another one, whose events still have to be read. If they were not kept, all of them would have to be read
// back from Postgres, for as long as appends continue.
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

// keepEarly keeps a piece that begins beyond the head, in up to half of the tail's memory. A piece that is not
// kept is read from Postgres later. The caller holds the lock.
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
