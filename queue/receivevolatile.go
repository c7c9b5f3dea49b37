package queue

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/decode"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue/tail"
)

// receive is the goroutine that reads what other instances published: after a notification, and every Poll in
// case one was lost. Volatile events that are published around an outage of Postgres may be missed.
func (v *volatile) receive(ctx context.Context) {
	tick := time.NewTicker(v.poll)
	defer tick.Stop()
	after, of := v.from, v.lineage.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.wake:
		case <-tick.C:
		}
		// Another server has other ids.
		if now := v.lineage.Load(); !now.SameHistory(of) {
			after, of = -1, now
		}
		after = v.readOn(ctx, after)
	}
}

// wakeReceiver makes receive read. It never blocks.
func (v *volatile) wakeReceiver() { notify(v.wake) }

const newestVolatileSQL = `
SELECT coalesce(max(id), 0)
  FROM culvert.volatile`

const volatileSQL = `
SELECT id, log, "position", at, namespace, rooms, except_, event, data, is_binary, coalesce(sender, '')
  FROM (SELECT *, sum(octet_length(data)) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
          FROM (SELECT *
                  FROM culvert.volatile
                 WHERE id > $1 AND instance <> $2
                 ORDER BY id
                 LIMIT $3) next) v
 WHERE before IS NULL OR before < $4
 ORDER BY id`

// newest returns the id after which an instance begins: earlier events are for those who were connected then.
func (v *volatile) newest(ctx context.Context) (id int64) {
	if err := v.db.Write.QueryRow(ctx, newestVolatileSQL).Scan(&id); err != nil {
		return -1
	}
	return id
}

// readOn delivers what came after an id, and returns the last id. After a failure it returns -1: after a crash
// of Postgres ids may begin anew.
func (v *volatile) readOn(ctx context.Context, after int64) int64 {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	if after < 0 {
		return v.newest(ctx)
	}
	const atOnce = 1_000
	for {
		rows, err := v.db.Write.Query(ctx, volatileSQL, after, v.instance, atOnce, tail.MaxBatch)
		if err != nil {
			return -1
		}
		var at event.Cursor // of the last one, which is the highest
		events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*tail.Volatile, error) {
			v := &tail.Volatile{Event: &event.Event{}}
			e := v.Event
			var from trusted.Text
			var rooms, except []pgtype.Text
			var when pgtype.Timestamptz
			err := row.Scan(&after, &at.Log, &at.Offset, &when, &e.Namespace, &rooms, &except, &e.Name, &e.Data, &e.Binary, &from)
			e.From = event.StoredClient(from)
			v.Signal = rooms == nil
			e.At, v.To, e.Except, v.After = when.Time, decode.Rooms(rooms), decode.Rooms(except), at.Offset
			e.Room = event.Everyone() // until seenFrom sets a room of the reader
			e.Fault = decode.Check(e, nil, []byte(e.Data), append(except, rooms...))
			return v, err
		})
		if err != nil {
			return -1
		}
		n, bytes := len(events), 0
		for _, e := range events {
			bytes += len(e.Event.Data)
			v.faults.Look(e.Event)
		}
		if events = slices.DeleteFunc(events, func(e *tail.Volatile) bool { return e.Event.Unreadable() }); len(events) > 0 {
			v.ready.add(at, events)
		}
		if n < atOnce && bytes < tail.MaxBatch {
			return after
		}
	}
}
