package abuse

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The queues of the server hold up to 64 MiB each, of which one client gets two thirds. In addition, a
// request is in the buffer of its body, and a batch of 2 MiB in the message
// to Postgres. The backend has the batch as arguments and one or two copies of it. Go and Postgres
// also use memory before they free it. So the bound is 256 MiB each, whatever the number of
// rooms.
const (
	serverBound   = 256 * mib
	backendsBound = 256 * mib
)

// pick returns the size of an attack.
func pick(small, large int) int {
	if *full {
		return large
	}
	return small
}

// list returns n names of rooms, in JSON.
func list(n int) string {
	rooms := make([]string, n)
	for i := range rooms {
		rooms[i] = fmt.Sprintf(`"room-%d"`, i)
	}
	return strings.Join(rooms, ",")
}

func large(bytes int) string { return `"` + strings.Repeat("x", bytes-2) + `"` }

// scene is an attacker and a victim, each in a namespace of its own.
type scene struct {
	*rig
	token  string // the attacker's
	victim *victim
	calm   latencies

	server, backends int64 // how much memory they may take
}

func newScene(t *testing.T, who func(r *rig) *victim) *scene {
	t.Helper()
	r := newRig(t)
	r.namespace("attacker", `{}`)
	r.namespace("victim", `{}`)
	s := &scene{rig: r, token: r.token("attacker", "mallory"), victim: who(r), server: serverBound, backends: backendsBound}
	s.calm = s.victim.calm(t, 100)
	return s
}

func emitting(r *rig) *victim { return r.emitter("victim") }

// under runs the attack at the same time as the victim, and checks the bounds.
func (s *scene) under(t *testing.T, attack func()) {
	t.Helper()
	m := s.watch()
	attacked := s.victim.during(t, attack)
	m.end()
	m.within(s.server, s.backends)
	s.victim.unharmed(t, s.calm, attacked)
}

// 16 requests of 262 KB, each to 100 rooms: an event to many rooms is held once.
func TestOneTokenManyRooms(t *testing.T) {
	s := newScene(t, emitting)
	body := fmt.Appendf(nil, `{"rooms":[%s],"event":"large","data":%s}`, list(100), large(256<<10))
	var statuses map[int]int
	s.under(t, func() { statuses = s.crowd(pick(16, 100), s.token, "/v1/attacker/emit", body) })
	if statuses[http.StatusCreated] == 0 || statuses[http.StatusInternalServerError] > 0 {
		t.Errorf("large events to 100 rooms were answered: %v", statuses)
	}
}

// Batches may address the maximum number of rooms. Storing their rows does not delay other clients for long.
func TestBatchesOfManyRooms(t *testing.T) {
	s := newScene(t, emitting)
	one := fmt.Sprintf(`{"rooms":[%s],"event":"e","data":1}`, list(100))
	batch := func(events int) []byte {
		return []byte(`{"events":[` + strings.TrimSuffix(strings.Repeat(one+",", events), ",") + `]}`)
	}
	if status, text, err := s.post(t.Context(), s.token, "/v1/attacker/emit", batch(500)); status != http.StatusUnprocessableEntity || !strings.Contains(text, "2000") {
		t.Errorf("a batch of 50,000 rooms is answered: %d %s %v", status, text, err)
	}
	var statuses map[int]int
	s.under(t, func() { statuses = s.crowd(pick(4, 20), s.token, "/v1/attacker/emit", batch(20)) })
	if statuses[http.StatusCreated] == 0 || statuses[http.StatusInternalServerError] > 0 {
		t.Errorf("batches of 2,000 rooms were answered: %v", statuses)
	}
}

// Joins and leaves of many clients at once, which are entered into the log like emits.
func TestJoinsOfManyClients(t *testing.T) {
	s := newScene(t, emitting)
	clients := pick(200, 1000)
	refused := make(chan string, clients)
	s.under(t, func() {
		var all sync.WaitGroup
		for i := range clients {
			token := s.rig.token("attacker", fmt.Sprint("member-", i))
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
				defer cancel()
				for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPut, http.MethodDelete} {
					status, text, err := s.do(ctx, method, token, "/v1/attacker/rooms/crowded/clients/me", "", nil)
					if err != nil || status != http.StatusOK && status != http.StatusServiceUnavailable {
						refused <- fmt.Sprintf("%s: %d %s %v", method, status, text, err)
						return
					}
				}
			})
		}
		all.Wait()
	})
	close(refused)
	if one, ok := <-refused; ok {
		t.Errorf("%d of %d clients were refused: %s", len(refused)+1, clients, one)
	}
}

// Volatile events are bounded by their bytes: those that wait to be passed to other
// instances, and those that wait for readers that do not read.
func TestVolatileFlood(t *testing.T) {
	s := newScene(t, func(r *rig) *victim {
		token := r.token("victim", "victim")
		return &victim{name: "volatile emit", do: func(ctx context.Context) error {
			status, text, err := r.post(ctx, token, "/v1/victim/emit", []byte(`{"room":"home","event":"mine","data":1,"volatile":true}`))
			if err == nil && status >= 300 {
				err = fmt.Errorf("status %d: %s", status, text)
			}
			return err
		}}
	})
	if !*full {
		s.server, s.backends = 128*mib, 80*mib // 10 MiB in bodies and waiting events, and 2 MiB in a backend
	}
	for range 8 {
		s.deafReader("attacker", s.token)
	}
	body := fmt.Appendf(nil, `{"room":"@mallory","event":"large","data":%s,"volatile":true}`, large(256<<10))
	var statuses map[int]int
	s.under(t, func() { statuses = s.crowd(pick(40, 1500), s.token, "/v1/attacker/emit", body) })
	if statuses[http.StatusAccepted] == 0 || statuses[http.StatusInternalServerError] > 0 {
		t.Errorf("volatile events were answered: %v", statuses)
	}
}

