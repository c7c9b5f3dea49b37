package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/decode"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/tail"
)

// The data of an event to several rooms is stored in the row of one room, unless it is short: see
// docs/decisions/022-bytes.md. The event's other rows have no data.

var errNoData = errors.New("data is missing")

// borrow gives an event whose row has no data the data of the row before, if that row is of the same event.
// Otherwise the event is bare until fill gives it its data.
func borrow(e, before *event.Event) {
	if before == nil || before.Offset != e.Offset {
		e.Fault = errNoData
		return
	}
	e.Data, e.Except, e.Fault = before.Data, before.Except, before.Fault
	if e.Fault == nil {
		e.Fault = decode.Check(e, before, []byte(`""`), nil) // checks its room; the rest was checked before
	}
}

const bodiesSQL = `
SELECT *
  FROM culvert.bodies($1, $2, $3)`

// fill gives the bare events of a page their data. If their slice was dropped after the page was read, the page
// ends before them, and the next page tells of the gap. The page also ends where memory does not suffice for
// more. Errors: ErrNoMemory, if it does not suffice for one event.
func (lg *Log) fill(ctx context.Context, l *lineage.Lineage, r PageRequest, p *Page) error {
	if len(p.bare) == 0 {
		return nil
	}
	return lg.o.DB.Read.Use(ctx, r.Namespace, r.Client, postgres.Long, func(db *pgxpool.Pool) error {
		before := p.Taken
		err := p.fill(ctx, db, l, r.Memory, false)
		if decode.IsDamaged(err) {
			if n := p.Taken - before; n > 0 {
				r.Memory.Give(n)
				p.Taken = before
			}
			err = p.fill(ctx, db, l, r.Memory, true)
		}
		if err == nil && p.Cut && len(p.Events) == 0 {
			err = event.ErrNoMemory
		}
		return err
	})
}

func (p *Page) fill(ctx context.Context, db *pgxpool.Pool, l *lineage.Lineage, memory event.Memory, careful bool) error {
	offsets := make([]int64, len(p.bare))
	for i, e := range p.bare {
		offsets[i] = int64(e.Offset)
	}
	rows, err := db.Query(ctx, bodiesSQL, l.Generation, offsets, careful)
	if err != nil {
		return err
	}
	var offset, floor event.Offset
	var data pgtype.DriverBytes
	var except []pgtype.Text
	var damage *string
	n, gone := 0, false
	_, err = pgx.ForEachRow(rows, []any{&offset, &floor, &data, &except, &damage}, func() error {
		e := p.bare[n]
		n++
		switch {
		case damage != nil:
			e.Fault = fmt.Errorf("%w: %s", decode.ErrDamaged, *damage)
		case data != nil && !p.charge(memory, tail.SizeOf(len(data))-tail.SizeOf(0)):
			p.Cut, gone = true, true
		case data != nil:
			e.Data, e.Except = string(data), decode.Rooms(except)
			p.bytes += len(data) // as Postgres counted it
			if e.Fault = decode.Check(e, nil, data, except); e.Fault != nil {
				e.Data = ""
			}
		case offset <= floor:
			gone = true
		}
		return nil
	})
	if gone {
		p.endBefore(errNoData)
	}
	return err
}

// endBefore cuts the page before the first event with a fault, and makes the page full, so that its reader goes
// on there.
func (p *Page) endBefore(fault error) {
	for i, e := range p.Events {
		if errors.Is(e.Fault, fault) {
			p.Events, p.bytes = p.Events[:i], max(p.bytes, tail.MaxBatch)
			return
		}
	}
}
