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
	Lag       int  // events of its rooms after the cursor, counted up to MaxLag
	LagCapped bool // there are more than Lag
	Rooms     []Room
	Online    bool
	LastSeen  time.Time
}

// MaxLag bounds the count in ClientState.
const MaxLag = 100_000

const stateSQL = `
SELECT l.id, c.cursor, coalesce(c.online_until > clock_timestamp(), false), c.seen_at,
       (SELECT count(*)
          FROM (SELECT DISTINCT e."offset"
                  FROM culvert.rooms r
                  JOIN culvert.events e ON e.room_id = r.id AND e."offset" > c.cursor
                 WHERE r.namespace_id = c.namespace_id AND r.name = ANY ($3)
                   AND (e.except_ IS NULL OR NOT e.except_ && $3)
                 LIMIT $4) behind)
  FROM culvert.log l, culvert.clients c
 WHERE c.namespace_id = $1 AND c.name = $2`

// ClientState reads a client. Errors: ErrNotFound, ErrUnavailable.
func (q *Queue) ClientState(ctx context.Context, ns Namespace, c Client) (ClientState, error) {
	id, err := q.ids.namespace(ctx, ns)
	if err != nil {
		return ClientState{}, err
	}
	s := ClientState{Rooms: []Room{Everyone, c.OwnRoom()}}
	names := []string{Everyone.name, c.OwnRoom().name}
	err = q.db.read.QueryRow(ctx, stateSQL, readMode(q.db.read), id, c.name, names, MaxLag+1).
		Scan(&s.Cursor.Log, &s.Cursor.Offset, &s.Online, &s.LastSeen, &s.Lag)
	if errors.Is(err, pgx.ErrNoRows) {
		return ClientState{}, ErrNotFound
	}
	if err != nil {
		return ClientState{}, unavailable(ctx, "client", err)
	}
	if s.Lag > MaxLag {
		s.Lag, s.LagCapped = MaxLag, true
	}
	return s, nil
}
