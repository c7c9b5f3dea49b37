package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// turn is what one turn of the appender did about staged events.
type turn struct {
	moved int  // staged events
	more  bool // there may be more of them
}

// append calls culvert.append and handles what concerns no single unit: staged events that were moved, outdated
// ids, failures.
func (a *appender) append(ctx context.Context, b *appendBatch, t *turn) (appended, error) {
	r, err := a.call(ctx, b)
	if err != nil && r.offer != nil {
		r, err = a.withdraw(ctx, r, err)
	}
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
	if r.others > 0 { // the listener does not tell of them, because it was this connection that appended them
		a.follower.lookAt(r.others)
	}
	return r, nil
}

const appendSQL = `
SELECT seen::text, coalesce(part::text::bigint, 0), coalesce(last, 0), log, prev, base, head, at, moved, more, stored, coalesce(waits, '{}'), now_::text::bigint, move_ms,
       known, known_offset, known_same, generation
  FROM culvert.append(` + appendParams + `)`

// errReadOnly says that the server has become a standby; the pool must look for the primary again.
var errReadOnly = fmt.Errorf("%w: read-only", event.ErrUnavailable)

func (a *appender) call(ctx context.Context, b *appendBatch) (r appended, err error) {
	replyMS, asks, err := b.askParams()
	if err != nil {
		return r, err
	}
	conn, err := a.o.DB.Append.Acquire(ctx)
	if err != nil {
		return r, postgres.Unavailable(context.WithoutCancel(ctx), "append", err)
	}
	defer a.release(conn)
	a.pid.Store(conn.Conn().PgConn().PID())
	rows := a.moving.of(b)
	c := a.seen.Load().on(b.lineage)
	args := []any{
		c.seen, c.part, c.last, b.room, b.copies.rooms, b.copies.size, b.copies.brief, b.event, b.data, b.binary, b.sender, b.except,
		b.keyNS, b.key, b.keyHash, b.keyPos, b.lineage.Generation, replyMS, asks, b.keyOwn, b.spaces, b.until, rows, a.moving.bytes,
	}
	if load := b.load(); len(b.events) > 0 && load.Fits(mostOffered) {
		r, err = a.share(ctx, conn, args, load)
	} else {
		err = postgres.Repeat(ctx, func() error { return conn.QueryRow(ctx, appendSQL, args...).Scan(r.columns()...) })
	}
	r.movedUpTo.of = b.lineage
	if !r.byOther {
		a.moving.adapt(ctx, rows, r, err)
	}
	if postgres.IsReadOnly(err) {
		return r, fmt.Errorf("append: %w", errReadOnly)
	}
	// The deadline is the appender's, not a caller's: if it passes, Postgres is slow.
	return r, postgres.Unavailable(context.WithoutCancel(ctx), "append", err)
}

// release gives the connection back. The place of a broken one in the pool is free at once, though closing it
// may take a while if the server hangs.
func (a *appender) release(conn *pgxpool.Conn) {
	if !conn.Conn().IsClosed() {
		conn.Release()
		return
	}
	broken := conn.Hijack()
	a.closing.Go(func() { <-broken.PgConn().CleanupDone() })
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
