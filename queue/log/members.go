package log

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
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue/tail"
)

// membershipWriter writes membership changes into the log. As the appender does with emits, it stores all that
// wait in one transaction.
type membershipWriter struct {
	o        Options
	follower *follower
	appender *appender
	behind   sync.WaitGroup // goroutines that wait for staged events
	queue    *batch.Queue[*membershipChange]
}

// membershipChange is one change that waits. Only run writes to it, until it is answered.
type membershipChange struct {
	batch.Ticket
	tail.Membership
	maxRooms int

	settled  *lineage.Lineage // the server on which all that was emitted from SQL before is in the log; nil: not known
	tries    int              // how often ready was given it
	position event.Cursor     // from where on the change holds
	moved    bool             // it changed something
}

// mostMembers bounds one transaction: each change takes 0.3 ms, for which the emits of all instances wait.
var mostMembers = batch.Load{Events: 100, Rooms: 100, Bytes: 1 << 20}

func newMembershipWriter(o Options, f *follower, a *appender) *membershipWriter {
	return &membershipWriter{o: o, follower: f, appender: a, queue: batch.New[*membershipChange](batch.Options{
		What: "changes of members", Most: o.Waiting, Batch: mostMembers,
	})}
}

// Change stores a membership change, and returns when it is committed. maxRooms is how many rooms a client may
// be in; 0 means no limit. The change holds from position on; its offset is less than 0 if the client is in too
// many rooms to join one more. changed is false if everything was so before. Errors: event.ErrOverloaded,
// event.ErrUnavailable, event.ErrClosed, ctx's own.
func (lg *Log) Change(ctx context.Context, m tail.Membership, maxRooms int) (position event.Cursor, changed bool, err error) {
	c := &membershipChange{Membership: m, maxRooms: maxRooms}
	err = lg.members.submit(c)
	if err == nil {
		err = c.Wait(ctx)
	}
	if err != nil { // the writer may still have it
		return event.Cursor{}, false, err
	}
	return c.position, c.moved, nil
}

func (m *membershipWriter) submit(c *membershipChange) error {
	bytes := EmitBytes + len(c.Client.String()) + len(c.Room.String())
	c.Ticket = batch.NewTicket(CallerOf(c.Namespace, c.Client), batch.Load{Events: 1, Rooms: 1, Bytes: bytes})
	return m.queue.Submit(c)
}

// run is the membership writer's goroutine.
func (m *membershipWriter) run(ctx context.Context) {
	m.queue.Run(ctx, m.write)
	m.behind.Wait()
}

func (m *membershipWriter) write(ctx context.Context, changes []*membershipChange) {
	changes, l := m.ready(ctx, changes)
	if len(changes) == 0 {
		return
	}
	err := m.move(ctx, changes, l)
	if errors.Is(err, errMoved) && changes[0].tries < lineage.Tries {
		m.queue.PutBack(changes...)
		return
	}
	answer(changes, err)
}

func answer(changes []*membershipChange, err error) {
	for _, c := range changes {
		c.Answer(err)
	}
}

const stagedSQL = `
SELECT w.space
  FROM unnest($1::text[]) w (space)
 WHERE culvert.is_staged_before($2::text::pg_snapshot, $3::bigint::text::xid8, $4, w.space, '18446744073709551615')
   AND culvert.check_ids($5)`

// errMoved says that the server has changed since it was asked what is staged.
var errMoved = fmt.Errorf("move: %w: the server has changed", event.ErrUnavailable)

// ready returns the changes that can be stored now, and the lineage of their server. The others are in a
// namespace with staged events, which were emitted before the change and must come before it in the log: these
// changes are queued again once the events are there.
func (m *membershipWriter) ready(ctx context.Context, batch []*membershipChange) (now []*membershipChange, l *lineage.Lineage) {
	spaces := map[string][]*membershipChange{}
	l = m.o.Lineage.Load()
	for _, c := range batch {
		c.tries++
		if c.settled != nil && c.settled.SameHistory(l) {
			now = append(now, c)
		} else {
			spaces[c.Namespace.String()] = append(spaces[c.Namespace.String()], c)
		}
	}
	if len(spaces) == 0 {
		return now, l
	}
	staged, of, err := m.staged(ctx, slices.Collect(maps.Keys(spaces)))
	if err != nil {
		for _, changes := range spaces {
			answer(changes, err)
		}
		return now, l
	}
	for _, name := range staged {
		changes := spaces[name]
		delete(spaces, name)
		for _, c := range changes {
			m.queue.Hold(c)
		}
		m.behind.Go(func() {
			err := m.appender.afterStaged(ctx, event.StoredNamespace(trusted.Of(name)))
			m.requeue(changes, of, err)
		})
	}
	for _, c := range batch {
		if slices.Contains(spaces[c.Namespace.String()], c) {
			now = append(now, c)
		}
	}
	if of.SameHistory(l) {
		l = of
	} // else move finds out
	return now, l
}

