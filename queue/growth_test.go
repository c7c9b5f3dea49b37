package queue_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// pages returns how many pages of 8 KiB a statement touches: its cost, without the noise of a clock.
func pages(t *testing.T, conn *pgx.Conn, sql string, args ...any) int {
	t.Helper()
	var out []byte
	args = append([]any{pgx.QueryExecModeExec}, args...)
	if err := conn.QueryRow(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+sql, args...).Scan(&out); err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal(out, &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read
}

const crowdSQL = `
WITH r AS (
       INSERT INTO culvert.rooms (namespace_id, name)
       SELECT 1, 'crowd-' || lpad(i::text, 8, '0') FROM generate_series(%[1]d, %[2]d) i
       RETURNING id),
     c AS (
       INSERT INTO culvert.clients (namespace_id, name, cursor)
       SELECT 1, 'crowd-' || lpad(i::text, 8, '0'), 0 FROM generate_series(%[1]d, %[2]d) i
       RETURNING id)
SELECT (SELECT count(*) FROM r) + (SELECT count(*) FROM c)`

func generationOf(t *testing.T, conn *pgx.Conn) (generation int64) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), `SELECT generation FROM culvert.log`).Scan(&generation); err != nil {
		t.Fatal(err)
	}
	return generation
}

// The cost of a list, of a client's state and of a dispatch does not grow with other rooms and clients, nor
// with slices of old events.
func TestReadsDoNotGrowWithTheStore(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn := connect(t, dsn)
	appendOne(t, q, emit("lobby", "1"))
	generation := generationOf(t, conn)
	cost := func() map[string]int {
		if _, err := conn.Exec(t.Context(), `VACUUM ANALYZE culvert.rooms, culvert.clients, culvert.handlers`); err != nil {
			t.Fatal(err)
		}
		return map[string]int{
			"rooms":    pages(t, conn, queue.RoomsSQL, 1, "crowd-00000100", 100, generation),
			"everyone": pages(t, conn, queue.EveryoneSQL, 1, "*", "crowd-00000100", 100, generation),
			"own room": pages(t, conn, queue.OwnSQL, 1, "@crowd-00000100", "", 100, generation),
			"state":    pages(t, conn, queue.StateSQL, 1, "crowd-00000100", "*", "@crowd-00000100", queue.MaxLag+1, event.MaxOffset, generationOf(t, conn), []string{"none"}),
			"dispatch": pages(t, conn, `SELECT culvert.dispatch(h.id, 2000) FROM culvert.handlers h`),
		}
	}
	sql(t, dsn, fmt.Sprintf(crowdSQL, 1, 1_000),
		`INSERT INTO culvert.handlers (namespace_id, name, pattern, answers, position, live_until)
		 SELECT 1, 'h', 'none', false, max("offset"), now() FROM culvert.events`)
	few := cost()
	sql(t, dsn, fmt.Sprintf(crowdSQL, 1_001, 60_000))
	for range 30 { // each with an event of one of the rooms, so that it cannot be left out
		appendOne(t, q, emit("lobby", "1"))
		sql(t, dsn, `SELECT culvert.rotate('0', 1)`, `SELECT culvert.count_slice()`, `SELECT culvert.count_slice()`)
	}
	sql(t, dsn, `UPDATE culvert.handlers SET position = (SELECT max("offset") FROM culvert.events)`)
	for what, pages := range cost() {
		// Twice: the index of 60,000 names is a level deeper, and statistics differ.
		if most := 2*few[what] + 50; pages > most {
			t.Errorf("%s: %d pages with 60 times as much stored, %d before", what, pages, few[what])
		}
	}
}

