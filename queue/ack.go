package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Ack moves the client's stored cursor forward, never back, and returns the one
// stored after the call. It is committed when it returns. A position that was given out
// by a history the log lost is beyond the head of this one, whatever the numbers say.
// Errors: ErrOtherLog, ErrBeyondHead, ErrUnavailable, ErrClosed.
func (q *Queue) Ack(ctx context.Context, ns event.Namespace, c event.Client, cursor event.Cursor) (event.Cursor, error) {
	l := q.lineage.Load()
	if l.RunOf(cursor, q.tail.newestOf(l)) == lineage.Nowhere {
		now, head, err := q.headNow(ctx, ns, c)
		switch {
		case err != nil:
			return event.Cursor{}, err
		case cursor.Log != now.Log:
			return event.Cursor{}, event.ErrOtherLog
		case now.RunOf(cursor, head) == lineage.Nowhere:
			return event.Cursor{}, event.ErrBeyondHead
		}
		l = now
	}
	p, err := q.acks.add(clientKey{ns, c}, l, cursor.Offset)
	if err != nil {
		return event.Cursor{}, err
	}
	select {
	case <-p.done:
		return p.stored, p.err
	case <-ctx.Done():
		return event.Cursor{}, ctx.Err()
	}
}

func (a *acks) add(key clientKey, of *lineage.Lineage, cursor event.Offset) (*pendingAck, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, event.ErrClosed
	}
	p, next := a.waiting[key], &pendingAck{done: make(chan struct{}), cursor: cursor, of: of}
	switch {
	case p == nil:
	case p.of.Before(of):
		if p.err = p.refused(of); p.err != nil { // the log lost its end since
			close(p.done)
			p = nil
			break
		}
		p.cursor, p.of = max(p.cursor, cursor), of
	case of.Before(p.of):
		if err := next.refused(p.of); err != nil {
			return nil, err
		}
		fallthrough
	default:
		p.cursor = max(p.cursor, cursor)
	}
	if p == nil {
		p = next
		a.waiting[key] = p
	}
	notify(a.wake)
	return p, nil
}

// ackSQL answers with one row, so that nothing is known of it before its commit.
const ackSQL = `
SELECT coalesce(stored, '{}')
  FROM culvert.ack($1::int[], $2::text[], $3::bigint[], $4) AS a (stored)`

// write stores the cursors and answers those that are stored, once more when their ids
// or their log turn out to be outdated.
func (a *acks) write(ctx context.Context, waiting map[clientKey]*pendingAck) error {
	err := a.q.lineage.WithIDs(ctx, func(l *lineage.Lineage) error { return a.writeOnce(ctx, l, waiting) })
	return postgres.Unavailable(context.WithoutCancel(ctx), "ack", err)
}

func (a *acks) writeOnce(ctx context.Context, l *lineage.Lineage, waiting map[clientKey]*pendingAck) error {
	start := time.Now()
	b, err := a.build(ctx, l, waiting)
	if err != nil || len(b.rows) == 0 {
		return err
	}
	var stored []event.Offset
	err = postgres.Repeat(ctx, func() error {
		return a.q.db.write.QueryRow(ctx, ackSQL, b.ns, b.names, b.cursors, l.Generation).Scan(&stored)
	})
	if postgres.IsOutdated(err) {
		return err
	}
	if err == nil && len(stored) != len(b.acks) {
		err = fmt.Errorf("%d of %d cursors are stored", len(stored), len(b.acks))
	}
	a.q.metrics.acked(len(b.rows), time.Since(start), err)
	if err != nil {
		return err
	}
	for i, p := range b.acks {
		p.stored = event.Cursor{Log: l.Log, Offset: stored[i]}
		a.q.metrics.ackLag.Observe(a.q.tail.behind(p.cursor, start).Seconds())
	}
	return nil
}

// ackBatch is the arguments of one culvert.ack, and whom its answers are for.
type ackBatch struct {
	rows    []clientRow
	acks    []*pendingAck
	ns      []int32
	names   []string
	cursors []int64
}

// build lays out the cursors that are of this history in the order of rows of clients
// that all transactions share. The others are refused: the log was replaced, or lost its
// end, since they were looked at. An error says that ids are outdated.
func (a *acks) build(ctx context.Context, l *lineage.Lineage, waiting map[clientKey]*pendingAck) (*ackBatch, error) {
	b := &ackBatch{rows: make([]clientRow, 0, len(waiting))}
	byRow := make(map[clientRow]*pendingAck, len(waiting))
	for key, p := range waiting {
		if p.err = p.refused(l); p.err != nil {
			continue
		}
		ns, err := a.q.ids.Namespace(ctx, key.ns)
		if postgres.IsOutdated(err) {
			return nil, err
		}
		if err != nil {
			p.err = postgres.Unavailable(context.WithoutCancel(ctx), "ack", err)
			continue
		}
		row := clientRow{ns, key.client.String()}
		b.rows = append(b.rows, row)
		byRow[row] = p
	}
	slices.SortFunc(b.rows, clientRow.compare)
	n := len(b.rows)
	b.acks, b.ns, b.names, b.cursors = make([]*pendingAck, n), make([]int32, n), make([]string, n), make([]int64, n)
	for i, row := range b.rows {
		p := byRow[row]
		b.acks[i], b.ns[i], b.names[i], b.cursors[i] = p, row.ns, row.name, int64(p.cursor)
	}
	return b, nil
}

// refused is nil if the cursor is of this history, now that the log may have lost its end
// since Ack looked: then what came after the restart is nothing this client has seen.
func (p *pendingAck) refused(l *lineage.Lineage) error {
	if p.of.Log != l.Log {
		return event.ErrOtherLog
	}
	if p.of.SameHistory(l) {
		return nil
	}
	if _, known := l.Place(p.cursor, l.OpenRun()); !known {
		return event.ErrBeyondHead
	}
	return nil
}

// clientRow is a row of clients by its key. Rows are locked in the order of compare,
// which is that of (namespace_id, name COLLATE "C"): see append.sql.
type clientRow struct {
	ns   int32
	name string
}

func (a clientRow) compare(b clientRow) int {
	return cmp.Or(cmp.Compare(a.ns, b.ns), cmp.Compare(a.name, b.name))
}
