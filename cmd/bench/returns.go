package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// How many clients come back after a restart, and what each of them has missed.
const (
	returning      = 5000
	returningRooms = 500
	roomsOfEach    = 10
	missedInRoom   = 20
)

// returns measures clients that come back after a restart of their instance: how many a second receive all that
// they have missed, and how long each waits for the first event.
func (b *bench) returns(ctx context.Context, r *rig, _ []instance) error {
	if err := storeMembers(ctx, r.postgres.DSN()); err != nil {
		return err
	}
	before, err := r.server(ctx)
	if err != nil {
		return err
	}
	for room := range returningRooms {
		one := strings.Replace(oneEvent, "lobby", "r"+strconv.Itoa(room), 1)
		p := newPoster(before.url+"/v1/default/emit", `{"events":[`+strings.Repeat(one+",", missedInRoom-1)+one+`]}`, 1)
		err := p.post(ctx)
		p.close()
		if err != nil {
			return err
		}
	}
	if err := before.end(); err != nil {
		return err
	}
	after, err := r.server(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var first []time.Duration
	start := time.Now()
	var coming errgroup.Group
	coming.SetLimit(openers)
	for i := range returning {
		coming.Go(func() error {
			took, err := catchUpOn(ctx, after.url+"/v1/default/events?client=c"+strconv.Itoa(i))
			mu.Lock()
			defer mu.Unlock()
			first = append(first, took)
			return err
		})
	}
	if err := coming.Wait(); err != nil {
		return err
	}
	b.rows = append(b.rows, row{what: fmt.Sprintf("%d clients return after a restart, %d events missed in %d rooms", returning, roomsOfEach*missedInRoom, roomsOfEach),
		measured: perSecond(returning / time.Since(start).Seconds()), goal: "2000/s"})
	b.quantiles("time until each of them has its first event", first, "p99 1s")
	return nil
}

// storeMembers stores the clients and their rooms, at the beginning of the log.
func storeMembers(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, s := range []string{
		fmt.Sprintf(`INSERT INTO culvert.clients (namespace_id, name, cursor) SELECT 1, 'c' || i, 0 FROM generate_series(0, %d) i`, returning-1),
		fmt.Sprintf(`INSERT INTO culvert.rooms (namespace_id, name) SELECT 1, 'r' || i FROM generate_series(0, %d) i`, returningRooms-1),
		fmt.Sprintf(`INSERT INTO culvert.memberships (client_id, room_id, since)
			SELECT c.id, r.id, 0 FROM culvert.clients c, generate_series(0, %d) k
			  JOIN culvert.rooms r ON true WHERE r.name = 'r' || (substr(c.name, 2)::integer + k * %d) %% %d`,
			roomsOfEach-1, returningRooms/roomsOfEach, returningRooms),
		`ANALYZE`,
	} {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// catchUpOn opens a stream, reads all that its client has missed, and returns how long the first event took.
func catchUpOn(ctx context.Context, url string) (first time.Duration, err error) {
	start := time.Now()
	s, err := openStream(ctx, url)
	if err != nil {
		return 0, err
	}
	defer s.close()
	for n := range roomsOfEach * missedInRoom {
		if _, err := s.next(); err != nil {
			return 0, err
		}
		if n == 0 {
			first = time.Since(start)
		}
	}
	return first, nil
}
