package queue

import (
	"context"
	"errors"
	"time"
)

// store answers every unit of the batch. Emits that share a key with another
// one of the batch wait for its fate.
func (a *appender) store(ctx context.Context, batch []*unit) (moved int) {
	for {
		now, later := apart(batch)
		m, err := a.attempt(ctx, now)
		moved += m
		switch {
		case err == nil:
		case len(now) > 1 && !errors.Is(err, ErrUnavailable):
			// One emit that Postgres will not take must not fail the others.
			for _, u := range now {
				m, err := a.attempt(ctx, []*unit{u})
				moved += m
				if err != nil {
					a.refuse(u, err)
				}
			}
		default:
			for _, u := range now {
				a.refuse(u, err)
			}
		}
		if batch = later; len(batch) == 0 {
			return moved
		}
	}
}

func (a *appender) refuse(u *unit, err error) {
	select {
	case <-u.done: // its key decided already
	default:
		u.fail(err)
	}
}

// attempt appends the batch and settles its units. Known keys take their emits
// out, and the rest is tried again; so is all of it with ids that are outdated. ctx
// ends only when the queue has given up waiting for the appender.
func (a *appender) attempt(ctx context.Context, batch []*unit) (moved int, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.q.o.AppendTimeout)
	defer cancel()
	for {
		b, err := a.build(ctx, batch)
		if err != nil {
			// The deadline is ours: it says that Postgres is slow.
			err = unavailable(context.WithoutCancel(ctx), "append", err)
			a.failed(err)
			return moved, err
		}
		if len(b.events) == 0 && len(batch) > 0 {
			for _, u := range b.units { // close's own; all others have emits
				close(u.done)
			}
			return moved, nil
		}
		start := time.Now()
		r, err := a.call(ctx, b)
		if err != nil {
			a.failed(err)
			a.q.follower.lookAt(MaxOffset) // it may be stored all the same
			if errors.Is(err, errReadOnly) {
				a.q.db.reset()
			}
			return moved, err
		}
		if r.generation != b.generation {
			a.q.ids.renew(r.generation)
			continue
		}
		if len(r.known) > 0 {
			if batch = b.settleKnown(r); len(batch) == 0 {
				return moved, nil
			}
			continue
		}
		a.away.note(nil)
		a.seen = r.seen
		moved = r.moved
		a.q.metrics.appended(len(b.events), time.Since(start), moved)
		a.q.feed(b.finish(r), r)
		for _, u := range b.units {
			close(u.done)
		}
		return moved, nil
	}
}

func (a *appender) failed(err error) {
	a.away.note(err)
	a.q.metrics.appendFailed()
}

const probeSQL = `
SELECT EXISTS (
       SELECT FROM culvert.staged
        WHERE xid >= $1::bigint::text::xid8)`

// probe reports whether staged events wait, without taking the append lock.
func (a *appender) probe(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, a.q.o.AppendTimeout)
	defer cancel()
	conn, err := a.q.db.append.Acquire(ctx)
	if err != nil {
		return false
	}
	defer a.release(conn)
	var waiting bool
	err = conn.QueryRow(ctx, probeSQL, int64(a.seen)).Scan(&waiting) //nolint:gosec // see call
	return err == nil && waiting
}
