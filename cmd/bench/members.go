package bench

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// joins measures joins over HTTP. Each is an entry of the log.
func (b *bench) joins(ctx context.Context, r *rig, all []instance) error {
	in := all[0]
	p := newPoster(in.url+"/v1/default/emit", oneEvent, b.callers)
	defer p.close()
	emits, err := rate(ctx, b.callers, b.duration, func(ctx context.Context) (int, error) { return 1, p.post(ctx) })
	if err != nil {
		return err
	}
	var n atomic.Int64
	joins, err := rate(ctx, b.callers, b.duration, func(ctx context.Context) (int, error) {
		i := n.Add(1) // every client joins ten rooms
		url := in.url + "/v1/default/rooms/r" + strconv.FormatInt(i%1000, 10) + "/clients/c" + strconv.FormatInt(i/10, 10)
		req, err := newRequest(ctx, http.MethodPut, url)
		if err != nil {
			return 0, err
		}
		return 1, p.do(req, http.StatusOK)
	})
	if err != nil {
		return err
	}
	b.compare("joins over HTTP, beside durable emits", joins, emits, "")
	return nil
}

// onlineClients is how many clients presence is measured with.
const onlineClients = 10_000

// presence measures the statements that keep clients online: all clients go online, renew their leases (an
// instance does so every 10 seconds), and go offline.
func (b *bench) presence(ctx context.Context, r *rig, all []instance) error {
	conn, err := pgx.Connect(ctx, r.postgres.DSN())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	const everybody = `ARRAY(SELECT namespace_id FROM culvert.clients ORDER BY name COLLATE "C"), ARRAY(SELECT name FROM culvert.clients ORDER BY name COLLATE "C")`
	for _, s := range []string{
		fmt.Sprintf(`INSERT INTO culvert.clients (namespace_id, name, cursor) SELECT 1, 'c' || i, 0 FROM generate_series(1, %d) i`, onlineClients),
		`INSERT INTO culvert.rooms (namespace_id, name) SELECT 1, 'r' || i FROM generate_series(0, 99) i`,
		`INSERT INTO culvert.memberships (client_id, room_id, since) SELECT c.id, r.id, 0 FROM culvert.clients c JOIN culvert.rooms r ON r.name = 'r' || c.id % 100`,
		`UPDATE culvert.namespaces SET presence = ARRAY['r*']`,
		`ANALYZE`,
	} {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	lease := func(interval string) func() error {
		return func() error {
			_, err := conn.Exec(ctx, `SELECT culvert.lease('bench', `+everybody+`, array_fill('`+interval+`'::interval, ARRAY[`+strconv.Itoa(onlineClients)+`]))`)
			return err
		}
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"10,000 clients come online, each told to one room", lease("30 s")},
		{"10,000 leases renewed, every 10 s", lease("30 s")},
		{"10,000 clients go, each told to one room", lease("0")},
	} {
		start := time.Now()
		if err := step.do(); err != nil {
			return err
		}
		took := time.Since(start)
		b.rows = append(b.rows, row{
			step.what, took.Round(time.Millisecond).String(), "10s of one connection",
			fmt.Sprintf("%.1f %%", 100*took.Seconds()/10), "",
		})
	}
	return nil
}
