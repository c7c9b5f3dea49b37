package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/decode"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
)

// page is what one read of the log returns, in one snapshot.
type page struct {
	log    string
	floor  event.Offset // every offset up to it is gone from the log
	pruned event.Offset // of these, the last one of the rooms asked for
	events []*event.Event
	bytes  int            // of their data
	bare   []*event.Event // those among them whose data stands elsewhere; see bodies.go
	taken  int            // of the reader's memory
	cut    bool           // there was no memory for more events
	// counter is the newest position of the log.
	counter event.Offset
	lineage *lineage.Lineage // of the ids it was read with; culvert.follow's has none
}

// full reports whether there may be more than was read.
func (p page) full(limit int) bool { return p.cut || len(p.events) == limit || p.bytes >= maxBatch }

const pageSQL = `
SELECT *
  FROM culvert.page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

// readPage reads the events of intervals after an offset up to another, at most limit.
// ErrDeleted says that the namespace's id is outdated; an error for IsOutdated that all ids are.
// ErrNoMemory says that in.Memory does not have enough for one event.
func (q *Queue) readPage(caller context.Context, l *lineage.Lineage, in Interest, ns int32, intervals []interval, after, upTo event.Offset, limit int) (page, error) {
	ctx, cancel := context.WithTimeout(caller, postgres.ReadTimeout)
	defer cancel()
	names, since, until := make([]string, len(intervals)), make([]int64, len(intervals)), make([]int64, len(intervals))
	for i, s := range intervals {
		names[i], since[i], until[i] = s.room.String(), int64(s.since), int64(s.until)
	}
	var p page
	var took time.Duration
	err := q.db.read.Use(ctx, in.Namespace, in.Client, postgres.Long, func(db *pgxpool.Pool) (err error) {
		start := time.Now()
		defer func() { took = time.Since(start) }()
		p, err = scanCarefully(in.Memory, func(careful bool) (pgx.Rows, error) {
			return db.Query(ctx, pageSQL, l.Generation, ns, names, since, until, int64(after), int64(upTo), limit, maxBatch, careful)
		})
		return err
	})
	if err != nil {
		return page{}, postgres.Unavailable(caller, "read a page", err)
	}
	if p.log == "" {
		q.ids.Forget(in.Namespace, ns)
		return page{}, event.ErrDeleted
	}
	p.lineage = l
	if err := q.fill(ctx, l, in, &p); err != nil {
		p.release(in.Memory)
		return page{}, postgres.Unavailable(caller, "read a page", err)
	}
	q.metrics.pageRead(len(p.events), took)
	q.faults.look(p.events...)
	return p, nil
}

// scanCarefully is scanPage of a statement that is repeated when Postgres cannot read all of
// its rows: being careful, it finds out which ones, and their events are unreadable.
func scanCarefully(memory Memory, query func(careful bool) (pgx.Rows, error)) (p page, err error) {
	for _, careful := range []bool{false, true} {
		var rows pgx.Rows
		if rows, err = query(careful); err == nil {
			p, err = scanPage(rows, memory)
		}
		if !decode.IsDamaged(err) {
			return p, err
		}
	}
	return page{}, err
}

// scanPage reads the rows both statements give. Their columns are NULL where a row
// has nothing to say: culvert.page begins with a row that has no event, culvert.follow
// has one only when there are no events. The events are charged to memory, unless it is
// nil, as they come.
func scanPage(rows pgx.Rows, memory Memory) (p page, err error) {
	defer rows.Close()
	defer func() {
		if err != nil {
			p.release(memory)
			p = page{}
		}
	}()
	var r pageRow
	var namespace string    // of a page, which is all of one
	var block []event.Event // fewer, larger pieces are less work for the collector
	for rows.Next() {
		if err := rows.Scan(&r.log, &r.floor, &r.offset, &r.at, &r.binary, &r.event, &r.sender, &r.except, &r.data, &r.place, &r.pruned, &r.replyUntil, &r.counter); err != nil {
			return p, err
		}
		if r.floor.Valid {
			p.log, p.floor, p.pruned = again(p.log, r.log), event.Offset(r.floor.Int64), event.Offset(r.pruned.Int64)
			p.counter = event.Offset(r.counter.Int64)
		}
		if !r.offset.Valid {
			namespace = string(r.place)
			continue
		}
		if !p.charge(memory, sizeOf(len(r.data))) {
			if p.cut = true; len(p.events) == 0 {
				return p, event.ErrNoMemory
			}
			rows.Close()
			break
		}
		if len(block) == 0 {
			block = make([]event.Event, 32)
		}
		e := &block[0]
		block = block[1:]
		var before *event.Event
		if n := len(p.events); n > 0 {
			before = p.events[n-1]
		}
		r.decode(e, p.log, namespace, before)
		if p.events = append(p.events, e); errors.Is(e.Fault, errNoData) {
			p.bare = append(p.bare, e)
		}
		p.bytes += len(r.data) // as Postgres counted it
	}
	return p, rows.Err()
}

// pageRow is one row as it lies in the connection's buffer: the texts are only
// valid until the next one is read.
type pageRow struct {
	log, event, sender, data, place pgtype.DriverBytes
	offset, floor, pruned, counter  pgtype.Int8
	at, replyUntil                  pgtype.Timestamptz
	binary                          pgtype.Bool
	except                          []pgtype.Text
}

// decode fills in the row's event. Most events have much in common with the one
// before, which is the cheapest place to have it from. A place is a namespace and a
// room, or only a room where the namespace is known.
func (r *pageRow) decode(e *event.Event, log, namespace string, before *event.Event) {
	e.Log, e.Offset, e.At, e.Binary, e.Data, e.ReplyUntil = log, event.Offset(r.offset.Int64), r.at.Time, r.binary.Bool, string(r.data), r.replyUntil.Time
	if before != nil {
		e.Namespace, e.Room, e.Name, e.From = before.Namespace, before.Room, before.Name, before.From
	}
	e.Name = again(e.Name, r.event)
	e.From = event.StoredClient(trusted.Of(again(e.From.String(), r.sender)))
	room := []byte(r.place)
	if namespace == "" {
		// What a deleted namespace left behind is in no place: nobody can ask for it.
		var ns []byte
		ns, room, _ = bytes.Cut(r.place, []byte{'/'})
		e.Namespace = again(e.Namespace, ns)
	} else {
		e.Namespace = namespace
	}
	e.Room = event.StoredRoom(trusted.Of(again(e.Room.String(), room)))
	e.Except = decode.Rooms(r.except)
	if r.at.InfinityModifier != pgtype.Finite {
		e.At = time.Time{}
	}
	switch {
	case r.event == nil: // see culvert.damage
		e.Fault = fmt.Errorf("%w: %s", decode.ErrDamaged, r.data)
	case r.data == nil:
		borrow(e, before)
		return
	default:
		e.Fault = decode.Check(e, before, r.data, r.except)
	}
	if e.Fault != nil {
		e.Data = ""
	}
}

// again is b as a string: the one at hand if it is the same.
func again(s string, b []byte) string {
	if s == string(b) {
		return s
	}
	return string(b)
}
