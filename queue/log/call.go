package log

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/tail"
)

// appendBatch has the arguments of one culvert.append. Each event is in them once, even with several rooms; pos
// numbers the events from 1.
type appendBatch struct {
	units []*unit
	// events has, at index pos - 1, the event's unit and its index in the unit.
	events []place

	room                        []int64 // of each event, the lowest of its rooms' ids
	event, data, sender, except []string
	binary                      []bool
	replyMS                     []int32 // 0: no reply is wanted
	asks                        []askRow
	copies                      copies

	keyNS   []int32
	key     []string
	keyOwn  []string
	keyHash [][]byte
	keyPos  []int32

	spaces []string // the names of its namespaces
	until  []int64  // for each of them; see culvert.append

	lineage *lineage.Lineage // of the ids
	dry     bool             // it moves no staged events
}

type place struct {
	unit  *unit
	index int
}

func (p place) emit() *event.Emit { return &p.unit.emits[p.index] }

// keyRef identifies an idempotency key: its namespace, its owner and its text.
type keyRef struct {
	ns    event.Namespace
	owner event.Client
	key   event.Key
}

func keyRefOf(e *event.Emit) keyRef { return keyRef{e.Namespace, e.KeyOwner, e.Key} }

// apart splits off the units that have a key in common with an earlier one: the result of the earlier one
// decides about them. A series keeps its order: what follows such a unit is split off with it. A key that one
// unit uses twice is handled elsewhere, see settleRepeats. Units of one namespace that wait for staged events
// up to different positions are split as well.
func apart(units []*unit) (now, later []*unit) {
	var taken map[keyRef]bool
	until := untils(units)
	var waiting map[*series]bool
	for _, u := range units {
		wait := u.series != nil && waiting[u.series]
		for i := range u.hashes {
			wait = wait || taken[keyRefOf(&u.emits[i])]
		}
		if until != nil {
			for ns := range u.namespaces {
				if first, again := until[ns]; again {
					wait = wait || first != u.until
				} else {
					until[ns] = u.until
				}
			}
		}
		if wait {
			later = append(later, u)
			if u.series != nil {
				if waiting == nil {
					waiting = map[*series]bool{}
				}
				waiting[u.series] = true
			}
			continue
		}
		if u.hashes == nil {
			now = append(now, u)
			continue
		}
		if taken == nil {
			taken = map[keyRef]bool{}
		}
		for i := range u.emits {
			if u.hashes[i] != nil {
				taken[keyRefOf(&u.emits[i])] = true
			}
		}
		now = append(now, u)
	}
	return now, later
}

// untils returns an empty map for apart if a unit has waited for staged events, which is rare, and nil
// otherwise.
func untils(units []*unit) map[event.Namespace]horizon {
	if !slices.ContainsFunc(units, func(u *unit) bool { return u.until.of != nil }) {
		return nil
	}
	return map[event.Namespace]horizon{}
}

// build makes the arguments of an append, with the ids of its rooms. Also when it fails, the batch it returns
// has the lineage with which it tried.
func (a *appender) build(ctx context.Context, units []*unit) (*appendBatch, error) {
	b := &appendBatch{lineage: a.o.Lineage.Load()} // before the first look-up
	ids := map[lineage.RoomRef]int64{}
	namespaces := map[event.Namespace]int32{}
	for _, u := range units {
		if u.Answered() { // refused or settled by its keys
			continue
		}
		b.units = append(b.units, u)
		b.await(u)
		for i := range u.emits {
			e := &u.emits[i]
			ns, err := a.o.Lineage.IDs().Namespace(ctx, e.Namespace)
			if err != nil {
				return b, err
			}
			namespaces[e.Namespace] = ns
			for _, r := range e.Addressed() {
				ids[lineage.RoomRef{Namespace: ns, Room: r.String()}] = 0
			}
		}
	}
	if err := a.o.Lineage.IDs().Resolve(ctx, b.lineage.Generation, ids); err != nil {
		return b, err
	}
	for _, u := range b.units {
		first := map[keyRef]int{}
		for i := range u.emits {
			if u.results[i].Duplicate {
				continue
			}
			b.add(u, i, namespaces[u.emits[i].Namespace], ids, first)
		}
	}
	return b, nil
}

