package lineage

import "github.com/culvertmq/culvert/event"

// Lineage is what an instance knows of the database it works on: which log that is, which
// positions it has given out, and the generation in which ids of namespaces and rooms are
// right. It is immutable. Every restart of Postgres, and so any restore, failover or
// restored snapshot, makes another one: see Keeper.Renew.
type Lineage struct {
	Log        string
	Generation int64
	Floor      event.Offset
	Runs       []Run // in order; the last one is open
}

// Run is the range of positions that the log gave out between two starts of Postgres, from First
// up to Last. A position between two runs was never given out, or was given out by a server whose data was lost.
type Run struct{ First, Last event.Offset }

// OpenRun is the first position of the open run: it distinguishes two histories of one log.
func (l *Lineage) OpenRun() event.Offset { return l.Runs[len(l.Runs)-1].First }

// SameHistory reports whether nothing can have been lost between the two.
func (l *Lineage) SameHistory(other *Lineage) bool {
	return l.Log == other.Log && l.OpenRun() == other.OpenRun()
}

// Before reports whether the other one is a later history. If the logs differ, the other one
// counts as later.
func (l *Lineage) Before(other *Lineage) bool {
	return l.Log != other.Log || l.OpenRun() < other.OpenRun()
}

// After is where the first run begins that the other one does not have; MaxOffset: there is none.
func (l *Lineage) After(other *Lineage) event.Offset {
	for _, r := range l.Runs {
		if r.First > other.OpenRun() {
			return r.First
		}
	}
	return event.MaxOffset
}

// Place reports whether the log has given out a position; counter is its newest one. If
// a lost history gave it out, `to` is the end of what both histories share, after which the
// rest of this history begins. For a position beyond the open run, which nobody was ever given,
// `to` is where that run begins.
func (l *Lineage) Place(position, counter event.Offset) (to event.Offset, known bool) {
	if position <= l.Floor {
		return position, true
	}
	last := len(l.Runs) - 1
	i := last
	for i > 0 && l.Runs[i].First > position {
		i--
	}
	r := l.Runs[i]
	switch {
	case position < r.First: // in runs that retention has removed
		return position, true
	case i == last && position > counter:
		return r.First, false
	case i < last && position > r.Last:
		return r.Last, false
	}
	return position, true
}

// Nowhere stands for the unknown history of a cursor that was not checked yet.
const Nowhere event.Offset = -1

// RunOf is the open run if the cursor is known to be of this history, else Nowhere: then
// only Postgres can tell.
func (l *Lineage) RunOf(c event.Cursor, head event.Offset) event.Offset {
	if _, known := l.Place(c.Offset, head); known && c.Log == l.Log {
		return l.OpenRun()
	}
	return Nowhere
}
