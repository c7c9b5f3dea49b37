package bench

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// catchUp measures one client that reads an old log.
func (b *bench) catchUp(ctx context.Context, r *rig, all []instance) error {
	writer := all[0]
	if err := fill(ctx, writer.queue, b.events); err != nil {
		return err
	}
	sql, err := readSQL(ctx, r.postgres.DSN(), b.events)
	if err != nil {
		return err
	}
	reader, err := r.instanceThatKeeps(ctx, 1) // all others come from Postgres
	if err != nil {
		return err
	}
	stream, err := openStream(ctx, reader.url+"/v1/default/events?rooms=lobby&from=earliest")
	if err != nil {
		return err
	}
	defer stream.close()
	start := time.Now()
	for range b.events {
		if _, err := stream.next(); err != nil {
			return err
		}
	}
	b.compare("events caught up with by one client, SSE", float64(b.events)/time.Since(start).Seconds(), sql, "80 %")
	return nil
}

func fill(ctx context.Context, q *queue.Queue, events int) error {
	emit, err := benchEmit("lobby")
	if err != nil {
		return err
	}
	for left := events; left > 0; {
		n := min(left, 1000)
		if _, err := q.Append(ctx, slices.Repeat([]event.Emit{emit}, n)); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// readSQL reads the room with plain SQL, in pages of 1,000 rows as the server does, into plain variables.
func readSQL(ctx context.Context, dsn string, events int) (perSecond float64, err error) {
	const query = `
		SELECT e."offset", e.at, e.event, e.sender, e.except_, e.data
		  FROM culvert.events e
		 WHERE e.room_id = (SELECT id FROM culvert.rooms WHERE name = 'lobby') AND e."offset" > $1
		 ORDER BY e."offset"
		 LIMIT 1000`
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// This gives the plan that culvert.page gets; otherwise Postgres may sort the whole slice.
	if _, err := conn.Exec(ctx, `SET enable_bitmapscan = off; SET enable_seqscan = off`); err != nil {
		return 0, err
	}
	start := time.Now()
	var (
		at          time.Time
		event, data string
		sender      *string
		except      []string
	)
	for read, after := 0, int64(0); read < events; {
		rows, err := conn.Query(ctx, query, after)
		if err != nil {
			return 0, err
		}
		for rows.Next() {
			if err := rows.Scan(&after, &at, &event, &sender, &except, &data); err != nil {
				return 0, err
			}
			read++
		}
		if err := rows.Err(); err != nil {
			return 0, err
		}
	}
	return float64(events) / time.Since(start).Seconds(), nil
}