// add appends the rows of one emit. first has the keys of the unit's emits so far.
func (b *appendBatch) add(u *unit, i int, ns int32, ids map[lineage.RoomRef]int64, first map[keyRef]int) {
	e := &u.emits[i]
	if u.hashes != nil && u.hashes[i] != nil {
		ref := keyRefOf(e)
		if _, again := first[ref]; again {
			return // finish gives it the first one's offset
		}
		first[ref] = i
		b.keyNS = append(b.keyNS, ns)
		b.key = append(b.key, e.Key.String())
		b.keyOwn = append(b.keyOwn, e.KeyOwner.String())
		b.keyHash = append(b.keyHash, u.hashes[i])
		b.keyPos = append(b.keyPos, int32(len(b.events)+1)) //nolint:gosec // at most as many as a batch has
	}
	b.events = append(b.events, place{u, i})
	except := postgres.RoomArray(e.Except)
	if e.Reply.Wanted() {
		b.asks = append(b.asks, newAskRow(u, i, int32(len(b.events)), ns)) //nolint:gosec // as above
	}
	rooms := e.Addressed()
	if len(rooms) == 1 {
		b.room = append(b.room, ids[lineage.RoomRef{Namespace: ns, Room: rooms[0].String()}])
	} else {
		all := make([]int64, len(rooms))
		for i, r := range rooms {
			all[i] = ids[lineage.RoomRef{Namespace: ns, Room: r.String()}]
		}
		slices.Sort(all)
		b.room = append(b.room, all[0])
		b.copies.add(len(b.events), all[1:], e.Data.JSON(), except)
	}
	b.event = append(b.event, e.Event.String())
	b.data = append(b.data, e.Data.JSON())
	b.sender = append(b.sender, e.From.String())
	b.except = append(b.except, except)
	b.binary = append(b.binary, e.Data.Binary())
	b.replyMS = append(b.replyMS, e.Reply.Milliseconds())
}

const appendSQL = `
SELECT seen::text, coalesce(part::text::bigint, 0), coalesce(last, 0), log, prev, base, head, at, moved, more, stored, coalesce(waits, '{}'), now_::text::bigint, move_ms,
       known, known_offset, known_same, generation
  FROM culvert.append($1::text::pg_snapshot, $2::bigint::text::xid8, $3, $4::bigint[], $5::text[], $6::int[], $7::text[], $8::text[], $9::text[],
       $10::bool[], $11::text[], $12::text[], $13::int[], $14::text[], $15::bytea[], $16::int[], $17,
       $18::int[], $19::text::json, $20::text[], $21::text[], $22::bigint[]::text[]::xid8[], $23, $24)`

// appended is the answer of culvert.append.
type appended struct {
	movedUpTo        movedUpTo
	log              string
	prev, base, head event.Offset
	at               time.Time
	moved            int      // staged events
	moveMS           float64  // how long moving them took
	more             bool     // there may be more of them
	stored           bool     // whether the batch is
	waits            []string // namespaces with staged events that come before the batch
	now              uint64   // those of transactions below this id come before the batch
	known            []int32
	knownOffset      []event.Offset
	knownSame        []bool
	generation       int64 // if not the batch's, nothing was stored
}

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
	err = postgres.Repeat(ctx, func() error {
		return conn.QueryRow(ctx, appendSQL, c.seen, c.part, c.last,
			b.room, b.copies.rooms, b.copies.size, b.copies.brief, b.event, b.data, b.binary, b.sender, b.except,
			b.keyNS, b.key, b.keyHash, b.keyPos, b.lineage.Generation,
			replyMS, asks, b.keyOwn, b.spaces, b.until, rows, a.moving.bytes).
			Scan(&r.movedUpTo.seen, &r.movedUpTo.part, &r.movedUpTo.last, &r.log, &r.prev, &r.base, &r.head, &r.at, &r.moved, &r.more, &r.stored, &r.waits, &r.now, &r.moveMS,
				&r.known, &r.knownOffset, &r.knownSame, &r.generation)
	})
	r.movedUpTo.of = b.lineage
	a.moving.adapt(ctx, rows, r, err)
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

// copies are the rows of events for their rooms beyond the first, as arguments of culvert.append. They end with
// the last event that has several rooms.
type copies struct {
	rooms []string
	size  []int32
	brief []string
}

// add makes the event at pos be stored for more rooms. Data that is not brief is stored with the first room
// only.
func (c *copies) add(pos int, rooms []int64, data, except string) {
	for len(c.rooms) < pos-1 {
		c.rooms, c.size, c.brief = append(c.rooms, ""), append(c.size, 0), append(c.brief, "")
	}
	list := []byte{'{'}
	for i, id := range rooms {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, id, 10)
	}
	c.rooms = append(c.rooms, string(append(list, '}')))
	if len(data)+len(except) <= tail.ShortData {
		c.size, c.brief = append(c.size, 0), append(c.brief, data)
	} else {
		c.size, c.brief = append(c.size, int32(len(data))), append(c.brief, "") //nolint:gosec // at most MaxData
	}
}
