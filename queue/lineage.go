package queue

import (
	"context"
	"errors"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// lineage is what an instance knows of the database it works on: which log that is, which
// positions it has given out, and the generation in which ids of namespaces and rooms are
// true. Nobody changes one. Another restart of Postgres, and so any restore, failover or
// snapshot put back, makes another one: see Queue.renew.
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

const openSQL = `
SELECT log, head, floor, generation, firsts, lasts
  FROM culvert.open($1)`

// openLog recognises the log and reads what is to be known of it.
func openLog(ctx context.Context, db pools, dedup time.Duration) (l *lineage, head event.Offset, err error) {
	l = &lineage{}
	var firsts []event.Offset
	var lasts []*event.Offset
	err = db.write.QueryRow(ctx, openSQL, dedup).Scan(&l.log, &head, &l.floor, &l.generation, &firsts, &lasts)
	if err != nil {
		return nil, 0, postgres.MissingSchema(ctx, "open the log", err)
	}
	for i, first := range firsts {
		r := run{first, event.MaxOffset}
		if lasts[i] != nil {
			r.last = *lasts[i]
		}
		l.runs = append(l.runs, r)
	}
	if len(l.runs) == 0 {
		return nil, 0, errors.New("open the log: culvert.runs is empty: restore the whole schema culvert")
	}
	return l, head, nil
}

// tries bounds how often a statement is repeated with ids looked up again. More than one
// repeat means that namespaces are deleted in quick succession, or that the connections lead
// to different servers.
const tries = 10

// withIDs runs f, which looks up ids and uses them in a statement that checks their
// generation, and again with those of the database that is there now when they turn out to
// be another one's. Errors are f's.
func (q *Queue) withIDs(ctx context.Context, f func(l *lineage) error) error {
	for try := 1; ; try++ {
		l := q.lineage.Load() // before the first look-up
		err := f(l)
		if !postgres.IsOutdated(err) || try == tries {
			return err
		}
		if err := q.renew(ctx, l); err != nil {
			return err
		}
	}
}

// renew learns which database this is after ids of `seen` were refused, and drops what is
// remembered of the one before. Of several that come at once, one does the work.
func (q *Queue) renew(ctx context.Context, seen *lineage) error {
	select {
	case q.renewing <- struct{}{}:
		defer func() { <-q.renewing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if q.lineage.Load() != seen {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	l, head, err := openLog(ctx, q.db, q.o.DedupWindow)
	if isReadOnly(err) {
		q.db.reset() // a standby: other connections may lead to the primary
	}
	if err != nil {
		return err
	}
	// Back on a server that was left for another one: it would give out offsets up to here.
	if at := q.tail.position(); at.Log == l.log && at.Offset > head && at.Offset >= l.open() && !seen.sameHistory(l) {
		if err := q.overtaken(ctx, at.Offset); err != nil {
			return err
		}
		if l, head, err = openLog(ctx, q.db, q.o.DedupWindow); err != nil {
			return err
		}
	}
	q.adopt(l, head)
	return nil
}

// adopt has this instance work on a database from now on. Whoever reads the new lineage
// finds ids and tail to be of it, so it is stored last.
func (q *Queue) adopt(l *lineage, head event.Offset) {
	old := q.lineage.Load()
	q.ids.renew(l.generation)
	if old.sameHistory(l) {
		q.lineage.Store(l)
		return
	}
	q.db.reset() // some connections may lead to the server before
	at := q.tail.position()
	kept := q.tail.adopt(l, head)
	q.lineage.Store(l)
	q.o.Logger.Warn("Postgres was restarted, restored or replaced; ids and members are read again",
		"log", l.log, "from", at.String(), "run", l.open(), "tail_kept", kept)
	q.waiters.wakeAll()
	q.presence.again()
	q.registry.RefreshSoon()
	q.appender.announce()
	q.follower.lookAt(event.MaxOffset)
}

const restoredSQL = `
SELECT log, head, first
  FROM culvert.restored($1)`

// overtaken is for a tail that is ahead of the log it is the tail of: rows were put back
// under a running server, which shows in nothing else. What this instance has seen is the
// proof.
func (q *Queue) overtaken(ctx context.Context, at event.Offset) error {
	var log string
	var head, first event.Offset
	if err := q.db.write.QueryRow(ctx, restoredSQL, at).Scan(&log, &head, &first); err != nil {
		return postgres.Unavailable(ctx, "restored", err)
	}
	q.o.Logger.Warn("the log lost its end; offsets go on elsewhere", "log", log, "known", at, "last", head, "first", first)
	return nil
}
