package abuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// opener is a victim that opens a stream with rooms of its own and waits for its first frame.
func (r *rig) opener(namespace string) *victim {
	token := r.token(namespace, "victim")
	return &victim{name: "opening of a stream", do: func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/v1/"+namespace+"/events", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Accept", "text/event-stream")
		res, err := r.http.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		first := make([]byte, len("event: culvert:hello"))
		if _, err := io.ReadFull(res.Body, first); err != nil || res.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d: %s %w", res.StatusCode, first, errors.Join(err))
		}
		return nil
	}}
}

// sql runs a statement as the owner of the database.
func (r *rig) sql(text string, args ...any) {
	r.t.Helper()
	if _, err := r.connect().Exec(r.t.Context(), text, args...); err != nil {
		r.t.Fatal(err)
	}
}

// stored waits until nothing is staged any more.
func (r *rig) stored() {
	r.t.Helper()
	c := r.connect()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		var left int
		if err := c.QueryRow(r.t.Context(), `SELECT count(*) FROM culvert.staged`).Scan(&left); err != nil || time.Now().After(end) {
			r.t.Fatalf("%d events are still staged: %v", left, err)
		}
		if left == 0 {
			return
		}
	}
}

// polls makes each of some clients send `each` requests at once, and returns when all are answered.
func (r *rig) polls(namespace string, clients, each int, path string) {
	var all sync.WaitGroup
	for i := range clients {
		token := r.token(namespace, fmt.Sprint("greedy", i))
		for range each {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
				defer cancel()
				_, _, _ = r.do(ctx, http.MethodGet, token, path, "", nil)
			})
		}
	}
	all.Wait()
}

// All readers share a few connections to Postgres. When these were given out first come, first served, the stream
// of another client took 15 s to open while there were 300 polls of 100 rooms from the earliest event.
func TestReadersDoNotQueueBehindOneWhoReadsEverything(t *testing.T) {
	r := newRig(t)
	events, each := 20_000, 10
	if *full {
		events, each = 200_000, 30
	}
	r.namespace("busy", `{"client_rate":100000}`)
	r.sql(`SELECT culvert.emit(namespace => 'busy', room => 'r' || i % 100, event => 'e', data => to_jsonb(repeat('x', 500))) FROM generate_series(1, $1::integer) i`, events)
	r.stored()
	rooms := make([]string, 100)
	for i := range rooms {
		rooms[i] = fmt.Sprint("rooms=r", i)
	}
	path := "/v1/busy/events?from=earliest&wait=0&limit=1000&" + strings.Join(rooms, "&")
	v := r.opener("quiet")
	calm := v.calm(t, 50)
	m := r.watch()
	attacked := v.during(t, func() { r.polls("busy", 10, each, path) })
	m.end()
	v.unharmed(t, calm, attacked)
	// A page has about 4 MiB; those not written yet wait for their client.
	m.within(1024*mib, 256*mib)
}

// For an ask without a count, the clients that are expected to reply are looked up among all that are online. Twelve
// batches of 100 such asks, with 10,000 clients online, delayed everybody by 14.5 s.
func TestAsksOfManyClientsHarmNobody(t *testing.T) {
	r := newRig(t)
	online, batches := 2_000, 6
	if *full {
		online, batches = 10_000, 12
	}
	r.namespace("busy", `{"client_rate":100000}`)
	r.namespace("quiet", `{}`)
	r.sql(`WITH made AS (
	          INSERT INTO culvert.clients (namespace_id, name, cursor, online)
	          SELECT n.id, 'client-' || i, 0, true FROM culvert.namespaces n, generate_series(1, $1::integer) i WHERE n.name = 'busy'
	          RETURNING id)
	       INSERT INTO culvert.leases (client_id, instance, until) SELECT id, 'elsewhere', now() + interval '1 hour' FROM made`, online)
	ask := func(i int) string {
		return fmt.Sprintf(`{"room":"*","event":"question","data":%d,"reply":{"timeout":60}}`, i)
	}
	for name, batch := range map[string]func(i int) string{
		"the same rooms": ask,
		"each of its own": func(i int) string {
			return strings.Replace(ask(i), `"data"`, fmt.Sprintf(`"except":["@client-%d"],"data"`, i+1), 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			emits := make([]string, 100)
			for i := range emits {
				emits[i] = batch(i)
			}
			token, body := r.token("busy", "greedy"), []byte(`{"events":[`+strings.Join(emits, ",")+"]}")
			for _, v := range []*victim{r.opener("quiet"), r.emitter("quiet")} {
				calm := v.calm(t, 50)
				var statuses map[int]int
				attacked := v.during(t, func() { statuses = r.crowd(batches, token, "/v1/busy/emit", body) })
				// A request that takes longer than a read may gets 503, but has used its time nevertheless.
				if statuses[http.StatusCreated]+statuses[http.StatusServiceUnavailable] != batches {
					t.Errorf("the attack was answered %v, so it is not the attack that was meant", statuses)
				}
				v.unharmed(t, calm, attacked)
			}
		})
	}
}