// deafReader opens a stream that nobody reads.
func (r *rig) deafReader(namespace, token string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+"/v1/"+namespace+"/events", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	res, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = res.Body.Close() })
}

// Waiting replies are bounded by bytes, and the culvert:reply events that announce them
// are moved in pieces.
func TestFloodOfReplies(t *testing.T) {
	s := newScene(t, emitting)
	status, text, err := s.post(t.Context(), apiKey, "/v1/attacker/emit", []byte(`{"room":"asked","event":"q","reply":{"timeout":600,"count":10000}}`))
	var asked struct{ Offset int64 }
	if err != nil || status != http.StatusCreated || json.Unmarshal([]byte(text), &asked) != nil {
		t.Fatalf("ask: %d %s %v", status, text, err)
	}
	replies := pick(40, 1000)
	tokens := make([]string, replies)
	for i := range tokens {
		tokens[i] = s.rig.token("attacker", fmt.Sprint("m", i))
	}
	body := fmt.Appendf(nil, `{"offset":%d,"data":%s}`, asked.Offset, large(256<<10))
	var mu sync.Mutex
	statuses := map[int]int{}
	s.under(t, func() {
		var all sync.WaitGroup
		for _, token := range tokens {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
				defer cancel()
				status, _, _ := s.post(ctx, token, "/v1/attacker/reply", body)
				mu.Lock()
				defer mu.Unlock()
				statuses[status]++
			})
		}
		all.Wait()
	})
	if statuses[http.StatusCreated] == 0 || statuses[http.StatusInternalServerError] > 0 {
		t.Errorf("replies were answered: %v", statuses)
	}
}

// An allowed transaction of a role that may only emit: 1,000 events of 16 KiB, each to 100 rooms. They are
// moved in pieces, between the emits of others.
func TestSQLTransactionOfManyRooms(t *testing.T) {
	transactionHarmsNobody(t, pick(150, 1000), 16000, `'r' || r`)
}

// Making a room takes Postgres several times as long as storing a row.
func TestSQLTransactionOfNewRooms(t *testing.T) {
	transactionHarmsNobody(t, pick(150, 1000), 16, `'r' || e || '-' || r`)
}

// transactionHarmsNobody emits events from SQL in one transaction, each to 100 rooms, and checks that a client of
// another namespace is not slowed. room is an SQL expression for the name of room r of event e.
func transactionHarmsNobody(t *testing.T, events, data int, room string) {
	s := newScene(t, emitting)
	owner := s.connect()
	for _, stmt := range []string{
		`CREATE ROLE application`, `GRANT USAGE ON SCHEMA culvert TO application`, `GRANT EXECUTE ON FUNCTION culvert.emit TO application`,
		`SET ROLE application`,
	} {
		if _, err := owner.Exec(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	s.under(t, func() {
		_, err := owner.Exec(context.Background(), `
			SELECT culvert.emit(namespace => 'attacker', event => 'e', data => to_jsonb(repeat('x', $2)),
			                    rooms => (SELECT array_agg(`+room+`) FROM generate_series(1, 100) r))
			  FROM generate_series(1, $1) e`, events, data)
		if err != nil {
			t.Error(err)
			return
		}
		s.awaitCount(s.connect(), `SELECT count(*) FROM culvert.staged`, 0)
	})
	s.awaitCount(s.connect(), `SELECT count(DISTINCT "offset") FROM culvert.events WHERE event = 'e'`, events)
}

// awaitCount waits until a query returns the count `want`.
func (r *rig) awaitCount(c *pgx.Conn, query string, want int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); ; <-tick.C {
		var n int
		err := c.QueryRow(context.Background(), query).Scan(&n)
		if err == nil && n == want {
			return
		}
		if err != nil || time.Since(start) > 2*patience {
			r.t.Errorf("%s: %d instead of %d, %v", query, n, want, err)
			return
		}
	}
}

// Volatile events that except many rooms, for streams of clients in many rooms: other readers do
// not wait while the rooms are compared.
func TestVolatileExceptionsHarmNobody(t *testing.T) {
	s := newScene(t, func(r *rig) *victim { return r.opener("victim") })
	s.rig.namespace("attacker", `{"client_rate":100000}`)
	s.sql(`INSERT INTO culvert.rooms (namespace_id, name)
	       SELECT n.id, 'mine-' || i FROM culvert.namespaces n, generate_series(1, 1000) i WHERE n.name = 'attacker'`)
	s.sql(`WITH made AS (
	          INSERT INTO culvert.clients (namespace_id, name, cursor)
	          SELECT n.id, 'mallory', 0 FROM culvert.namespaces n WHERE n.name = 'attacker'
	          RETURNING id)
	       INSERT INTO culvert.memberships (client_id, room_id, since)
	       SELECT m.id, r.id, 0 FROM made m, culvert.rooms r
	        WHERE r.namespace_id = (SELECT id FROM culvert.namespaces WHERE name = 'attacker') AND r.name LIKE 'mine-%'`)
	for range 30 {
		s.deafReader("attacker", s.token)
	}
	others := strings.ReplaceAll(list(100), "room-", "other-")
	one := fmt.Sprintf(`{"room":"mine-1","except":[%s],"event":"e","data":1,"volatile":true}`, others)
	body := []byte(`{"events":[` + strings.TrimSuffix(strings.Repeat(one+",", 200), ",") + `]}`)
	var statuses map[int]int
	s.under(t, func() { statuses = s.crowd(pick(10, 100), s.token, "/v1/attacker/emit", body) })
	if statuses[http.StatusAccepted] == 0 {
		t.Errorf("volatile events were answered: %v", statuses)
	}
}
