package queue

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue/tail"
)

// Joining says how a client joins.
type Joining struct {
	// Own: the client joins by its own token. The membership then holds only while the client's present token
	// allows the room (Interest.May). A membership that a backend makes holds until somebody ends it, and
	// replaces the client's own.
	Own bool
	// MaxRooms is how many rooms the client may be in; 0 means no limit.
	MaxRooms int
	// Quota bounds the rooms that joins may make. With Own they count for the client.
	Quota event.RoomQuota
}

// Join puts a client into a room: events after the returned position are for it. It is committed when Join
// returns, and holds on open streams of every instance. A client that is in the room already stays in it from
// where it was. maxRooms is how many rooms a client may be in; 0 means no limit. The membership is a backend's:
// see Joining. Errors: ErrTooManyRooms, ErrOverloaded, ErrUnavailable, ErrClosed, an *InvalidError for a
// reserved room.
func (q *Queue) Join(ctx context.Context, ns event.Namespace, r event.Room, c event.Client, maxRooms int) (event.Cursor, error) {
	return q.JoinAs(ctx, ns, r, c, Joining{MaxRooms: maxRooms})
}

// JoinAs is Join as j says. Errors as for Join.
func (q *Queue) JoinAs(ctx context.Context, ns event.Namespace, r event.Room, c event.Client, j Joining) (event.Cursor, error) {
	if err := joinable(r); err != nil {
		return event.Cursor{}, err
	}
	maker := event.Client{}
	if j.Own {
		maker = c
	}
	if err := q.log.Claim(ctx, ns, maker, []event.Room{r}, j.Quota); err != nil {
		return event.Cursor{}, err
	}
	m := tail.Membership{Name: tail.Join, Namespace: ns, Client: c, Room: r, Own: j.Own}
	position, _, err := q.log.Change(ctx, m, j.MaxRooms)
	if err == nil && position.Offset < 0 {
		err = event.ErrTooManyRooms
	}
	if err != nil {
		return event.Cursor{}, err
	}
	return position, nil
}

// Leave takes a client out of a room: events up to the returned position are still for it. Leaving again
// changes nothing and returns the same position as long as it is remembered. Errors as for Join.
func (q *Queue) Leave(ctx context.Context, ns event.Namespace, r event.Room, c event.Client) (event.Cursor, error) {
	if err := joinable(r); err != nil {
		return event.Cursor{}, err
	}
	position, _, err := q.log.Change(ctx, tail.Membership{Name: tail.Leave, Namespace: ns, Client: c, Room: r}, 0)
	if err != nil {
		return event.Cursor{}, err
	}
	return position, nil
}

// Forget deletes a client with its cursor and memberships, and ends its subscriptions on every instance with
// ErrForgotten. Errors: ErrNotFound, and as for Join.
func (q *Queue) Forget(ctx context.Context, ns event.Namespace, c event.Client) error {
	_, changed, err := q.log.Change(ctx, tail.Membership{Name: tail.Forget, Namespace: ns, Client: c}, 0)
	if err == nil && !changed {
		err = event.ErrNotFound
	}
	return err
}

func joinable(r event.Room) error {
	if r.Reserved() {
		return event.Invalid("room", `is reserved: "*" and names beginning with "@" cannot be joined or left`)
	}
	return nil
}

// Member is a client in a room.
type Member struct {
	Client event.Client
	Online bool
	Since  event.Cursor // events after it are for the client
}

const membersSQL = `
SELECT c.name, culvert.is_online(c.id), m.since, l.id
  FROM culvert.log l, culvert.rooms r
  JOIN culvert.memberships m ON m.room_id = r.id AND m.until IS NULL
  JOIN culvert.clients c ON c.id = m.client_id
 WHERE culvert.check_ids($5) AND r.namespace_id = $1 AND r.name = $2 AND c.name > $3
 ORDER BY c.name
 LIMIT $4`

// Every client is a member of Everyone and of its own room, without rows in culvert.memberships.
const everyoneSQL = `
SELECT c.name, culvert.is_online(c.id), 0::bigint, l.id
  FROM culvert.log l, culvert.clients c
 WHERE culvert.check_ids($5) AND c.namespace_id = $1 AND $2 = '*' AND c.name > $3
 ORDER BY c.name
 LIMIT $4`

const ownSQL = `
SELECT c.name, culvert.is_online(c.id), 0::bigint, l.id
  FROM culvert.log l, culvert.clients c
 WHERE culvert.check_ids($5) AND c.namespace_id = $1 AND c.name = substr($2, 2) AND c.name > $3
 LIMIT $4`

// Members lists the clients in a room, at most limit, in the order of their names'
// bytes and after the given one (zero: from the first). Errors: ErrUnavailable.
func (q *Queue) Members(ctx context.Context, ns event.Namespace, r event.Room, after event.Client, limit int) ([]Member, error) {
	sql := membersSQL
	switch {
	case r == event.Everyone():
		sql = everyoneSQL
	case r.Reserved():
		sql = ownSQL
	}
	var members []Member
	err := q.lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		id, err := q.lineage.IDs().Namespace(ctx, ns)
		if err != nil {
			return err
		}
		return q.db.Read.Use(ctx, ns, event.Client{}, postgres.Long, func(db *pgxpool.Pool) error {
			rows, err := db.Query(ctx, sql, id, r.String(), after.String(), limit, l.Generation)
			if err != nil {
				return err
			}
			members, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m Member, err error) {
				var name trusted.Text
				err = row.Scan(&name, &m.Online, &m.Since.Offset, &m.Since.Log)
				m.Client = event.StoredClient(name)
				return m, err
			})
			return err
		})
	})
	return members, postgres.Unavailable(ctx, "members", err)
}
