package lineage

import "github.com/culvertmq/culvert/event"

// Lineage is what an instance knows of the database it works on: which log that is, which
// positions it has given out, and the generation in which ids of namespaces and rooms are
// true. Nobody changes one. Another restart of Postgres, and so any restore, failover or
// snapshot put back, makes another one: see Keeper.Renew.
type Lineage struct {
	Log        string
	Generation int64
	Floor      event.Offset
	Runs       []Run // in order; the last one is open
}

// Run is what the log gave out between two starts of Postgres: the positions from First
// up to Last. Between two runs lies what a server gave out whose data was lost, if anything.
type Run struct{ First, Last event.Offset }

// OpenRun is the run that goes on: it tells two histories of one log apart.
func (l *Lineage) OpenRun() event.Offset { return l.Runs[len(l.Runs)-1].First }

// SameHistory reports whether nothing can have been lost from one to the other.
func (l *Lineage) SameHistory(other *Lineage) bool {
	return l.Log == other.Log && l.OpenRun() == other.OpenRun()
}

// Before reports whether the other one is a later history. Of two logs the one that was
// looked at last is the current one.
func (l *Lineage) Before(other *Lineage) bool {
	return l.Log != other.Log || l.OpenRun() < other.OpenRun()
}

// After is where the first run begins that the other one does not have; MaxOffset: none.
func (l *Lineage) After(other *Lineage) event.Offset {
	for _, r := range l.Runs {
		if r.First > other.OpenRun() {
			return r.First
		}
	}
	return event.MaxOffset
}

// Place reports whether the log has given out a position; counter is its newest one. When
// a lost history did, `to` is where the rest of this history begins: the end of what is
// common to both. For one beyond the open run, which nobody was ever given, it is where
// that run begins.
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
	case position < r.First: // of runs that retention forgot
		return position, true
	case i == last && position > counter:
		return r.First, false
	case i < last && position > r.Last:
		return r.Last, false
	}
	return position, true
}

// Nowhere stands for the history of a cursor that has yet to be looked at.
const Nowhere event.Offset = -1

// RunOf is the open run if the cursor is known to be of this history, else nowhere: whether
// it is must then be asked of Postgres.
func (l *Lineage) RunOf(c event.Cursor, head event.Offset) event.Offset {
	if _, known := l.Place(c.Offset, head); known && c.Log == l.Log {
		return l.OpenRun()
	}
	return Nowhere
}