// A client's reads look at all rooms that it is in or was in. A poll of a client with 37,100 old
// memberships took 1.4 s.
func TestOneWhoWasInManyRoomsHarmsNobody(t *testing.T) {
	r := newRig(t)
	left, each := 5_000, 10
	if *full {
		left, each = 40_000, 30
	}
	r.namespace("busy", `{"client_rate":100000}`)
	r.sql(`SELECT culvert.emit(namespace => 'busy', room => 'r' || i % 1000, event => 'e', data => '1') FROM generate_series(1, 1000) i`)
	r.stored()
	r.sql(`WITH made AS (
	          INSERT INTO culvert.clients (namespace_id, name, cursor)
	          SELECT n.id, 'greedy' || i, 0 FROM culvert.namespaces n, generate_series(0, 4) i WHERE n.name = 'busy'
	          RETURNING id)
	       INSERT INTO culvert.memberships (client_id, room_id, since, until)
	       SELECT m.id, r.id, (SELECT slice FROM culvert.log) * 1000000000::bigint + i, (SELECT slice FROM culvert.log) * 1000000000::bigint + i + 5
	         FROM made m, culvert.rooms r, generate_series(1, $1::integer / 1000) i
	        WHERE r.namespace_id = (SELECT id FROM culvert.namespaces WHERE name = 'busy') AND r.name LIKE 'r%'`, left)
	v := r.opener("quiet")
	calm := v.calm(t, 50)
	attacked := v.during(t, func() { r.polls("busy", 5, each, "/v1/busy/events?from=earliest&wait=0") })
	v.unharmed(t, calm, attacked)
}

// Events may except many rooms, and a client may be in many. Comparing each with each took
// 1.3 s a page; during that time nobody on the instance could begin to read, and nothing was delivered.
func TestExceptionsOfManyRoomsHarmNobody(t *testing.T) {
	r := newRig(t)
	each := 4
	if *full {
		each = 30
	}
	r.namespace("busy", `{"client_rate":100000}`)
	r.sql(`SELECT culvert.emit(namespace => 'busy', room => 'mine-1', event => 'e', data => '1',
	                           except_rooms => (SELECT array_agg('other-' || n) FROM generate_series(1, 100) n)) FROM generate_series(1, 1000) i`)
	r.sql(`SELECT culvert.emit(namespace => 'busy', room => 'mine-' || i, event => 'e', data => '1') FROM generate_series(2, 1000) i`)
	r.stored()
	r.sql(`WITH made AS (
	          INSERT INTO culvert.clients (namespace_id, name, cursor)
	          SELECT n.id, 'greedy' || i, 0 FROM culvert.namespaces n, generate_series(0, 4) i WHERE n.name = 'busy'
	          RETURNING id)
	       INSERT INTO culvert.memberships (client_id, room_id, since)
	       SELECT m.id, r.id, 0 FROM made m, culvert.rooms r
	        WHERE r.namespace_id = (SELECT id FROM culvert.namespaces WHERE name = 'busy') AND r.name LIKE 'mine-%'`)
	v := r.opener("quiet")
	calm := v.calm(t, 50)
	attacked := v.during(t, func() { r.polls("busy", 5, each, "/v1/busy/events?from=earliest&wait=0&limit=1000") })
	v.unharmed(t, calm, attacked)
}
