package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Ack moves the client's stored cursor forward, never back, and returns the one
// stored after the call. It is committed when it returns. Errors: ErrOtherLog,
// ErrBeyondHead, ErrUnavailable, ErrClosed.
func (q *Queue) Ack(ctx context.Context, ns Namespace, c Client, cursor Cursor) (Cursor, error) {
	if head := q.tail.position(); cursor.Log != head.Log || cursor.Offset > head.Offset {
		head, err := q.headNow(ctx)
		switch {
		case err != nil:
			return Cursor{}, err
		case cursor.Log != head.Log:
			return Cursor{}, ErrOtherLog
		case cursor.Offset > head.Offset:
			return Cursor{}, ErrBeyondHead
		}
	}
	p, err := q.acks.add(clientKey{ns, c}, cursor)
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

func (a *acks) add(key clientKey, cursor Cursor) (*pendingAck, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	p := a.waiting[key]
	if p == nil {
		p = &pendingAck{done: make(chan struct{}), cursor: cursor}
		a.waiting[key] = p
	}
	if p.cursor.Log != cursor.Log || p.cursor.Offset < cursor.Offset {
		p.cursor = cursor // of two logs the one that was acknowledged last is the current one
	}
	notify(a.wake)
	return p, nil
}

// ackSQL answers with one row, so that nothing is known of it before its commit.
const ackSQL = `
SELECT log, generation, coalesce(stored, '{}')
  FROM culvert.ack($1::int[], $2::text[], $3::bigint[], $4, $5)`

// write stores the cursors and answers those that are stored, once more when their ids
// or their log turn out to be outdated.
func (a *acks) write(ctx context.Context, waiting map[clientKey]*pendingAck) error {
	var log string
	for _, p := range waiting {
		log = p.cursor.Log
		break
	}
	for {
		generation := a.q.ids.current() // before the first look-up
		b := a.build(ctx, waiting, log)
		if len(b.rows) == 0 {
			return nil
		}
		current, now, err := a.store(ctx, b, log, generation)
		if err != nil || current == log && now == generation {
			return unavailable(context.WithoutCancel(ctx), "ack", err)
		}
		log = current
		a.q.ids.renew(now)
	}
}

// store stores a batch if its log and the generation of its ids are the current ones,
// which it returns.
func (a *acks) store(ctx context.Context, b *ackBatch, log string, generation int64) (current string, now int64, err error) {
	start := time.Now()
	var stored []Offset
	err = repeat(ctx, func() error {
		return a.q.db.write.QueryRow(ctx, ackSQL, b.ns, b.names, b.cursors, log, generation).Scan(&current, &now, &stored)
	})
	if err == nil && (current != log || now != generation) {
		return current, now, nil
	}
	if err == nil && len(stored) != len(b.acks) {
		err = fmt.Errorf("%d of %d cursors are stored", len(stored), len(b.acks))
	}
	a.q.metrics.acked(len(b.rows), time.Since(start), err)
	if err != nil {
		return "", 0, err
	}
	for i, p := range b.acks {
		p.stored = Cursor{log, stored[i]}
		a.q.metrics.ackLag.Observe(a.q.tail.behind(p.cursor.Offset, start).Seconds())
	}
	return current, now, nil
}

// ackBatch is the arguments of one culvert.ack, and whom its answers are for.
type ackBatch struct {
	rows    []clientRow
	acks    []*pendingAck
	ns      []int32
	names   []string
	cursors []int64
}

// build lays out the cursors of one log in the order of rows of clients that all
// transactions share. The others are refused: the log was replaced meanwhile.
func (a *acks) build(ctx context.Context, waiting map[clientKey]*pendingAck, log string) *ackBatch {
	b := &ackBatch{rows: make([]clientRow, 0, len(waiting))}
	byRow := make(map[clientRow]*pendingAck, len(waiting))
	for key, p := range waiting {
		p.err = nil
		if p.cursor.Log != log {
			p.err = ErrOtherLog
			continue
		}
		ns, err := a.q.ids.namespace(ctx, key.ns)
		if err != nil {
			p.err = unavailable(context.WithoutCancel(ctx), "ack", err)
			continue
		}
		row := clientRow{ns, key.client.name}
		b.rows = append(b.rows, row)
		byRow[row] = p
	}
	slices.SortFunc(b.rows, clientRow.compare)
	n := len(b.rows)
	b.acks, b.ns, b.names, b.cursors = make([]*pendingAck, n), make([]int32, n), make([]string, n), make([]int64, n)
	for i, row := range b.rows {
		p := byRow[row]
		b.acks[i], b.ns[i], b.names[i], b.cursors[i] = p, row.ns, row.name, int64(p.cursor.Offset)
	}
	return b
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
