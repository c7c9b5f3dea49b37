package log

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// roomQuota bounds the rooms of namespaces and clients. It remembers how many rooms each namespace has:
// counting many of them takes long, so they are counted once in countEvery, and the rooms made here meanwhile
// are added. Rooms that other instances make are noticed at the next count.
type roomQuota struct {
	o  Options
	mu sync.Mutex
	of map[int32]roomCount
}

func newRoomQuota(o Options) *roomQuota { return &roomQuota{o: o, of: map[int32]roomCount{}} }

type roomCount struct {
	rooms int
	at    time.Time
}

const countEvery = 10 * time.Second

const countRoomsSQL = `
SELECT count(*)
  FROM culvert.rooms
 WHERE namespace_id = $1 AND culvert.check_ids($2)`

const claimRoomsSQL = `
SELECT culvert.claim_rooms($1, $2, $3, $4, $5)`

// Claim makes the rooms that do not exist yet, if the quota allows it. For rooms that this instance knows it
// does not ask Postgres. Errors: event.ErrRoomQuota, event.ErrUnavailable.
func (lg *Log) Claim(ctx context.Context, ns event.Namespace, client event.Client, rooms []event.Room, quota event.RoomQuota) error {
	return lg.rooms.claim(ctx, ns, client, rooms, quota)
}

func (c *roomQuota) claim(ctx context.Context, ns event.Namespace, client event.Client, rooms []event.Room, quota event.RoomQuota) error {
	if quota == (event.RoomQuota{}) {
		return nil
	}
	full := false
	err := c.o.Lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		id, err := c.o.Lineage.IDs().Namespace(ctx, ns)
		if err != nil {
			return err
		}
		names := c.o.Lineage.IDs().Unknown(id, rooms)
		if len(names) == 0 {
			return nil
		}
		if full, err = c.full(ctx, l, ns, client, id, quota.Namespace, len(names)); err != nil {
			return err
		}
		if full { // rooms that are not known here may exist all the same
			return c.o.DB.Work.Use(ctx, ns, client, postgres.Quick, func(db *pgxpool.Pool) error {
				return db.QueryRow(ctx, allThereSQL, id, names, l.Generation).Scan(&full)
			})
		}
		var maker *string
		if quota.Client > 0 && client != (event.Client{}) { // rooms that a backend makes do not count for a client
			maker = new(client.String())
		}
		var made int
		err = postgres.Repeat(ctx, func() error {
			return c.o.DB.Work.Use(ctx, ns, client, postgres.Quick, func(db *pgxpool.Pool) error {
				return db.QueryRow(ctx, claimRoomsSQL, l.Generation, id, maker, names, quota.Client).Scan(&made)
			})
		})
		if full = made < 0; err == nil && !full {
			c.add(id, made)
		}
		return err
	})
	if err != nil {
		return postgres.Unavailable(ctx, "rooms", err)
	}
	if full {
		return event.ErrRoomQuota
	}
	return nil
}

// LIMIT makes Postgres look up each room by its name: as a join, it might read all rooms of the namespace.
const allThereSQL = `
SELECT EXISTS (
       SELECT
         FROM unnest($2::text[]) w (name)
         LEFT JOIN LATERAL (
              SELECT true AS there FROM culvert.rooms r WHERE r.namespace_id = $1 AND r.name = w.name LIMIT 1) t ON true
        WHERE t.there IS NULL)
  FROM culvert.log
 WHERE culvert.check_ids($3)`

// full reports whether a namespace would have more than most rooms if more rooms were added.
func (c *roomQuota) full(ctx context.Context, l *lineage.Lineage, ns event.Namespace, client event.Client, id int32, most, more int) (bool, error) {
	if most == 0 {
		return false, nil
	}
	c.mu.Lock()
	known, ok := c.of[id]
	c.mu.Unlock()
	if !ok || time.Since(known.at) >= countEvery {
		known.at = time.Now()
		err := c.o.DB.Read.Use(ctx, ns, client, postgres.Long, func(db *pgxpool.Pool) error {
			return db.QueryRow(ctx, countRoomsSQL, id, l.Generation).Scan(&known.rooms)
		})
		if err != nil {
			return false, err
		}
		c.mu.Lock()
		if len(c.of) >= lineage.MostRemembered {
			c.of = map[int32]roomCount{}
		}
		c.of[id] = known
		c.mu.Unlock()
	}
	return known.rooms+more > most, nil
}

// add counts rooms that were made.
func (c *roomQuota) add(id int32, made int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.of[id]; ok {
		known.rooms += made
		c.of[id] = known
	}
}
