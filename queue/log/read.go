package log

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
	"github.com/culvertmq/culvert/queue/tail"
)

const pageSQL = `
SELECT *
  FROM culvert.page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

// ReadPage reads events from Postgres. Errors: event.ErrUnavailable; event.ErrDeleted if the namespace's id is
// outdated; one for which postgres.IsOutdated is true, if all ids of the lineage are; event.ErrNoMemory if
// Memory does not suffice for one event.
func (lg *Log) ReadPage(caller context.Context, l *lineage.Lineage, r PageRequest) (Page, error) {
	ctx, cancel := context.WithTimeout(caller, postgres.ReadTimeout)
	defer cancel()
	n := len(r.Intervals)
	names, since, until := make([]string, n), make([]int64, n), make([]int64, n)
	for i, s := range r.Intervals {
		names[i], since[i], until[i] = s.Room.String(), int64(s.Since), int64(s.Until)
	}
	var p Page
	var took time.Duration
	err := lg.o.DB.Read.Use(ctx, r.Namespace, r.Client, postgres.Long, func(db *pgxpool.Pool) (err error) {
		start := time.Now()
		defer func() { took = time.Since(start) }()
		p, err = scanCarefully(r.Memory, func(careful bool) (pgx.Rows, error) {
			return db.Query(ctx, pageSQL, l.Generation, r.ID, names, since, until, int64(r.After), int64(r.UpTo), r.Limit, tail.MaxBatch, careful)
		})
		return err
	})
	if err != nil {
		return Page{}, postgres.Unavailable(caller, "read a page", err)
	}
	if p.Log == "" {
		lg.o.Lineage.IDs().Forget(r.Namespace, r.ID)
		return Page{}, event.ErrDeleted
	}
	p.Lineage = l
	if err := lg.fill(ctx, l, r, &p); err != nil {
		p.Release(r.Memory)
		return Page{}, postgres.Unavailable(caller, "read a page", err)
	}
	lg.o.Metrics.pageRead(len(p.Events), took)
	lg.o.Faults.Look(p.Events...)
	return p, nil
}

// scanCarefully scans the page of a query. If Postgres cannot read all of its rows, it repeats the query with
// careful, which finds out which ones; their events get a Fault.
func scanCarefully(memory event.Memory, query func(careful bool) (pgx.Rows, error)) (p Page, err error) {
	for _, careful := range []bool{false, true} {
		var rows pgx.Rows
		if rows, err = query(careful); err == nil {
			p, err = scanPage(rows, memory)
		}
		if !decode.IsDamaged(err) {
			return p, err
		}
	}
	return Page{}, err
}

// scanPage reads the rows of culvert.page and culvert.follow. Columns without a meaning for a row are NULL:
// culvert.page begins with a row that has no event, and culvert.follow has one only when there are no events.
// Each event is charged to memory as it is read, unless memory is nil.
func scanPage(rows pgx.Rows, memory event.Memory) (p Page, err error) {
	defer rows.Close()
	defer func() {
		if err != nil {
			p.Release(memory)
			p = Page{}
		}
	}()
	var r pageRow
	var namespace string    // of culvert.page, whose events are all of one
	var block []event.Event // fewer, larger allocations are less work for the garbage collector
	for rows.Next() {
		if err := rows.Scan(&r.log, &r.floor, &r.offset, &r.at, &r.binary, &r.event, &r.sender, &r.except, &r.data, &r.place, &r.pruned, &r.replyUntil, &r.counter); err != nil {
			return p, err
		}
		if r.floor.Valid {
			p.Log, p.Floor, p.Pruned = reuse(p.Log, r.log), event.Offset(r.floor.Int64), event.Offset(r.pruned.Int64)
			p.Counter = event.Offset(r.counter.Int64)
		}
		if !r.offset.Valid {
			namespace = string(r.place)
			continue
		}
		if !p.charge(memory, tail.SizeOf(len(r.data))) {
			if p.Cut = true; len(p.Events) == 0 {
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
		if n := len(p.Events); n > 0 {
			before = p.Events[n-1]
		}
		r.decode(e, p.Log, namespace, before)
		if p.Events = append(p.Events, e); errors.Is(e.Fault, errNoData) {
			p.bare = append(p.bare, e)
		}
		p.bytes += len(r.data) // as Postgres counted it
	}
	return p, rows.Err()
}

// pageRow is one row in the connection's buffer: its texts are valid only until the next row is read.
type pageRow struct {
	log, event, sender, data, place pgtype.DriverBytes
	offset, floor, pruned, counter  pgtype.Int8
	at, replyUntil                  pgtype.Timestamptz
	binary                          pgtype.Bool
	except                          []pgtype.Text
}

// decode fills in the row's event. Most events have much in common with the one before; copying strings from
// there is cheapest. A place is a namespace and a room, or only a room if the namespace is known.
func (r *pageRow) decode(e *event.Event, log, namespace string, before *event.Event) {
	e.Log, e.Offset, e.At, e.Binary, e.Data, e.ReplyUntil = log, event.Offset(r.offset.Int64), r.at.Time, r.binary.Bool, string(r.data), r.replyUntil.Time
	if before != nil {
		e.Namespace, e.Room, e.Name, e.From = before.Namespace, before.Room, before.Name, before.From
	}
	e.Name = reuse(e.Name, r.event)
	e.From = event.StoredClient(trusted.Of(reuse(e.From.String(), r.sender)))
	room := []byte(r.place)
	if namespace == "" {
		// Events of a deleted namespace have no place: nobody can ask for them.
		var ns []byte
		ns, room, _ = bytes.Cut(r.place, []byte{'/'})
		e.Namespace = reuse(e.Namespace, ns)
	} else {
		e.Namespace = namespace
	}
	e.Room = event.StoredRoom(trusted.Of(reuse(e.Room.String(), room)))
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

// reuse returns b as a string: s itself if it is equal, which saves an allocation.
func reuse(s string, b []byte) string {
	if s == string(b) {
		return s
	}
	return string(b)
}
