package queue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
)

// clientKey identifies a client by names.
type clientKey struct {
	ns     event.Namespace
	client event.Client
}

// clientRow is the key of a row of culvert.clients. Rows are locked in the order of compare, which is that of
// (namespace_id, name COLLATE "C"): see append.sql.
type clientRow struct {
	ns   int32
	name string
}

func (a clientRow) compare(b clientRow) int {
	return cmp.Or(cmp.Compare(a.ns, b.ns), cmp.Compare(a.name, b.name))
}

// ClientState is what is known of a client.
type ClientState struct {
	Cursor    event.Cursor
	Lag       int  // events for it after the cursor, counted up to MaxLag
	LagCapped bool // there may be more than Lag
	Rooms     []event.Room
	Online    bool
	LastSeen  time.Time
}

// MaxLag bounds the lag that is counted, and so the cost of one call of ClientState.
const MaxLag = 10_000

// The rooms of a client and its intervals in them are one list. $3 and $4 are the rooms that nobody has to
// join, and $8 those that the client joined by its own token but may not read. At most $5 rows are read, from
// all rooms together. An event in several of the rooms has several rows, so the lag that is counted may be too
// small; it is then reported as capped.
const stateSQL = `
WITH client AS (
       SELECT c.*, n.floor
         FROM culvert.clients c
         JOIN culvert.namespaces n ON n.id = c.namespace_id
        WHERE c.namespace_id = $1 AND c.name = $2 AND n.name IS NOT NULL),
     intervals AS (
       SELECT r.id, r.name, m.since, coalesce(m.until, $6) AS until, m.own AND r.name = ANY ($8) AS lapsed
         FROM client c
         JOIN culvert.memberships m ON m.client_id = c.id
         JOIN culvert.rooms r ON r.id = m.room_id
        UNION ALL
       SELECT r.id, r.name, 0, $6, false
         FROM culvert.rooms r
        WHERE r.namespace_id = $1 AND r.name IN ($3, $4))
SELECT l.id, c.cursor, culvert.is_online(c.id), c.seen_at,
       ARRAY(SELECT name FROM intervals WHERE until = $6 AND name NOT IN ($3, $4) ORDER BY name COLLATE "C"),
       behind.events, behind.rows >= $5
  FROM culvert.log l, client c
 CROSS JOIN LATERAL (
       SELECT count(DISTINCT row."offset") FILTER (WHERE NOT row.excepted) AS events, count(*) AS rows
         FROM (SELECT e."offset",
                      e.except_ IS NOT NULL AND (
                      SELECT list.rooms && ARRAY[$3, $4] OR EXISTS (
                             SELECT
                               FROM intervals x
                              WHERE x.name = ANY (list.rooms)
                                AND e."offset" > x.since AND e."offset" <= x.until)
                        FROM (SELECT CASE e.except_
                                     WHEN '{}' THEN (SELECT g.except_ FROM culvert.events g WHERE g."offset" = e."offset" AND g.data IS NOT NULL LIMIT 1)
                                     ELSE e.except_
                                     END AS rooms) list) AS excepted
                 FROM intervals s
                CROSS JOIN LATERAL (
                      SELECT f."offset", f.except_
                        FROM culvert.events f
                       WHERE f.room_id = s.id AND f."offset" > greatest(c.cursor, c.floor)
                         AND f."offset" > s.since AND f."offset" <= s.until
                       ORDER BY f."offset"
                       LIMIT $5) e
                WHERE s.lapsed IS NOT TRUE
                LIMIT $5) row) behind
 WHERE culvert.check_ids($7)`

const ownRoomsSQL = `
SELECT DISTINCT r.name
  FROM culvert.clients c
  JOIN culvert.memberships m ON m.client_id = c.id AND m.own
  JOIN culvert.rooms r ON r.id = m.room_id
 WHERE c.namespace_id = $1 AND c.name = $2 AND culvert.check_ids($3)`

// lapsedRooms returns the rooms that the client joined by its own token and may not read.
func (q *Queue) lapsedRooms(ctx context.Context, db *pgxpool.Pool, l *lineage.Lineage, ns int32, c event.Client, may func(event.Room) bool) ([]string, error) {
	if may == nil {
		return nil, nil
	}
	rows, err := db.Query(ctx, ownRoomsSQL, postgres.ReadMode(db), ns, c.String(), l.Generation)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return slices.DeleteFunc(names, func(name string) bool { return may(event.StoredRoom(trusted.Of(name))) }), err
}

// ClientState reads a client. Rooms that the client joined by its own token count for the lag only if may
// allows them; nil allows all. Errors: ErrNotFound, ErrUnavailable.
func (q *Queue) ClientState(ctx context.Context, ns event.Namespace, c event.Client, may func(event.Room) bool) (ClientState, error) {
	s := ClientState{Rooms: []event.Room{event.Everyone(), c.OwnRoom()}}
	var joined []string
	err := q.lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		id, err := q.lineage.IDs().Namespace(ctx, ns)
		if err != nil {
			return err
		}
		return q.db.Read.Use(ctx, ns, c, postgres.Long, func(db *pgxpool.Pool) error {
			lapsed, err := q.lapsedRooms(ctx, db, l, id, c, may)
			if err != nil {
				return err
			}
			return db.QueryRow(ctx, stateSQL, postgres.ReadMode(db), id, c.String(), event.Everyone().String(), c.OwnRoom().String(), MaxLag+1, event.MaxOffset, l.Generation, lapsed).
				Scan(&s.Cursor.Log, &s.Cursor.Offset, &s.Online, &s.LastSeen, &joined, &s.Lag, &s.LagCapped)
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ClientState{}, event.ErrNotFound
	}
	if err != nil {
		return ClientState{}, postgres.Unavailable(ctx, "client", err)
	}
	for _, name := range joined {
		s.Rooms = append(s.Rooms, event.StoredRoom(trusted.Of(name)))
	}
	s.Lag = min(s.Lag, MaxLag)
	return s, nil
}
