package queue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Ack moves the client's stored cursor forward, never back, and returns the one
// stored after the call. It is committed when it returns. A position that was given out
// by a history the log lost is beyond the head of this one, whatever the numbers say.
// Errors: ErrOtherLog, ErrBeyondHead, ErrUnavailable, ErrClosed.
func (q *Queue) Ack(ctx context.Context, ns Namespace, c Client, cursor Cursor) (Cursor, error) {
	l := q.lineage.Load()
	if l.runOf(cursor, q.tail.position().Offset) == nowhere {
		now, head, err := q.headNow(ctx)
		switch {
		case err != nil:
			return Cursor{}, err
		case cursor.Log != now.log:
			return Cursor{}, ErrOtherLog
		case now.runOf(cursor, head) == nowhere:
			return Cursor{}, ErrBeyondHead
		}
		l = now
	}
	p, err := q.acks.add(clientKey{ns, c}, l, cursor.Offset)
	if err != nil {
		return Cursor{}, err
	}
	select {
	case <-p.done:
		return p.stored, p.err
	case <-ctx.Done():
		return Cursor{}, ctx.Err()
	}
}

func (a *acks) add(key clientKey, of *lineage, cursor Offset) (*pendingAck, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	p := a.waiting[key]
	if p == nil {
		p = &pendingAck{done: make(chan struct{})}
		a.waiting[key] = p
	}
	if cursor >= p.cursor {
		p.cursor, p.of = cursor, of
	}
	notify(a.wake)
	return p, nil
}

var errNoAnswer = errors.New("ack: Postgres answered for other clients only")

const ackSQL = `
INSERT INTO culvert.clients AS c (namespace_id, name, cursor)
SELECT *
  FROM unnest($1::int[], $2::text[], $3::bigint[])
 WHERE culvert.check_ids($4)
ON CONFLICT (namespace_id, name) DO UPDATE
   SET cursor = greatest(c.cursor, excluded.cursor), seen_at = clock_timestamp()
RETURNING c.namespace_id, c.name, c.cursor, (SELECT id FROM culvert.log)`

// write stores the cursors in an order all instances share, lest they
// deadlock.
func (a *acks) write(ctx context.Context, waiting map[clientKey]*pendingAck) error {
	start := time.Now()
	var rows int
	err := a.q.withIDs(ctx, func(l *lineage) (err error) {
		rows, err = a.writeOnce(ctx, l, waiting)
		return err
	})
	a.q.metrics.acked(rows, time.Since(start), err)
	for _, p := range waiting {
		if !p.stored.IsZero() {
			a.q.metrics.ackLag.Observe(a.q.tail.behind(p.cursor, start).Seconds())
		}
	}
	return unavailable(context.WithoutCancel(ctx), "ack", err)
}

func (a *acks) writeOnce(ctx context.Context, l *lineage, waiting map[clientKey]*pendingAck) (written int, err error) {
	rows := make([]clientRow, 0, len(waiting))
	byRow := make(map[clientRow]*pendingAck, len(waiting))
	for key, p := range waiting {
		if !p.known(l) {
			p.err = ErrBeyondHead
			continue
		}
		ns, err := a.q.ids.namespace(ctx, key.ns)
		if err != nil {
			p.err = unavailable(context.WithoutCancel(ctx), "ack", err)
			continue
		}
		row := clientRow{ns, key.client.name}
		rows = append(rows, row)
		byRow[row] = p
	}
	slices.SortFunc(rows, clientRow.compare)
	ns, names, cursors := make([]int32, len(rows)), make([]string, len(rows)), make([]int64, len(rows))
	for i, row := range rows {
		ns[i], names[i], cursors[i] = row.ns, row.name, int64(byRow[row].cursor)
	}
	result, err := a.q.db.write.Query(ctx, ackSQL, ns, names, cursors, l.generation)
	if err == nil {
		var row clientRow
		var stored Cursor
		_, err = pgx.ForEachRow(result, []any{&row.ns, &row.name, &stored.Offset, &stored.Log}, func() error {
			byRow[row].stored = stored
			return nil
		})
	}
	return len(rows), err
}

// known reports whether the cursor is of this history, now that the log may have lost its
// end since Ack looked: then what came after the restart is nothing this client has seen.
func (p *pendingAck) known(l *lineage) bool {
	if p.of.sameHistory(l) {
		return true
	}
	_, known := l.place(p.cursor, l.open())
	return known && p.of.log == l.log
}

type clientRow struct {
	ns   int32
	name string
}

func (a clientRow) compare(b clientRow) int {
	return cmp.Or(cmp.Compare(a.ns, b.ns), cmp.Compare(a.name, b.name))
}
