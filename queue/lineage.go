package queue

import "github.com/culvertmq/culvert/event"

// lineage is what an instance knows of the database it works on: which log that is, which
// positions it has given out, and the generation in which ids of namespaces and rooms are
// true. Nobody changes one. Another restart of Postgres, and so any restore, failover or
// snapshot put back, makes another one: see Keeper.Renew.
type lineage struct {
	log        string
	generation int64
	floor      event.Offset
	runs       []run // in order; the last one is open
}

// Run is what the log gave out between two starts of Postgres: the positions from first
// up to last. Between two runs lies what a server gave out whose data was lost, if anything.
type run struct{ first, last event.Offset }

// open is the run that goes on: it tells two histories of one log apart.
func (l *lineage) open() event.Offset { return l.runs[len(l.runs)-1].first }

// sameHistory reports whether nothing can have been lost from one to the other.
func (l *lineage) sameHistory(other *lineage) bool {
	return l.log == other.log && l.open() == other.open()
}

// before reports whether the other one is a later history. Of two logs the one that was
// looked at last is the current one.
func (l *lineage) before(other *lineage) bool {
	return l.log != other.log || l.open() < other.open()
}

// after is where the first run begins that the other one does not have; MaxOffset: none.
func (l *lineage) after(other *lineage) event.Offset {
	for _, r := range l.runs {
		if r.first > other.open() {
			return r.first
		}
	}
	return event.MaxOffset
}

// place reports whether the log has given out a position; counter is its newest one. When
// a lost history did, `to` is where the rest of this history begins: the end of what is
// common to both. For one beyond the open run, which nobody was ever given, it is where
// that run begins.
func (l *lineage) place(position, counter event.Offset) (to event.Offset, known bool) {
	if position <= l.floor {
		return position, true
	}
	last := len(l.runs) - 1
	i := last
	for i > 0 && l.runs[i].first > position {
		i--
	}
	r := l.runs[i]
	switch {
	case position < r.first: // of runs that retention forgot
		return position, true
	case i == last && position > counter:
		return r.first, false
	case i < last && position > r.last:
		return r.last, false
	}
	return position, true
}

// nowhere stands for the history of a cursor that has yet to be looked at.
const nowhere event.Offset = -1

// runOf is the open run if the cursor is known to be of this history, else nowhere: whether
// it is must then be asked of Postgres.
func (l *lineage) runOf(c event.Cursor, head event.Offset) event.Offset {
	if _, known := l.place(c.Offset, head); known && c.Log == l.log {
		return l.open()
	}
	return nowhere
}
