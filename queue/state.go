package queue

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// ClientState is what is known of a client.
type ClientState struct {
	Cursor    Cursor
	Lag       int  // events for it after the cursor, counted up to MaxLag
	LagCapped bool // there are more than Lag
	Rooms     []Room
	Online    bool
	LastSeen  time.Time
}

// MaxLag bounds the count in ClientState.
const MaxLag = 100_000

// The rooms of a client and its stays in them are one list; $3 and $4 are the rooms
// nobody has to join.
const stateSQL = `
WITH client AS (
       SELECT c.*, n.floor
         FROM culvert.clients c
         JOIN culvert.namespaces n ON n.id = c.namespace_id
        WHERE c.namespace_id = $1 AND c.name = $2 AND n.name IS NOT NULL),
     stays AS (
       SELECT r.id, r.name, m.since, coalesce(m.until, $6) AS until
         FROM client c
         JOIN culvert.memberships m ON m.client_id = c.id
         JOIN culvert.rooms r ON r.id = m.room_id
        UNION ALL
       SELECT r.id, r.name, 0, $6
         FROM culvert.rooms r
        WHERE r.namespace_id = $1 AND r.name IN ($3, $4))
SELECT l.id, c.cursor, culvert.is_online(c.id), c.seen_at,
       ARRAY(SELECT name FROM stays WHERE until = $6 AND name NOT IN ($3, $4) ORDER BY name COLLATE "C"),
       (SELECT count(*)
          FROM (SELECT DISTINCT e."offset"
                  FROM stays s
                  JOIN culvert.events e
                    ON e.room_id = s.id AND e."offset" > greatest(c.cursor, c.floor) AND e."offset" > s.since AND e."offset" <= s.until
                 WHERE NOT EXISTS (
                       SELECT
                         FROM stays x
                        WHERE x.name = ANY (e.except_) AND e."offset" > x.since AND e."offset" <= x.until)
                 LIMIT $5) behind)
  FROM culvert.log l, client c
 WHERE culvert.check_ids($7)`

// ClientState reads a client. Errors: ErrNotFound, ErrUnavailable.
func (q *Queue) ClientState(ctx context.Context, ns Namespace, c Client) (ClientState, error) {
	s := ClientState{Rooms: []Room{Everyone, c.OwnRoom()}}
	var joined []string
	err := q.withIDs(ctx, func(l *lineage) error {
		id, err := q.ids.namespace(ctx, ns)
		if err != nil {
			return err
		}
		return q.db.read.QueryRow(ctx, stateSQL, readMode(q.db.read), id, c.name, Everyone.name, c.OwnRoom().name, MaxLag+1, MaxOffset, l.generation).
			Scan(&s.Cursor.Log, &s.Cursor.Offset, &s.Online, &s.LastSeen, &joined, &s.Lag)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ClientState{}, ErrNotFound
	}
	if err != nil {
		return ClientState{}, unavailable(ctx, "client", err)
	}
	for _, name := range joined {
		s.Rooms = append(s.Rooms, Room{name})
	}
	if s.Lag > MaxLag {
		s.Lag, s.LagCapped = MaxLag, true
	}
	return s, nil
}