// A room's newest offset is known wherever its event is: in a slice that was counted, in one that was not, and
// after it was pruned.
func TestLastEventOfARoomIsKnown(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	last := func() event.Offset {
		t.Helper()
		states, err := q.Rooms(t.Context(), ns, event.Room{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(states, func(s queue.RoomState) bool { return s.Room == room("lobby") })
		return states[i].Last
	}
	stored := appendOne(t, q, emit("lobby", "1")).Cursor.Offset
	steps := []string{
		`SELECT`, `SELECT culvert.rotate('0', 1)`, `SELECT culvert.count_slice()`, `SELECT culvert.count_slice()`,
		`SELECT culvert.prune('0', 0)`, `SELECT culvert.prune('0', 0)`,
	}
	for _, step := range steps {
		sql(t, dsn, step)
		if got := last(); got != stored {
			t.Errorf("after %s the last event is %d, not %d", step, got, stored)
		}
	}
	stored = appendOne(t, q, emit("lobby", "2")).Cursor.Offset
	if got := last(); got != stored {
		t.Errorf("the last event is %d, not %d", got, stored)
	}
}

// The lag of a client that is far behind costs no more than its cap, and events that except the client do not
// count.
func TestLagIsCapped(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	away := client("away")
	subscribe(t, q, queue.Interest{Client: away}).Close()
	lag := func() (int, bool) {
		t.Helper()
		s, err := q.ClientState(t.Context(), ns, away, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s.Lag, s.LagCapped
	}
	own := emit("@away", "1")
	own.Rooms = append(own.Rooms, event.Everyone()) // one event in two of its rooms
	appendOne(t, q, own)
	excepted := emit("*", "2")
	excepted.Except = []event.Room{room("@away")}
	appendOne(t, q, excepted)
	if n, capped := lag(); n != 1 || capped {
		t.Errorf("lag %d, capped %v", n, capped)
	}
	conn := connect(t, dsn)
	fill := func(from, n int) {
		sql(t, dsn, fmt.Sprintf(`
			INSERT INTO culvert.events ("offset", room_id, at, event, data)
			SELECT o.last_value + i, r.id, now(), 'e', '1'
			  FROM culvert.offsets o, culvert.rooms r, generate_series(%d, %d) i
			 WHERE r.name = '*'`, from, from+n-1))
	}
	fill(1, queue.MaxLag)
	if n, capped := lag(); n != queue.MaxLag || !capped {
		t.Errorf("lag %d, capped %v", n, capped)
	}
	ask := func() int {
		return pages(t, conn, queue.StateSQL, 1, "away", "*", "@away", queue.MaxLag+1, event.MaxOffset, generationOf(t, conn), []string{"none"})
	}
	before := ask()
	fill(queue.MaxLag+1, 8*queue.MaxLag)
	if after := ask(); after > 2*before+50 {
		t.Errorf("%d pages at 9 times the cap, %d at the cap", after, before)
	}
}

// The cost of moving an event from SQL does not grow with the number of namespaces, nor with the rooms of its
// own: all emits wait meanwhile.
func TestMovingDoesNotGrow(t *testing.T) {
	dsn := pgtest.Database(t)
	conn := connect(t, dsn)
	cost := func(where string) int {
		t.Helper()
		execute(t, conn, fmt.Sprintf(`SELECT culvert.emit(namespace => %s, room => 'r' || i, event => 'e') FROM generate_series(1, 20) i`, where))
		n := pages(t, conn, `SELECT c.* FROM culvert.lock_log() l, culvert.move_staged_all('1:1:', '0', 0, (SELECT last_value FROM culvert.offsets), '1 hour', l.carrying, 1000, 8000000) c`)
		execute(t, conn, `SELECT setval('culvert.offsets', last_value + 20) FROM culvert.offsets`)
		return n
	}
	cost(`'warm-' || i`)
	before := cost(`'few-' || i`)
	execute(t, conn, `INSERT INTO culvert.namespaces (name) SELECT 'crowd-' || i FROM generate_series(1, 10000) i`)
	if after := cost(`'many-' || i`); after > 2*before {
		t.Errorf("20 events take %d pages among few namespaces, %d among many", before, after)
	}

	cost(`'default'`)
	before = cost(`'default'`)
	execute(t, conn, `SET plan_cache_mode = force_generic_plan`)
	looks := func() (n int) {
		for _, look := range []string{
			fmt.Sprintf(`SELECT culvert.claim_rooms(%d, 1, NULL, '{r1,r2}', 0)`, generationOf(t, conn)),
			`SELECT culvert.online_in(1, '{r1,r2}')`,
			fmt.Sprintf(`SELECT culvert.page(%d, 1, '{r1,r2}', '{0,0}', '{9e15,9e15}'::numeric[]::bigint[], 0, 9e15::bigint, 10, 1000, false)`, generationOf(t, conn)),
		} {
			n += pages(t, conn, look)
		}
		return n
	}
	looks()
	looked := looks()
	// Most namespaces have one room; Postgres assumes the same of every namespace.
	execute(t, conn, `INSERT INTO culvert.rooms (namespace_id, name) SELECT n.id, 'only' FROM culvert.namespaces n`)
	execute(t, conn, `ANALYZE culvert.rooms`)
	execute(t, conn, `INSERT INTO culvert.rooms (namespace_id, name) SELECT 1, 'crowd-' || i FROM generate_series(1, 10000) i`)
	if after := cost(`'default'`); after > 2*before {
		t.Errorf("20 events take %d pages in a namespace of few rooms, %d in one of many", before, after)
	}
	if after := looks(); after > 2*looked {
		t.Errorf("reading two rooms takes %d pages in a namespace of few, %d in one of many", looked, after)
	}
	var left int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM culvert.staged`).Scan(&left); err != nil || left > 0 {
		t.Errorf("%d events were not moved, %v", left, err)
	}
}
