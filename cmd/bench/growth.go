package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// growth measures the same emits, pages, joins and polls with few and with many stored clients and rooms.
func (b *bench) growth(ctx context.Context, r *rig, all []instance) error {
	const few, many, callers = 1_000, 1_000_000, 8
	if err := fill(ctx, all[0].queue, 20*few); err != nil {
		return err
	}
	log := all[0].queue.Head().Log
	works := []struct {
		what string
		// request makes one of the requests that are compared; n is random, below the number of clients and rooms.
		request func(ctx context.Context, base string, n int) (*http.Request, error)
		status  int
	}{
		{"emits to a room", func(ctx context.Context, base string, n int) (*http.Request, error) {
			return newPost(ctx, base+"/emit", strings.Replace(oneEvent, "lobby", "r"+strconv.Itoa(n), 1))
		}, http.StatusCreated},
		{"pages of 100 events of a room", func(ctx context.Context, base string, n int) (*http.Request, error) {
			return newRequest(ctx, http.MethodGet, base+"/rooms/lobby/events?limit=100&after="+log+":"+strconv.Itoa(n%few*10))
		}, http.StatusOK},
		{"joins", func(ctx context.Context, base string, n int) (*http.Request, error) {
			return newRequest(ctx, http.MethodPut, base+"/rooms/r"+strconv.Itoa(rand.IntN(few))+"/clients/c"+strconv.Itoa(n))
		}, http.StatusOK},
		{"polls of clients that come back", func(ctx context.Context, base string, n int) (*http.Request, error) {
			return newRequest(ctx, http.MethodGet, base+"/events?wait=0&limit=1&client=c"+strconv.Itoa(n))
		}, http.StatusOK},
	}
	base := all[0].url + "/v1/default"
	before := make([]float64, len(works))
	stored := 0
	for _, size := range []int{few, many} {
		fmt.Fprintf(b.stderr, "culvert: storing %d clients and rooms …\n", size)
		if err := storeMany(ctx, r.postgres.DSN(), stored, size); err != nil {
			return err
		}
		stored = size
		for i, w := range works {
			p := newPoster("", "", callers)
			measured, err := rate(ctx, callers, b.duration, func(ctx context.Context) (int, error) {
				req, err := w.request(ctx, base, rand.IntN(size))
				if err != nil {
					return 0, err
				}
				return 1, p.do(req, w.status)
			})
			p.close()
			if err != nil {
				return fmt.Errorf("%s: %w", w.what, err)
			}
			if size == few {
				before[i] = measured
				continue
			}
			b.compare(fmt.Sprintf("%s, %d clients and rooms, compared with %d", w.what, many, few), measured, before[i], "80 %")
		}
	}
	return nil
}

// storeMany stores clients and rooms with the numbers from up to to-1, each client in one room.
func storeMany(ctx context.Context, dsn string, from, to int) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	numbers := fmt.Sprintf(`generate_series(%d, %d) i`, from, to-1)
	for _, s := range []string{
		`INSERT INTO culvert.clients (namespace_id, name, cursor) SELECT 1, 'c' || i, (SELECT max("offset") FROM culvert.events) FROM ` + numbers,
		`INSERT INTO culvert.rooms (namespace_id, name) SELECT 1, 'r' || i FROM ` + numbers,
		`INSERT INTO culvert.memberships (client_id, room_id, since)
		 SELECT c.id, r.id, 0 FROM ` + numbers + ` JOIN culvert.clients c ON c.namespace_id = 1 AND c.name = 'c' || i JOIN culvert.rooms r ON r.namespace_id = 1 AND r.name = 'r' || i`,
		`VACUUM ANALYZE culvert.clients, culvert.rooms, culvert.memberships, culvert.events`,
		`CHECKPOINT`,
	} {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
