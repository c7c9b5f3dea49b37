package queue_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
)

// byKey returns an emit with a key of the class that backends and SQL share.
func byKey(k, text string) event.Emit {
	e := emit("orders", "%s", text)
	e.Key = key(k)
	return e
}

// bySQL emits the same from SQL.
func bySQL(t testing.TB, c *pgx.Conn, k, text string) (fresh bool, err error) {
	t.Helper()
	err = c.QueryRow(t.Context(), `SELECT culvert.emit(room => 'orders', event => 'greeting', data => $1, key => $2)`, text, k).Scan(&fresh)
	return fresh, err
}

// storedOnce fails unless each of n keys has one event in the room.
func storedOnce(t *testing.T, q *queue.Queue, n int) {
	t.Helper()
	seen := map[string]int{}
	var at event.Cursor
	for more := true; more; {
		b := must[event.Batch](t)(q.History(t.Context(), ns, room("orders"), event.Client{}, at, 1_000))
		for _, e := range b.Events {
			seen[e.Data]++
		}
		at, more = b.Cursor, b.More
	}
	for data, times := range seen {
		if times != 1 {
			t.Errorf("%s is stored %d times", data, times)
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d keys are stored", len(seen), n)
	}
}

// The same key is used by HTTP on two instances and by SQL, all at the same time.
func TestAKeyByEveryWayAtOnceIsOneEvent(t *testing.T) {
	dsn := pgtest.Database(t)
	instances := []*queue.Queue{open(t, dsn), open(t, dsn)}
	conn := connect(t, dsn)
	const n = 400
	offsets := map[event.Offset]bool{}
	for i := range n {
		k := strconv.Itoa(i)
		var results [2]event.Result
		var work sync.WaitGroup
		for j, q := range instances {
			work.Go(func() {
				r, err := q.Append(t.Context(), []event.Emit{byKey(k, k)})
				if err != nil {
					t.Errorf("key %s by HTTP: %v", k, err)
					return
				}
				results[j] = r[0]
			})
		}
		if _, err := bySQL(t, conn, k, k); err != nil {
			t.Errorf("key %s by SQL: %v", k, err)
		}
		work.Wait()
		if results[0].Cursor != results[1].Cursor {
			t.Errorf("key %s has two offsets: %+v", k, results)
		}
		offsets[results[0].Cursor.Offset] = true
	}
	appendOne(t, instances[0], emit("other", "0")) // all that is staged is below it
	storedOnce(t, instances[0], n)
	if len(offsets) != n {
		t.Errorf("%d offsets for %d keys", len(offsets), n)
	}
}

// A key that comes by HTTP and then by SQL, or the other way round, is a repeat if the content is the same;
// other content is refused.
func TestAKeyByOneWayIsKnownToTheOther(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn := connect(t, dsn)
	first := appendOne(t, q, byKey("h", `{"b":1.50,"a":"é"}`))
	if fresh, err := bySQL(t, conn, "h", `{"a": "\u00e9", "b": 1.5}`); fresh || err != nil {
		t.Errorf("HTTP, then SQL: %v, %v", fresh, err)
	}
	var pg *pgconn.PgError
	if _, err := bySQL(t, conn, "h", `{"a": "é", "b": 1.51}`); !errors.As(err, &pg) || pg.Code != "23505" {
		t.Errorf("HTTP, then other content by SQL: %v", err)
	}
	if fresh, err := bySQL(t, conn, "s", `{"b":[1e2],"a":1}`); !fresh || err != nil {
		t.Fatal(fresh, err)
	}
	second := appendOne(t, q, byKey("s", `{"a":1.0,"b":[100]}`))
	if !second.Duplicate || second.Cursor.Offset <= first.Cursor.Offset {
		t.Errorf("SQL, then HTTP: %+v", second)
	}
	if _, err := q.Append(t.Context(), []event.Emit{byKey("s", `{"a":1,"b":["100"]}`)}); !errors.Is(err, event.ErrKeyReused) {
		t.Errorf("SQL, then other content by HTTP: %v", err)
	}
	batch := must[[]event.Result](t)(q.Append(t.Context(), []event.Emit{byKey("s", `{"a":1,"b":[100]}`), byKey("b", "1"), byKey("b", "1.0")}))
	if !batch[0].Duplicate || batch[0].Cursor != second.Cursor || batch[1].Duplicate || !batch[2].Duplicate || batch[2].Cursor != batch[1].Cursor {
		t.Errorf("batch %+v", batch)
	}
}

// Keys of a client are its own: if others use the same keys, this neither reveals nor blocks the client's.
func TestKeysOfAClientAreItsOwn(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn := connect(t, dsn)
	seen := map[event.Offset]bool{}
	for i, owner := range []event.Client{{}, client("alice"), client("bob")} {
		e := byKey("order-77", strconv.Itoa(i))
		e.KeyOwner = owner
		r := appendOne(t, q, e)
		again := appendOne(t, q, e)
		if r.Duplicate || !again.Duplicate || again.Cursor != r.Cursor {
			t.Errorf("%q: %+v, again %+v", owner, r, again)
		}
		seen[r.Cursor.Offset] = true
		e.Data = data(`"other"`)
		if _, err := q.Append(t.Context(), []event.Emit{e}); !errors.Is(err, event.ErrKeyReused) {
			t.Errorf("%q: other content: %v", owner, err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d events", len(seen))
	}
	if fresh, err := bySQL(t, conn, "order-77", "0"); fresh || err != nil {
		t.Errorf("the backends' key by SQL: %v, %v", fresh, err)
	}
	both := []event.Emit{byKey("new", "1"), byKey("new", "2")}
	both[1].KeyOwner = client("alice")
	if r, err := q.Append(t.Context(), both); err != nil || r[0].Duplicate || r[1].Duplicate {
		t.Errorf("one batch: %+v, %v", r, err)
	}
}

// A repeated key is found within one transaction, and between two whose events are not in the log yet.
func TestSQLKeysThatAreStillStaged(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn, other := connect(t, dsn), connect(t, dsn)
	block := must[pgx.Tx](t)(other.Begin(t.Context()))
	if _, err := block.Exec(t.Context(), `LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	tx := must[pgx.Tx](t)(conn.Begin(t.Context()))
	for i, want := range []bool{true, false} {
		if fresh, err := bySQL(t, conn, "k", "1"); fresh != want || err != nil {
			t.Errorf("emit %d of a transaction: %v, %v", i, fresh, err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fresh, err := bySQL(t, conn, "k", "1.0"); fresh || err != nil {
		t.Errorf("in the next transaction: %v, %v", fresh, err)
	}
	var pg *pgconn.PgError
	if _, err := bySQL(t, conn, "k", "2"); !errors.As(err, &pg) || pg.Code != "23505" {
		t.Errorf("other content: %v", err)
	}
	if err := block.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendOne(t, q, emit("other", "0"))
	storedOnce(t, q, 1)
}

// Looking up keys costs the same however many there are, both before the table has statistics and after
// Postgres has chosen a generic plan: the sixth batch used to take a minute.
func TestManyKeysAreLookedUpOneByOne(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	for batch := range 8 {
		emits := make([]event.Emit, 1_000)
		for i := range emits {
			emits[i] = byKey(strconv.Itoa(1_000*batch+i), "1")
		}
		if _, err := q.Append(t.Context(), emits); err != nil {
			t.Fatalf("batch %d: %v", batch, err)
		}
	}
}

// Looking up keys costs the same, too, if Postgres took its statistics when the table was empty: a plan made for one row compared every key
// of the batch with every stored key, by HTTP and by SQL.
func TestKeysAreLookedUpOneByOneWhateverStatisticsSay(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn, other := connect(t, dsn), connect(t, dsn)
	const fill = `INSERT INTO culvert.keys (namespace_id, key, "offset", at) SELECT id, 'old' || i, 0, now() FROM culvert.namespaces, generate_series(1, $1::int) i`
	tx := must[pgx.Tx](t)(conn.Begin(t.Context()))
	if _, err := tx.Exec(t.Context(), fill, 1_000); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), `ANALYZE culvert.keys`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), fill, 200_000); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), `SELECT culvert.emit(room => 'orders', event => 'greeting', data => to_jsonb(500 + i), key => 'sql' || i) FROM generate_series(1, 500) i`); err != nil {
		t.Fatal(err)
	}
	emits := make([]event.Emit, 500)
	for i := range emits {
		emits[i] = byKey(strconv.Itoa(i), strconv.Itoa(i))
	}
	for range 2 {
		if _, err := q.Append(t.Context(), emits); err != nil {
			t.Fatal(err)
		}
	}
	storedOnce(t, q, 1_000)
}

// Any JSON value gives one hash, by Go from its text and by SQL from its jsonb, however
// it is written.
func TestContentHashIsTheSameInSQL(t *testing.T) {
	dsn := pgtest.Database(t)
	open(t, dsn)
	conn := connect(t, dsn)
	same := func(t interface{ Fatalf(string, ...any) }, e event.Emit, rooms, except []string, sender *string) {
		var hash []byte
		err := conn.QueryRow(context.Background(), `SELECT culvert.content_hash($1, $2, 'greeting', $3::jsonb::text, $4)`,
			rooms, except, e.Data.JSON(), sender).Scan(&hash)
		if err != nil || string(hash) != string(e.Hash()) {
			t.Fatalf("%s: %x by SQL, %x by Go, %v", e.Data.JSON(), hash, e.Hash(), err)
		}
	}
	for _, text := range []string{
		`null`, `true`, `"x"`, `[]`, `{}`, `[[],{}]`, `0`, `-0`, `-0.0`, `0e5`, `1.0`, `1.50`, `-1.505`, `100`, `1e2`, `1E+2`, `1.5e-7`,
		`0.001`, `123.4560e3`, `[1.10,"1.10",{"1.10":2.00}]`, `"\"1.10\\"`, `["a\\",1.10,"\\\"2.0"]`, `"\u0001\u001f\u007f\u2028 é \ud83d\ude00 \/"`,
		`"\b\f\n\r\t\"\\"`, `{"b":1,"aa":2,"a":3}`, `{"a":1,"a":2}`, `{"é":1,"zz":2,"z":3}`, `{"a":{"x":1},"a":{"y":2}}`,
		`10.0e-1`, `1e100`, `1e-100`, `12345678901234567890.12345678901234567890`, `1.0e1000`,
	} {
		e := emit("lobby", "%s", text)
		same(t, e, []string{"lobby"}, nil, nil)
	}
	e := emit("a", "1")
	e.Rooms = []event.Room{room("ü"), room("Z"), room("a"), room("Z")}
	e.Except = []event.Room{room("y"), room("x"), room("y")}
	e.From = client("bob")
	sender := "bob"
	same(t, e, []string{"a", "Z", "ü"}, []string{"x", "y"}, &sender)
	rapid.Check(t, func(r *rapid.T) {
		e := emit("lobby", "%s", genJSON(r, 3))
		same(r, e, []string{"lobby"}, nil, nil)
	})
}

// genJSON draws a text of a value, in any form that JSON allows.
func genJSON(r *rapid.T, depth int) string {
	space := rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(r, "space")
	kinds := 3
	if depth > 0 {
		kinds = 5
	}
	switch rapid.IntRange(0, kinds).Draw(r, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(r, "word")
	case 1:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`).Draw(r, "number")
	case 2, 3:
		return genString(r)
	case 4:
		text := "[" + space
		for i := range rapid.IntRange(0, 4).Draw(r, "items") {
			if i > 0 {
				text += "," + space
			}
			text += genJSON(r, depth-1)
		}
		return text + space + "]"
	}
	text := "{" + space
	for i := range rapid.IntRange(0, 4).Draw(r, "members") {
		if i > 0 {
			text += "," + space
		}
		text += genString(r) + space + ":" + genJSON(r, depth-1)
	}
	return text + space + "}"
}

func genString(r *rapid.T) string {
	text := `"`
	for range rapid.IntRange(0, 6).Draw(r, "length") {
		text += rapid.SampledFrom([]string{
			"a", "b", "1", ".", "0", "1.50", " ", "é", "\u2028", "😀", `\\`, `\"`, `\n`, `\/`, `\u0007`, `\u00e9`, `\ud83d\ude00`, "\x7f", ",", "]",
		}).Draw(r, "piece")
	}
	return text + `"`
}
