package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/tail"
)

// acks writes stored cursors, many at a time: acknowledgements that arrive within
// ackPause, or while an update is under way, share one statement.
type acks struct {
	db      *postgres.Pools
	lineage *lineage.Keeper
	tail    *tail.Tail
	metrics *metrics
	timeout time.Duration // of one update
	queue   *batch.Queue[*pendingAck]

	mu      sync.Mutex
	waiting map[clientKey]*pendingAck // those in the queue

	away postgres.Outage // only run uses it
}

// pendingAck is shared by the requests that acknowledge for one client.
type pendingAck struct {
	batch.Ticket
	key    clientKey
	cursor event.Offset
	of     *lineage.Lineage // the lineage of the cursor
	stored event.Cursor     // set once it is committed
	err    error            // set if this one alone fails
}

const (
	ackPause = 5 * time.Millisecond
	ackBytes = 256 // about the memory of one acknowledgement that waits
)

func newAcks(o Options, db *postgres.Pools, k *lineage.Keeper, t *tail.Tail, m *metrics) *acks {
	return &acks{
		db: db, lineage: k, tail: t, metrics: m, timeout: o.AppendTimeout,
		waiting: map[clientKey]*pendingAck{}, away: postgres.NewOutage(o.Logger, db.Work.Pool, "acknowledgements"),
		queue: batch.New[*pendingAck](batch.Options{What: "acknowledgements", Most: o.waits(), Batch: o.waits(), Pause: ackPause}),
	}
}

// run is the goroutine that writes.
func (a *acks) run(ctx context.Context) { a.queue.Run(ctx, a.flush) }

// flush writes a batch. Acknowledgements that come from now on are not merged into it.
func (a *acks) flush(ctx context.Context, taken []*pendingAck) {
	a.mu.Lock()
	for _, p := range taken {
		if a.waiting[p.key] == p {
			delete(a.waiting, p.key)
		}
	}
	a.mu.Unlock()
	taken = slices.DeleteFunc(taken, func(p *pendingAck) bool { return p.Answered() })
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	err := a.write(ctx, taken)
	a.away.Note(ctx, err)
	for _, p := range taken {
		p.Answer(cmp.Or(p.err, err))
	}
}

// Ack moves the client's stored cursor forward, never back, and returns the one stored after the call, which is
// committed. A position of a history that the log has lost counts as beyond the head, even if its number is
// lower. Errors: ErrOtherLog, ErrBeyondHead, ErrUnavailable, ErrClosed.
func (q *Queue) Ack(ctx context.Context, ns event.Namespace, c event.Client, cursor event.Cursor) (event.Cursor, error) {
	l := q.lineage.Load()
	if l.RunOf(cursor, q.tail.NewestOf(l)) == lineage.Nowhere {
		now, head, err := q.source.headNow(ctx, ns, c)
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
	if err := p.Wait(ctx); err != nil {
		return event.Cursor{}, err
	}
	return p.stored, nil
}

// add queues a cursor, merged with the one that waits for the same client. If one of the two is of a history
// that the log has lost, it is refused.
func (a *acks) add(key clientKey, of *lineage.Lineage, cursor event.Offset) (*pendingAck, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.waiting[key]
	next := &pendingAck{Ticket: batch.NewTicket(log.CallerOf(key.ns, key.client), batch.Load{Events: 1, Bytes: ackBytes}), key: key, cursor: cursor, of: of}
	switch {
	case p == nil:
	case p.of.Before(of):
		if err := p.refused(of); err != nil { // the log lost its end since
			p.Answer(err)
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
	if p != nil {
		return p, nil
	}
	if err := a.queue.Submit(next); err != nil {
		delete(a.waiting, key)
		return nil, err
	}
	a.waiting[key] = next
	return next, nil
}

// ackSQL returns one row, so that no cursor is taken for stored before the commit.
const ackSQL = `
SELECT coalesce(stored, '{}')
  FROM culvert.ack($1::int[], $2::text[], $3::bigint[], $4) AS a (stored)`

// write stores the cursors, and tries again when their ids or their log turn out to be outdated.
func (a *acks) write(ctx context.Context, waiting []*pendingAck) error {
	err := a.lineage.WithIDs(ctx, func(l *lineage.Lineage) error { return a.writeOnce(ctx, l, waiting) })
	return postgres.Unavailable(context.WithoutCancel(ctx), "ack", err)
}

func (a *acks) writeOnce(ctx context.Context, l *lineage.Lineage, waiting []*pendingAck) error {
	start := time.Now()
	b, err := a.build(ctx, l, waiting)
	if err != nil || len(b.rows) == 0 {
		return err
	}
	var stored []event.Offset
	err = postgres.Repeat(ctx, func() error {
		return a.db.Write.QueryRow(ctx, ackSQL, b.ns, b.names, b.cursors, l.Generation).Scan(&stored)
	})
	if postgres.IsOutdated(err) {
		return err
	}
	if err == nil && len(stored) != len(b.acks) {
		err = fmt.Errorf("%d of %d cursors are stored", len(stored), len(b.acks))
	}
	a.metrics.acked(len(b.rows), time.Since(start), err)
	if err != nil {
		return err
	}
	for i, p := range b.acks {
		p.stored = event.Cursor{Log: l.Log, Offset: stored[i]}
		a.metrics.ackLag.Observe(a.tail.Behind(p.cursor, start).Seconds())
	}
	return nil
}

// ackBatch has the arguments of one culvert.ack, and the acknowledgements in the order of its answers.
type ackBatch struct {
	rows    []clientRow
	acks    []*pendingAck
	ns      []int32
	names   []string
	cursors []int64
}

// build lays out the cursors that are of this history, in the order in which all transactions lock rows of
// clients. The others are refused: the log was replaced, or lost its end, since Ack checked them. An error
// says that ids are outdated.
func (a *acks) build(ctx context.Context, l *lineage.Lineage, waiting []*pendingAck) (*ackBatch, error) {
	b := &ackBatch{rows: make([]clientRow, 0, len(waiting))}
	byRow := make(map[clientRow]*pendingAck, len(waiting))
	for _, p := range waiting {
		if p.err = p.refused(l); p.err != nil {
			continue
		}
		ns, err := a.lineage.IDs().Namespace(ctx, p.key.ns)
		if postgres.IsOutdated(err) {
			return nil, err
		}
		if err != nil {
			p.err = postgres.Unavailable(context.WithoutCancel(ctx), "ack", err)
			continue
		}
		row := clientRow{ns, p.key.client.String()}
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

// refused returns nil if the cursor is of this history. The log may have lost its end since Ack looked; the
// client has not seen what was stored after that.
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
