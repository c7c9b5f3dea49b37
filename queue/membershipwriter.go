package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
)

// membershipWriter enters changes of clients and their rooms into the log, those that wait
// together in one transaction, as the appender does with emits.
type membershipWriter struct {
	q    *Queue
	wake chan struct{}

	mu      sync.Mutex
	waiting []*membershipChange
	behind  int // changes that wait for staged events
	closed  bool
	ended   bool          // run is over
	idle    chan struct{} // closed by run when nothing waits after closed
}

// membershipChange is one of them. Only run writes to it, until done is closed.
type membershipChange struct {
	op       string // the name of its entry
	ns       event.Namespace
	client   event.Client
	room     event.Room
	maxRooms int
	own      bool // by the client's own token

	settled  *lineage.Lineage // on this server nothing that was emitted from SQL before is left to come; nil: it may
	parted   int              // how often part had it
	position event.Cursor     // from where it holds
	moved    bool             // it changed something
	err      error
	done     chan struct{}
}

// maxMoves bounds one transaction: the emits of all instances wait for it, for 0.3 ms each.
const maxMoves = 100

func newMembershipWriter(q *Queue) *membershipWriter {
	return &membershipWriter{q: q, wake: make(chan struct{}, 1), idle: make(chan struct{})}
}

// do waits until the change is committed.
func (m *membershipWriter) do(ctx context.Context, c *membershipChange) error {
	c.done = make(chan struct{})
	if err := m.submit(c); err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *membershipWriter) submit(c *membershipChange) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return event.ErrClosed
	case len(m.waiting)+m.behind >= m.q.o.QueueEvents:
		return event.ErrOverloaded
	}
	m.waiting = append(m.waiting, c)
	notify(m.wake)
	return nil
}

// take removes the next changes from the queue.
func (m *membershipWriter) take() (batch []*membershipChange, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(len(m.waiting), maxMoves)
	batch, m.waiting = m.waiting[:n:n], m.waiting[n:]
	return batch, m.closed && m.behind == 0
}

// run is the membership writer's goroutine.
func (m *membershipWriter) run(ctx context.Context) {
	for {
		batch, closed := m.take()
		if len(batch) == 0 {
			if closed {
				close(m.idle)
				return
			}
			select {
			case <-ctx.Done():
				m.refuse()
				return
			case <-m.wake:
			}
			continue
		}
		batch, l := m.part(ctx, batch)
		if len(batch) == 0 {
			continue
		}
		err := m.move(ctx, batch, l)
		if errors.Is(err, errMoved) && batch[0].parted < lineage.Tries {
			m.mu.Lock()
			m.waiting = append(batch, m.waiting...)
			m.mu.Unlock()
			continue
		}
		finish(batch, err)
	}
}

// refuse answers what waits when Close does not.
func (m *membershipWriter) refuse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.ended = true, true
	finish(m.waiting, event.ErrClosed)
	m.waiting = nil
}

func finish(batch []*membershipChange, err error) {
	for _, c := range batch {
		c.err = err
		close(c.done)
	}
}

const stagedSQL = `
SELECT w.space
  FROM unnest($1::text[]) w (space)
 WHERE culvert.is_staged_before($2::text::pg_snapshot, $3::bigint::text::xid8, $4, w.space, '18446744073709551615')
   AND culvert.check_ids($5)`

// errMoved says that Postgres is another server than the one that was asked what is staged.
var errMoved = fmt.Errorf("move: %w: servers change", event.ErrUnavailable)

// part returns the changes that can be moved now, on one server. The others are in a namespace with staged
// events: what an application emitted before a change was asked for is to come before it, so
// they come back when it has.
func (m *membershipWriter) part(ctx context.Context, batch []*membershipChange) (now []*membershipChange, l *lineage.Lineage) {
	spaces := map[string][]*membershipChange{}
	l = m.q.lineage.Load()
	for _, c := range batch {
		c.parted++
		if c.settled != nil && c.settled.SameHistory(l) {
			now = append(now, c)
		} else {
			spaces[c.ns.String()] = append(spaces[c.ns.String()], c)
		}
	}
	if len(spaces) == 0 {
		return now, l
	}
	staged, of, err := m.staged(ctx, slices.Collect(maps.Keys(spaces)))
	if err != nil {
		for _, changes := range spaces {
			finish(changes, err)
		}
		return now, l
	}
	for _, name := range staged {
		changes := spaces[name]
		delete(spaces, name)
		m.mu.Lock()
		m.behind += len(changes)
		m.mu.Unlock()
		m.q.done.Go(func() {
			err := m.q.appender.afterStaged(ctx, event.StoredNamespace(trusted.Of(name)))
			m.comeBack(changes, of, err)
		})
	}
	for _, c := range batch {
		if slices.Contains(spaces[c.ns.String()], c) {
			now = append(now, c)
		}
	}
	if of.SameHistory(l) {
		l = of
	} // else move finds out
	return now, l
}

