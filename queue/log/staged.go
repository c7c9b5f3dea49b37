package log

import (
	"context"

	"github.com/culvertmq/culvert/internal/lineage"
)

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

// mostLate is how often a single event may take too long before it is set aside.
const mostLate = 3

// moveAlone moves staged events in a transaction of their own, between those of emits. An event that takes too
// long each time is set aside.
func (a *appender) moveAlone(ctx context.Context, t *turn) {
	ctx, cancel := context.WithTimeout(ctx, a.moveTimeout())
	defer cancel()
	b := &appendBatch{lineage: a.o.Lineage.Load()}
	if !a.moving.well {
		if _, err := a.append(ctx, &appendBatch{lineage: b.lineage, dry: true}, t); err != nil || !t.more {
			return
		}
	}
	if _, err := a.append(ctx, b, t); err == nil || a.moving.late < mostLate {
		return
	}
	a.moving.late = 0
	if err := a.setAside(context.WithoutCancel(ctx), b.lineage); err != nil {
		a.o.Logger.Warn("a staged event takes too long to be moved into the log, and could not be set aside", "error", err)
	}
}

const setAsideSQL = `
SELECT culvert.set_first_aside($1::text::pg_snapshot, 'moving it takes longer than an append may')
 WHERE culvert.check_ids($2)`

func (a *appender) setAside(ctx context.Context, l *lineage.Lineage) error {
	ctx, cancel := context.WithTimeout(ctx, a.o.AppendTimeout)
	defer cancel()
	_, err := a.o.DB.Write.Exec(ctx, setAsideSQL, a.seen.Load().on(l).seen, l.Generation)
	if err == nil {
		a.o.Logger.Error("an event emitted from SQL takes longer to be moved into the log than an append may, and was set aside in culvert.unmovable")
	}
	return err
}
