package lineage

import "github.com/culvertmq/culvert/event"

// Lineage is what an instance knows of the database it works on: which log that is, which positions it has
// assigned, and the generation in which ids of namespaces and rooms are valid. It is never changed. Each
// restart of Postgres, and so each restore and failover, makes a new one: see Keeper.Renew.
type Lineage struct {
	Log        string
	Generation int64
	Floor      event.Offset
	Runs       []Run // in order; the last one is open
}

// Run is the positions that the log assigned between two starts of Postgres: from First up to Last. Positions
// between two runs were assigned, if at all, by a server whose data was lost.
type Run struct{ First, Last event.Offset }

// OpenRun returns where the open run begins. It identifies a history: two histories of one log differ in it.
func (l *Lineage) OpenRun() event.Offset { return l.Runs[len(l.Runs)-1].First }

// SameHistory reports whether nothing can have been lost between the two.
func (l *Lineage) SameHistory(other *Lineage) bool {
	return l.Log == other.Log && l.OpenRun() == other.OpenRun()
}

// Before reports whether the other one is a later history. The other one counts as later, too, if it is of
// another log.
func (l *Lineage) Before(other *Lineage) bool {
	return l.Log != other.Log || l.OpenRun() < other.OpenRun()
}

// After returns where the first run begins that is newer than the other lineage; MaxOffset if there is none.
func (l *Lineage) After(other *Lineage) event.Offset {
	for _, r := range l.Runs {
		if r.First > other.OpenRun() {
			return r.First
		}
	}
	return event.MaxOffset
}

// Place reports whether this history has assigned a position; counter is its newest one. If a lost history did,
// `to` is the end of what both have in common, where the rest of this history begins. If the position is beyond
// the open run, and so was never assigned, `to` is where that run begins.
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
	case position < r.First: // in a run that retention has dropped
		return position, true
	case i == last && position > counter:
		return r.First, false
	case i < last && position > r.Last:
		return r.Last, false
	}
	return position, true
}

// Nowhere is the history of a cursor that has not been looked at yet.
const Nowhere event.Offset = -1

// RunOf returns the open run if the cursor is known to be of this history, else Nowhere: then Postgres has to
// be asked.
func (l *Lineage) RunOf(c event.Cursor, head event.Offset) event.Offset {
	if _, known := l.Place(c.Offset, head); known && c.Log == l.Log {
		return l.OpenRun()
	}
	return Nowhere
}
