package queue

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

func compareKeys(a, b roomKey) int {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.room, b.room))
}

// start is the position a subscription begins after. A durable client that is
// new is stored with it, so that what comes later is kept for it.
func (q *Queue) start(ctx context.Context, in Interest, adHoc bool) (Cursor, error) {
	start, err := q.explicitStart(ctx, in)
	if err != nil || adHoc && !start.IsZero() || in.Client == (Client{}) {
		if err == nil && start.IsZero() {
			start, err = q.headNow(ctx)
		}
		return start, err
	}
	stored, known, err := q.storedCursor(ctx, in.Namespace, in.Client)
	switch {
	case err != nil:
		return Cursor{}, err
	case start.IsZero() && known:
		return stored, nil
	case start.IsZero():
		if start, err = q.headNow(ctx); err != nil {
			return Cursor{}, err
		}
	}
	if known || adHoc {
		return start, nil
	}
	return start, q.makeClient(ctx, in, start)
}

// explicitStart is where the caller asked to begin; zero when it did not.
func (q *Queue) explicitStart(ctx context.Context, in Interest) (Cursor, error) {
	if in.After.IsZero() {
		if in.Earliest {
			return q.earliest(ctx)
		}
		return Cursor{}, nil
	}
	if at := q.tail.position(); in.After.Log != at.Log || in.After.Offset <= at.Offset {
		return in.After, nil
	}
	// Beyond what this instance knows: another may be ahead of it. Beyond the
	// log itself lie only offsets that a failover lost, or an invention.
	head, err := q.headNow(ctx)
	if err != nil || in.After.Log != head.Log {
		return in.After, err
	}
	return Cursor{head.Log, min(in.After.Offset, head.Offset)}, nil
}

const earliestSQL = `
SELECT id, floor
  FROM culvert.log`

// earliest is the position before the oldest retained event.
func (q *Queue) earliest(ctx context.Context) (c Cursor, err error) {
	err = q.db.read.QueryRow(ctx, earliestSQL).Scan(&c.Log, &c.Offset)
	return c, unavailable(ctx, "floor", err)
}

const headSQL = `
SELECT l.id, greatest(l.floor, (SELECT max("offset") FROM culvert.events WHERE "offset" > $1))
  FROM culvert.log l`

// headNow is the head as Postgres has it, where Head is this instance's view.
func (q *Queue) headNow(ctx context.Context) (Cursor, error) {
	at := q.tail.position()
	var log string
	var head Offset
	err := q.db.read.QueryRow(ctx, headSQL, readMode(q.db.read), int64(at.Offset)).Scan(&log, &head)
	if err != nil {
		return Cursor{}, unavailable(ctx, "head", err)
	}
	if log == at.Log {
		head = max(head, at.Offset)
	}
	return Cursor{log, head}, nil
}

const storedCursorSQL = `
SELECT l.id, c.cursor
  FROM culvert.log l, culvert.clients c
 WHERE c.namespace_id = $1 AND c.name = $2`

func (q *Queue) storedCursor(ctx context.Context, ns Namespace, client Client) (c Cursor, known bool, err error) {
	id, err := q.ids.namespace(ctx, ns)
	if err != nil {
		return Cursor{}, false, err
	}
	err = q.db.read.QueryRow(ctx, storedCursorSQL, id, client.name).Scan(&c.Log, &c.Offset)
	if errors.Is(err, pgx.ErrNoRows) {
		return Cursor{}, false, nil
	}
	return c, err == nil, unavailable(ctx, "stored cursor", err)
}

const makeClientSQL = `
INSERT INTO culvert.clients (namespace_id, name, cursor)
SELECT $1, $2, CASE WHEN l.id = $3 THEN $4::bigint ELSE l.floor END
  FROM culvert.log l
ON CONFLICT DO NOTHING`

// makeClient stores a client seen for the first time. Of two that do so at once
// either start is right.
func (q *Queue) makeClient(ctx context.Context, in Interest, start Cursor) error {
	id, err := q.ids.namespace(ctx, in.Namespace)
	if err != nil {
		return err
	}
	_, err = q.db.write.Exec(ctx, makeClientSQL, id, in.Client.name, start.Log, int64(start.Offset))
	return unavailable(ctx, "new client", err)
}
