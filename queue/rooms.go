package queue

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
)

// RoomState is what is known of a room.
type RoomState struct {
	Room    event.Room
	Members int
	Last    event.Offset // the offset of its newest event, even if that was pruned; 0: there was none
}

// Rooms whose names begin with a control character are Culvert's own. Slices that were counted (see
// culvert.count_slice) are not searched: r.newest has their newest offset.
const roomsSQL = `
SELECT r.name,
       (SELECT count(*) FROM culvert.memberships m WHERE m.room_id = r.id AND m.until IS NULL),
       greatest(r.pruned, r.newest, (
         SELECT max(e."offset")
           FROM culvert.events e
          WHERE e.room_id = r.id
            AND e."offset" > (SELECT coalesce(max(s.last), -1) FROM culvert.slices s WHERE s.counted)))
  FROM culvert.rooms r
 WHERE culvert.check_ids($4) AND r.namespace_id = $1 AND r.name > $2 AND r.name >= ' '
 ORDER BY r.name
 LIMIT $3`

// Rooms lists the rooms of a namespace, at most limit, in the order of their names'
// bytes and after the given one (zero: from the first). Errors: ErrUnavailable.
func (q *Queue) Rooms(ctx context.Context, ns event.Namespace, after event.Room, limit int) ([]RoomState, error) {
	var states []RoomState
	err := q.lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		id, err := q.lineage.IDs().Namespace(ctx, ns)
		if err != nil {
			return err
		}
		return q.db.Read.Use(ctx, ns, event.Client{}, postgres.Long, func(db *pgxpool.Pool) error {
			rows, err := db.Query(ctx, roomsSQL, postgres.ReadMode(db), id, after.String(), limit, l.Generation)
			if err != nil {
				return err
			}
			states, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s RoomState, err error) {
				var name trusted.Text
				err = row.Scan(&name, &s.Members, &s.Last)
				s.Room = event.StoredRoom(name)
				return s, err
			})
			return err
		})
	})
	return states, postgres.Unavailable(ctx, "rooms", err)
}
