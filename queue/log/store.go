package log

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// turn is what one turn of the appender did about staged events.
type turn struct {
	moved int  // staged events
	more  bool // there may be more of them
}

// store answers every unit of the batch, or holds it. Units that share a key with an earlier one of the batch
// wait for its result, and so does what follows them in their series.
func (a *appender) store(ctx context.Context, batch []*unit, t *turn) {
	for {
		waiting := unbroken(batch)
		if len(waiting) == 0 && len(batch) > 0 {
			return
		}
		now, later := apart(waiting)
		err := a.attempt(ctx, now, t)
		switch {
		case err == nil:
		case len(now) > 1 && !errors.Is(err, event.ErrUnavailable):
			// One emit that Postgres refuses must not fail the others, so each is tried alone. They must not
			// overtake one that is held meanwhile.
			for i, u := range now {
				if u.held || u.Answered() || len(unbroken(now[i:i+1])) == 0 || len(a.holdBehind(now[i:i+1])) == 0 {
					continue
				}
				if err := a.attempt(ctx, []*unit{u}, t); err != nil {
					u.refuse(err)
				}
			}
		default:
			for _, u := range now {
				if !u.held {
					u.refuse(err)
				}
			}
		}
		if batch = a.holdBehind(later); len(batch) == 0 {
			return
		}
	}
}

// refuse answers the unit with err, unless it was answered before, and stops its series.
func (u *unit) refuse(err error) {
	if !u.Answered() {
		u.Answer(err)
		u.series.stop(err)
	}
}

// attempt appends the batch and settles its units. Emits with known keys get their result, and units behind
// staged events are held; then the rest is tried again. If ids were outdated, everything is tried again. ctx
// ends only when the queue has given up waiting for the appender.
func (a *appender) attempt(ctx context.Context, batch []*unit, t *turn) error {
	ctx, cancel := context.WithTimeout(ctx, a.o.AppendTimeout)
	defer cancel()
	for {
		b, err := a.build(ctx, batch)
		if postgres.IsOutdated(err) {
			if err := a.renew(ctx, b.lineage); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			// The deadline is the appender's, not a caller's: if it passes, Postgres is slow.
			err = postgres.Unavailable(context.WithoutCancel(ctx), "append", err)
			a.failed(ctx, err)
			return err
		}
		start := time.Now()
		r, err := a.append(ctx, b, t)
		if err != nil {
			return err
		}
		switch {
		case r.generation != b.lineage.Generation:
			if err := a.renew(ctx, b.lineage); err != nil {
				return err
			}
			continue
		case len(r.waits) > 0:
			batch = a.hold(b.units, r.waits)
		case len(r.known) > 0:
			a.o.Tail.Learn(b.lineage, slices.Max(r.knownOffset))
			batch = b.settleKnown(r)
		default:
			a.o.Metrics.appended(len(b.events), time.Since(start), 0)
			a.feed(b.lineage, b.finish(r), r)
			for _, u := range b.units {
				u.Answer(nil)
			}
			return nil
		}
		if len(batch) == 0 {
			return nil
		}
	}
}

// append calls culvert.append and handles what concerns no single unit: staged events that were moved, outdated
// ids, failures.
func (a *appender) append(ctx context.Context, b *appendBatch, t *turn) (appended, error) {
	r, err := a.call(ctx, b)
	if err != nil {
		if len(b.units) > 0 || !a.moving.alone {
			a.failed(ctx, err)
		}
		a.follower.lookAt(event.MaxOffset) // it may be stored all the same
		if errors.Is(err, errReadOnly) {
			a.o.DB.Reset()
		}
		return r, err
	}
	if r.generation != b.lineage.Generation {
		return r, nil
	}
	a.away.Note(ctx, nil)
	seen := r.movedUpTo
	a.seen.Store(&seen)
	a.now = horizon{b.lineage, r.now}
	t.moved += r.moved
	t.more = r.more
	a.o.Metrics.appended(0, 0, r.moved)
	if !r.stored && r.head > r.prev {
		a.follower.lookAt(r.head)
	}
	return r, nil
}

// feed hands the events that our own append stored to the tail. The follower reads what was stored before them.
func (a *appender) feed(l *lineage.Lineage, events []*event.Event, r appended) {
	prev := r.prev
	if r.moved > 0 {
		prev = r.base
	}
	if !a.o.Tail.Extend(l, prev, r.head, events) {
		a.follower.lookAt(r.head)
	}
}

// renew asks which database this is, after it refused ids of the lineage seen.
func (a *appender) renew(ctx context.Context, seen *lineage.Lineage) error {
	err := a.o.Lineage.Renew(ctx, seen)
	if err != nil {
		err = postgres.Unavailable(context.WithoutCancel(ctx), "append", err)
		a.failed(ctx, err)
	}
	return err
}

func (a *appender) failed(ctx context.Context, err error) {
	a.away.Note(ctx, err)
	a.o.Metrics.appendErrors.Inc()
}

const probeSQL = `
SELECT culvert.is_staged($1::text::pg_snapshot, $2::bigint::text::xid8, $3)
 WHERE culvert.check_ids($4)`

// probe reports whether staged events wait, without taking the append lock.
func (a *appender) probe(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, a.o.AppendTimeout)
	defer cancel()
	conn, err := a.o.DB.Append.Acquire(ctx)
	if err != nil {
		return false
	}
	defer a.release(conn)
	var waiting bool
	err = a.o.Lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		c := a.seen.Load().on(l)
		return conn.QueryRow(ctx, probeSQL, c.seen, c.part, c.last, l.Generation).Scan(&waiting)
	})
	return err == nil && waiting
}