// staged returns those of the namespaces that have staged events, and the lineage of the server that it asked.
func (m *membershipWriter) staged(ctx context.Context, spaces []string) (names []string, of *lineage.Lineage, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.o.AppendTimeout)
	defer cancel()
	err = m.o.Lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		of = l
		c := m.appender.seen.Load().on(l)
		rows, err := m.o.DB.Write.Query(ctx, stagedSQL, spaces, c.seen, c.part, c.last, l.Generation)
		if err == nil {
			names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	return names, of, postgres.Unavailable(context.WithoutCancel(ctx), "move", err)
}

// requeue queues changes again that waited for staged events, now that these are in the log. If err says that
// they are not, it answers the changes with it.
func (m *membershipWriter) requeue(changes []*membershipChange, of *lineage.Lineage, err error) {
	if err != nil {
		answer(changes, err)
		for _, c := range changes {
			m.queue.Release(c)
		}
		return
	}
	for _, c := range changes {
		c.settled = of
	}
	m.queue.Return(changes...)
}

const moveSQL = `
SELECT log, prev, head, at, coalesce(holds, '{}'), coalesce(moved, '{}'), generation
  FROM culvert.move($1::text[], $2::int[], $3::text[], $4::text[], $5::int[], $6::boolean[], $7)`

// move stores a batch, and tries again when its ids were outdated. It returns errMoved if the server has
// changed: then what is staged there has to be read again.
func (m *membershipWriter) move(ctx context.Context, batch []*membershipChange, l *lineage.Lineage) error {
	ctx, cancel := context.WithTimeout(ctx, m.o.AppendTimeout)
	defer cancel()
	for {
		now, err := m.moveOnce(ctx, batch, l)
		if err == nil && now == l.Generation || err != nil && !postgres.IsOutdated(err) {
			return err
		}
		if err := m.o.Lineage.Renew(ctx, l); err != nil {
			return postgres.Unavailable(context.WithoutCancel(ctx), "move", err)
		}
		next := m.o.Lineage.Load()
		if !next.SameHistory(l) {
			return errMoved
		}
		l = next
	}
}

// moveOnce stores a batch and hands its entries to the tail. It returns the log's generation; if that is not
// the one of the ids, nothing was stored.
func (m *membershipWriter) moveOnce(ctx context.Context, batch []*membershipChange, l *lineage.Lineage) (now int64, err error) {
	n := len(batch)
	op, ns, client, room, most := make([]string, n), make([]int32, n), make([]string, n), make([]string, n), make([]int, n)
	own := make([]bool, n)
	for i, c := range batch {
		id, err := m.o.Lineage.IDs().Namespace(ctx, c.Namespace)
		if err != nil {
			return 0, postgres.Unavailable(context.WithoutCancel(ctx), "move", err)
		}
		own[i] = c.Own
		op[i], ns[i], client[i], room[i], most[i] = strings.TrimPrefix(c.Name, event.ReservedPrefix), id, c.Client.String(), c.Room.String(), c.maxRooms
	}
	var (
		log        string
		prev, head event.Offset
		at         time.Time
		holds      []event.Offset
		moved      []bool
	)
	err = postgres.Repeat(ctx, func() error {
		return m.o.DB.Write.QueryRow(ctx, moveSQL, op, ns, client, room, most, own, l.Generation).Scan(&log, &prev, &head, &at, &holds, &moved, &now)
	})
	if err != nil {
		m.follower.lookAt(event.MaxOffset) // it may be stored all the same
		return 0, postgres.Unavailable(context.WithoutCancel(ctx), "move", err)
	}
	if now != l.Generation {
		return now, nil
	}
	var entries []*event.Event
	for i, c := range batch {
		c.position, c.moved = event.Cursor{Log: log, Offset: holds[i]}, moved[i]
		if moved[i] {
			entries = append(entries, c.Event(c.position, at))
		}
	}
	if !m.o.Tail.Extend(l, prev, head, entries) {
		m.follower.lookAt(head)
	}
	return now, nil
}