// staged are those of the namespaces that have staged events on the server as it is now.
func (m *membershipWriter) staged(ctx context.Context, spaces []string) (names []string, of *lineage.Lineage, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.q.o.AppendTimeout)
	defer cancel()
	err = m.q.lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		of = l
		c := m.q.appender.seen.Load().on(l)
		rows, err := m.q.db.write.Query(ctx, stagedSQL, spaces, c.seen, c.part, c.last, l.Generation)
		if err == nil {
			names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	return names, of, postgres.Unavailable(context.WithoutCancel(ctx), "move", err)
}

// comeBack puts changes that waited to the front.
func (m *membershipWriter) comeBack(changes []*membershipChange, of *lineage.Lineage, err error) {
	m.mu.Lock()
	m.behind -= len(changes)
	if m.ended {
		err = event.ErrClosed
	}
	if err != nil {
		finish(changes, err)
		changes = nil
	}
	for _, c := range changes {
		c.settled = of
	}
	m.waiting = append(changes, m.waiting...)
	m.mu.Unlock()
	notify(m.wake)
}

// close refuses new changes and waits until the waiting ones are entered.
func (m *membershipWriter) close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	notify(m.wake)
	select {
	case <-m.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("changes of members under way: %w", ctx.Err())
	}
}

const moveSQL = `
SELECT log, prev, head, at, coalesce(holds, '{}'), coalesce(moved, '{}'), generation
  FROM culvert.move($1::text[], $2::int[], $3::text[], $4::text[], $5::int[], $6::boolean[], $7)`

// move enters a batch into the log, once more when its ids were outdated, and errMoved when
// what is staged there has to be looked at, too.
func (m *membershipWriter) move(ctx context.Context, batch []*membershipChange, l *lineage.Lineage) error {
	ctx, cancel := context.WithTimeout(ctx, m.q.o.AppendTimeout)
	defer cancel()
	for {
		now, err := m.moveOnce(ctx, batch, l)
		if err == nil && now == l.Generation || err != nil && !postgres.IsOutdated(err) {
			return err
		}
		if err := m.q.lineage.Renew(ctx, l); err != nil {
			return postgres.Unavailable(context.WithoutCancel(ctx), "move", err)
		}
		next := m.q.lineage.Load()
		if !next.SameHistory(l) {
			return errMoved
		}
		l = next
	}
}

// moveOnce enters a batch and hands its entries to the tail, if the generation
// of its ids is the log's, which it returns.
func (m *membershipWriter) moveOnce(ctx context.Context, batch []*membershipChange, l *lineage.Lineage) (now int64, err error) {
	n := len(batch)
	op, ns, client, room, most := make([]string, n), make([]int32, n), make([]string, n), make([]string, n), make([]int, n)
	own := make([]bool, n)
	for i, c := range batch {
		id, err := m.q.ids.Namespace(ctx, c.ns)
		if err != nil {
			return 0, postgres.Unavailable(context.WithoutCancel(ctx), "move", err)
		}
		own[i] = c.own
		op[i], ns[i], client[i], room[i], most[i] = strings.TrimPrefix(c.op, event.ReservedPrefix), id, c.client.String(), c.room.String(), c.maxRooms
	}
	var (
		log        string
		prev, head event.Offset
		at         time.Time
		holds      []event.Offset
		moved      []bool
	)
	err = postgres.Repeat(ctx, func() error {
		return m.q.db.write.QueryRow(ctx, moveSQL, op, ns, client, room, most, own, l.Generation).Scan(&log, &prev, &head, &at, &holds, &moved, &now)
	})
	if err != nil {
		m.q.follower.lookAt(event.MaxOffset) // it may be entered all the same
		return 0, postgres.Unavailable(context.WithoutCancel(ctx), "move", err)
	}
	if now != l.Generation {
		return now, nil
	}
	var entries []*event.Event
	for i, c := range batch {
		c.position, c.moved = event.Cursor{Log: log, Offset: holds[i]}, moved[i]
		if moved[i] {
			entries = append(entries, c.entry(log, at))
		}
	}
	if !m.q.tail.extend(l, prev, head, entries) {
		m.q.follower.lookAt(head)
	}
	return now, nil
}
