package queue

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/registry"
	"github.com/culvertmq/culvert/queue/tail"
)

// source is what subscriptions and history read from.
type source struct {
	db       *postgres.Pools
	lineage  *lineage.Keeper
	tail     *tail.Tail
	log      *log.Log
	registry *registry.Registry
	presence *presence
	idle     *idle
	resumes  *resumes
}

// resumeSQL reads the client's intervals and the position they are known for in one snapshot. Intervals that
// ended before the start are left out.
const resumeSQL = `
SELECT l.id, greatest(l.floor, n.floor), greatest(l.floor, (SELECT max("offset") FROM culvert.events WHERE "offset" > $3)),
       c.cursor, r.name, m.since, m.until, m.own
  FROM culvert.log l
  LEFT JOIN culvert.namespaces n ON n.id = $1
  LEFT JOIN culvert.clients c ON c.namespace_id = $1 AND c.name = $2
  LEFT JOIN culvert.memberships m ON m.client_id = c.id AND (m.until IS NULL OR m.until > coalesce($4, c.cursor))
  LEFT JOIN culvert.rooms r ON r.id = m.room_id
 WHERE culvert.check_ids($5)`

// resume finds where to begin: after the position asked for, else after the stored cursor, else at the head. A
// new client is stored with this position, unless the subscription is ad hoc, so that later events are kept for
// it.
func (src *source) resume(ctx context.Context, in Interest, adHoc bool) (resumption, error) {
	at := src.tail.Position()
	if in.Client == (event.Client{}) && !in.After.IsZero() && (in.After.Log != at.Log || in.After.Offset <= at.Offset) {
		l := src.lineage.Load()
		return resumption{start: in.After, known: at.Offset, run: l.RunOf(in.After, src.tail.HeadOf(l))}, nil // Postgres need not be asked
	}
	r, err := src.resumes.do(ctx, in, adHoc)
	if !errors.Is(err, errManyRooms) {
		return r, err
	}
	found, err := src.snapshot(ctx, in)
	if err != nil {
		return r, err
	}
	r = found.resume(in)
	if r.stored || adHoc {
		return r, nil
	}
	return r, src.makeClient(ctx, in, r.start)
}

func (src *source) snapshot(ctx context.Context, in Interest) (found snapshot, err error) {
	err = src.lineage.WithIDs(ctx, func(l *lineage.Lineage) (err error) {
		found, err = src.snapshotOnce(ctx, l, in)
		return err
	})
	return found, postgres.Unavailable(ctx, "resume", err)
}

func (src *source) snapshotOnce(ctx context.Context, l *lineage.Lineage, in Interest) (snapshot, error) {
	found, at := snapshot{lineage: l}, src.tail.Position()
	id, err := src.lineage.IDs().Namespace(ctx, in.Namespace)
	if err != nil {
		return found, err
	}
	from := in.from(at)
	err = src.db.Read.Use(ctx, in.Namespace, in.Client, postgres.Quick, func(db *pgxpool.Pool) error {
		rows, err := db.Query(ctx, resumeSQL, postgres.ReadMode(db), id, in.Client.String(), int64(at.Offset), from, l.Generation)
		if err != nil {
			return err
		}
		var m membershipRow
		_, err = pgx.ForEachRow(rows, []any{&found.log, &found.floor, &found.head, &found.stored, &m.room, &m.since, &m.until, &m.own}, func() error {
			found.add(m, in)
			return nil
		})
		return err
	})
	found.head = max(found.head, min(at.Offset, src.tail.HeadOf(l)))
	return found, err
}

const earliestSQL = `
SELECT l.id, greatest(l.floor, n.floor)
  FROM culvert.log l
  LEFT JOIN culvert.namespaces n ON n.id = $1
 WHERE culvert.check_ids($2)`

// earliest returns the position before the oldest retained event of a namespace.
func (src *source) earliest(ctx context.Context, l *lineage.Lineage, in Interest, ns int32) (c event.Cursor, err error) {
	err = src.db.Read.Use(ctx, in.Namespace, in.Client, postgres.Quick, func(db *pgxpool.Pool) error {
		return db.QueryRow(ctx, earliestSQL, ns, l.Generation).Scan(&c.Log, &c.Offset)
	})
	return c, err
}

const headSQL = `
SELECT greatest(l.floor, (SELECT max("offset") FROM culvert.events WHERE "offset" > $1))
  FROM culvert.log l
 WHERE culvert.check_ids($2)`

// headNow returns the head as Postgres has it, which may be newer than Head, and its lineage.
func (src *source) headNow(ctx context.Context, ns event.Namespace, c event.Client) (l *lineage.Lineage, head event.Offset, err error) {
	err = src.lineage.WithIDs(ctx, func(now *lineage.Lineage) error {
		l = now
		return src.db.Read.Use(ctx, ns, c, postgres.Quick, func(db *pgxpool.Pool) error {
			return db.QueryRow(ctx, headSQL, postgres.ReadMode(db), int64(src.tail.Position().Offset), l.Generation).Scan(&head)
		})
	})
	if err == nil {
		head = max(head, src.tail.NewestOf(l)) // the newest event may be gone with its namespace
	}
	return l, head, postgres.Unavailable(ctx, "head", err)
}

const makeClientSQL = `
INSERT INTO culvert.clients (namespace_id, name, cursor)
SELECT n.id, $2, CASE WHEN l.id = $3 THEN $4::bigint ELSE greatest(l.floor, n.floor) END
  FROM culvert.log l
  JOIN culvert.namespaces n ON n.id = $1
 WHERE culvert.check_ids($5) AND (SELECT culvert.durable())
ON CONFLICT DO NOTHING`

// makeClient stores a client seen for the first time. If two subscriptions do so at once, either start is
// right.
func (src *source) makeClient(ctx context.Context, in Interest, start event.Cursor) error {
	err := src.lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		id, err := src.lineage.IDs().Namespace(ctx, in.Namespace)
		if err == nil {
			err = src.db.Work.Use(ctx, in.Namespace, in.Client, postgres.Quick, func(db *pgxpool.Pool) error {
				_, err := db.Exec(ctx, makeClientSQL, id, in.Client.String(), start.Log, int64(start.Offset), l.Generation)
				return err
			})
		}
		return err
	})
	return postgres.Unavailable(ctx, "new client", err)
}
