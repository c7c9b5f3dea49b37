package queue_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/internal/tool"
	"github.com/culvertmq/culvert/queue"
)

// What HTTP refuses, culvert.emit refuses too, naming the field: the application's transaction gets the error,
// and nothing fails later.
func TestSQLEmitRefuses(t *testing.T) {
	dsn := pgtest.Database(t)
	open(t, dsn)
	conn := connect(t, dsn)
	for _, c := range []struct{ args, says string }{
		{`room => 'r'`, "event must not be empty"},
		{`room => 'r', event => ''`, "event must not be empty"},
		{`room => '', event => 'e'`, "room must not be empty"},
		{`room => E'a\nb', event => 'e'`, "room has a control character"},
		{`room => E'a\u2028b', event => 'e'`, "room has a control character"},
		{`room => repeat('é', 101), event => 'e'`, "room is 202 bytes long"},
		{`event => 'culvert:x'`, "reserved"},
		{`event => 'e', except_rooms => '{@me}'`, `except_rooms has "@me", which needs a sender`},
		{`event => 'e', except_rooms => '{{a,b}}'`, "one dimension"},
		{`event => 'e', rooms => '{{a,b}}'`, "one dimension"},
		{`event => 'e', namespace => 'No'`, "namespace must be"},
		{`event => 'e', namespace => NULL`, "namespace must be"},
		{`event => 'e', room => 'r', rooms => '{s}'`, "room or rooms"},
		{`event => 'e', rooms => '{}'`, "rooms must name 1 to 100 rooms"},
		{`event => 'e', rooms => '{a,NULL}'`, "rooms must not be empty"},
		{`event => 'e', except_rooms => '{a,NULL}'`, "except_rooms must not be empty"},
		{`event => 'e', room => '.'`, `room must not be "." or ".."`},
		{`event => 'e', rooms => '{a,..}'`, `rooms must not be "." or ".."`},
		{`event => 'e', except_rooms => '{..}'`, `except_rooms must not be "." or ".."`},
		{`event => 'e', sender => '.'`, `sender must not be "." or ".."`},
		{`event => 'e', key => '..'`, `key must not be "." or ".."`},
		{`event => 'e', key => ''`, "key must not be empty"},
		{`event => 'e', sender => repeat('x', 129)`, "sender is 129 bytes"},
		{`event => 'e', data => to_jsonb(repeat('x', 262144))`, "data is 262146 bytes"},
		{`event => 'e', data => (repeat('[', 65) || repeat(']', 65))::jsonb`, "nested deeper"},
	} {
		_, err := conn.Exec(t.Context(), `SELECT culvert.emit(`+c.args+`)`)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || !strings.Contains(pg.Message, c.says) {
			t.Errorf("%s: %v, want %q", c.args, err, c.says)
		}
	}
	sql(t, dsn,
		`SELECT culvert.emit(event => 'e', data => (repeat('[', 64) || repeat(']', 64))::jsonb)`,
		`SELECT culvert.emit(event => 'e', data => to_jsonb(repeat('[', 100)))`,
		`SELECT culvert.emit(event => '..', room => '...', key => '.k')`,
		`SELECT culvert.emit(event => 'e')`)
}

// "@me" leaves out the sender, as over HTTP.
func TestSQLEmitExceptsItsSender(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	alice, bob := subscribe(t, q, queue.Interest{Client: client("alice")}), subscribe(t, q, queue.Interest{Client: client("bob")})
	sql(t, dsn,
		`SELECT culvert.emit(event => 'e', data => '1', sender => 'alice', except_rooms => ARRAY['@me', 'x'])`,
		`SELECT culvert.emit(event => 'e', data => '2')`)
	if got := next(t, bob, 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("bob got %q", got)
	}
	if got := next(t, alice, 1); !slices.Equal(got, []string{"2"}) {
		t.Errorf("alice, who emitted the first, got %q", got)
	}
}

