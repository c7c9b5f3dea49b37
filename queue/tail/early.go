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

// keep keeps a piece if, with it, at most mostEvents events and mostBytes bytes wait. A piece that is not kept is read from
// Postgres later.
func (y *early) keep(p piece, mostEvents, mostBytes int) {
	size := p.size()
	if len(p.events) == 0 || y.events+len(p.events) > mostEvents || y.bytes+size > mostBytes {
		return
	}
	i, _ := slices.BinarySearchFunc(y.pieces, p.prev, func(p piece, prev event.Offset) int { return cmp.Compare(p.prev, prev) })
	y.pieces = slices.Insert(y.pieces, i, p)
	y.events += len(p.events)
	y.bytes += size
}

// next removes and returns the first piece if a tail that ends at head has reached its beginning.
func (y *early) next(head event.Offset) (p piece, ok bool) {
	if len(y.pieces) == 0 || y.pieces[0].prev > head {
		return p, false
	}
	p = y.pieces[0]
	y.pieces[0] = piece{}
	y.pieces = y.pieces[1:]
	y.events -= len(p.events)
	y.bytes -= p.size()
	return p, true
}

// begin returns the position after which the first piece begins, or MaxOffset if there is none.
func (y *early) begin() event.Offset {
	if len(y.pieces) == 0 {
		return event.MaxOffset
	}
	return y.pieces[0].prev
}