func TestSQLEmitKeys(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	conn := connect(t, dsn)
	emit := func(data string) (staged bool, err error) {
		err = conn.QueryRow(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', data => $1, key => 'k')`, data).Scan(&staged)
		return staged, err
	}
	if staged, err := emit("1"); !staged || err != nil {
		t.Fatal(staged, err)
	}
	next(t, s, 1)
	if staged, err := emit("1"); staged || err != nil {
		t.Errorf("repeated: %v, %v", staged, err)
	}
	var pg *pgconn.PgError
	if _, err := emit("2"); !errors.As(err, &pg) || pg.Code != "23505" {
		t.Errorf("another body: %v", err)
	}
	// Two transactions that cannot see each other: the event of the later one is dropped.
	other := connect(t, dsn)
	for _, step := range []func() error{
		func() error { _, err := conn.Exec(t.Context(), `BEGIN`); return err },
		func() error { _, err := other.Exec(t.Context(), `BEGIN`); return err },
		func() error {
			_, err := conn.Exec(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', data => '"a"', key => 'race')`)
			return err
		},
		func() error {
			_, err := other.Exec(t.Context(), `SELECT culvert.emit(room => 'r', event => 'e', data => '"b"', key => 'race')`)
			return err
		},
		func() error { _, err := conn.Exec(t.Context(), `COMMIT`); return err },
		func() error { _, err := other.Exec(t.Context(), `COMMIT`); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	sql(t, dsn, `SELECT culvert.emit(room => 'r', event => 'e', data => '"after"')`)
	got := next(t, s, 2)
	if got[0] != `"a"` || got[1] != `"after"` {
		t.Errorf("got %v", got)
	}
}

// An application's role needs no more than USAGE and EXECUTE.
func TestSQLEmitByAnApplicationsRole(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	conn := connect(t, dsn)
	exec := func(sql string) error { _, err := conn.Exec(t.Context(), sql); return err }
	if err := errors.Join(exec(`DROP ROLE IF EXISTS shop`), exec(`CREATE ROLE shop`), exec(`SET ROLE shop`)); err != nil {
		t.Fatal(err)
	}
	if exec(`SELECT culvert.emit(room => 'r', event => 'e')`) == nil {
		t.Error("a role that was given nothing may emit")
	}
	if err := errors.Join(exec(`RESET ROLE`), exec(`GRANT USAGE ON SCHEMA culvert TO shop`),
		exec(`GRANT EXECUTE ON FUNCTION culvert.emit TO shop`), exec(`SET ROLE shop`),
		exec(`SELECT culvert.emit(room => 'r', event => 'e', data => '1')`)); err != nil {
		t.Fatal(err)
	}
	next(t, s, 1)
	if exec(`SELECT * FROM culvert.events`) == nil || exec(`SELECT culvert.rotate('1 hour', 1)`) == nil {
		t.Error("the application's role may do more than emit")
	}
	if err := errors.Join(exec(`RESET ROLE`), exec(`DROP OWNED BY shop`), exec(`DROP ROLE shop`)); err != nil {
		t.Fatal(err)
	}
}

// Two-phase commit forbids NOTIFY. With the setting there is none, and polling finds the event.
func TestSQLEmitInAPreparedTransaction(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	s := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("r")}})
	conn := connect(t, dsn)
	for _, stmt := range []string{
		`BEGIN`, `SET LOCAL culvert.notify = off`,
		`SELECT culvert.emit(room => 'r', event => 'e', data => '1')`,
		`PREPARE TRANSACTION 'two'`, `COMMIT PREPARED 'two'`,
	} {
		if _, err := conn.Exec(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
	next(t, s, 1)
}

// 329 real webhooks keep their JSON values, through Append and from SQL.
func TestWebhooksComeThroughUnchanged(t *testing.T) {
	file, err := os.Open("../../shared/data/github-webhooks.jsonl")
	if errors.Is(err, os.ErrNotExist) {
		tool.Missing(t, "../shared/data/github-webhooks.jsonl")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	conn := connect(t, dsn)
	byAppend := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("append")}})
	bySQL := subscribe(t, q, queue.Interest{Rooms: []event.Room{room("sql")}})
	var want []any
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Data json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		want = append(want, decode(t, string(line.Data)))
		d := must[event.Data](t)(event.ParseData(line.Data))
		if _, err := q.Append(t.Context(), []event.Emit{{Namespace: ns, Rooms: []event.Room{room("append")}, Event: greeting, Data: d}}); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `SELECT culvert.emit(room => 'sql', event => 'webhook', data => $1)`, string(line.Data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil || len(want) < 300 {
		t.Fatal(len(want), err)
	}
	for name, s := range map[string]*queue.Subscription{"append": byAppend, "sql": bySQL} {
		for i, text := range next(t, s, len(want)) {
			if !reflect.DeepEqual(decode(t, text), want[i]) {
				t.Fatalf("%s: webhook %d changed to %.200s", name, i, text)
			}
		}
	}
}

// decode keeps numbers exact.
func decode(t *testing.T, text string) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}
