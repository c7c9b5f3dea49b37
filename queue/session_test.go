package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// hostile are settings that a role or a database may have, each with a value that is
// as far from what Culvert expects as Postgres allows.
var hostile = []struct{ name, value string }{
	{"client_encoding", "LATIN1"},
	{"DateStyle", "German, DMY"},
	{"TimeZone", "Asia/Kathmandu"},
	{"IntervalStyle", "iso_8601"},
	{"standard_conforming_strings", "off"},
	{"bytea_output", "escape"},
	{"extra_float_digits", "-15"},
	{"array_nulls", "off"},
	{"xmloption", "document"},
	{"default_transaction_isolation", "serializable"},
	{"default_transaction_isolation", "repeatable read"},
	{"default_transaction_read_only", "on"},
	{"default_transaction_deferrable", "on"},
	{"synchronous_commit", "off"},
	{"statement_timeout", "1ms"},
	{"lock_timeout", "1ms"},
	{"idle_in_transaction_session_timeout", "1ms"},
	{"idle_session_timeout", "5ms"},
	{"transaction_timeout", "1ms"}, // since 17
	{"search_path", "hostile, public"},
	{"exit_on_error", "on"},
	{"client_min_messages", "error"},
	{"row_security", "off"},
	{"check_function_bodies", "off"},
	{"quote_all_identifiers", "on"},
	{"transform_null_equals", "on"},
	{"plpgsql.extra_errors", "all"},
	{"plan_cache_mode", "force_generic_plan"},
	{"enable_indexscan", "off"},
	{"jit", "on"},
}

// alter changes a setting of the database for later sessions; "" for the value takes it back. It reports
// whether this version of Postgres has the setting.
func alter(t testing.TB, admin *pgx.Conn, name, value string) bool {
	t.Helper()
	var known bool
	if err := admin.QueryRow(t.Context(), `SELECT current_setting($1, true) IS NOT NULL OR $1 LIKE 'plpgsql.%'`, name).Scan(&known); err != nil || !known {
		return false
	}
	sql := fmt.Sprintf(`ALTER DATABASE %s SET %s = %s`, admin.Config().Database, name, value)
	switch {
	case value == "":
		sql = fmt.Sprintf(`ALTER DATABASE %s RESET %s`, admin.Config().Database, name)
	case name != "search_path" && name != "DateStyle":
		sql = fmt.Sprintf(`ALTER DATABASE %s SET %s = '%s'`, admin.Config().Database, name, value)
	}
	if _, err := admin.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return true
}

// uses numbers the calls of use, each of which has its own room and client.
var uses atomic.Int64

// use does a little of everything with a queue. application is a session of its own
// with the settings of the database.
func use(t *testing.T, q *queue.Queue, application *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	name := fmt.Sprintf("use-%d", uses.Add(1))
	lobby, alice, eventName := room(name), client("alice "+name), mustParse(event.ParseEventName, name)
	price := event.Emit{Namespace: ns, Rooms: []event.Room{lobby}, Except: []event.Room{room(`"NULL", \ {}`)}, Event: eventName, Data: data(`"5 €"`), Key: key(name)}

	run := make(chan *event.Event, 10)
	err := q.Handle(ns, name, func(_ context.Context, e *event.Event) (any, error) {
		run <- e
		return json.RawMessage(`"€"`), nil
	})
	if err != nil {
		t.Fatal("handle:", err)
	}
	s := subscribe(t, q, queue.Interest{Client: alice})
	if _, err := q.Join(ctx, ns, lobby, alice, 10); err != nil {
		t.Fatal("join:", err)
	}
	first := appendOne(t, q, price)
	if again := appendOne(t, q, price); !again.Duplicate || again.Cursor != first.Cursor {
		t.Errorf("a repeated key: %+v, first %+v", again, first)
	}
	if _, err := application.Exec(ctx, `SELECT culvert.emit(room => $1, event => $1, data => '"6 \u20ac"', sender => 'bob', key => $1 || ' from SQL')`, pgx.QueryExecModeExec, lobby.String()); err != nil {
		t.Fatal("culvert.emit:", err)
	}
	if got := next(t, s, 2); !slices.Equal(got, []string{`"5 €"`, `"6 €"`}) {
		t.Errorf("the reader received %q", got)
	}
	receive(t, run)
	receive(t, run)
	acked, err := q.Ack(ctx, ns, alice, s.Cursor())
	if err != nil || acked != s.Cursor() {
		t.Errorf("ack: %v, %v", acked, err)
	}
	state, err := q.ClientState(ctx, ns, alice, nil)
	if err != nil || state.Lag != 0 || time.Since(state.LastSeen).Abs() > time.Minute {
		t.Errorf("client: %+v, %v", state, err)
	}
	b, err := q.History(ctx, ns, lobby, event.Client{}, event.Cursor{}, 10)
	if err != nil || len(b.Events) != 2 || b.Events[0].Data != `"5 €"` || b.Events[1].From != client("bob") ||
		b.Events[0].Except[0] != price.Except[0] || time.Since(b.Events[0].At).Abs() > time.Minute {
		t.Errorf("history: %+v, %v", b, err)
	}
	question := price
	question.Key, question.Reply = event.Key{}, event.Ask{Timeout: time.Minute, Count: 2}
	asked := appendOne(t, q, question)
	receive(t, run)
	if _, err := q.Reply(ctx, queue.Reply{Namespace: ns, To: asked.Cursor.Offset, From: alice, Data: data(`"ja €"`)}); err != nil {
		t.Error("reply:", err)
	}
	if r, err := q.Await(ctx, ns, asked.Cursor.Offset); err != nil || !r.Complete || len(r.Answers) != 2 {
		t.Errorf("replies: %+v, %v", r, err)
	}
	volatile := price
	volatile.Key, volatile.Data = event.Key{}, data(`"7 €"`)
	if err := q.PublishVolatile(ctx, []event.Emit{volatile}); err != nil {
		t.Error("volatile:", err)
	}
	rate := 0.1 + 0.2
	if _, err := q.Registry().SetNamespace(ctx, ns, func(s *registry.NamespaceSettings) error {
		s.EmitRate, s.Retention, s.Presence = rate, 36*time.Hour+time.Second, []string{"none"}
		return nil
	}); err != nil {
		t.Error("settings:", err)
	}
	if s := q.Registry().Settings(ns); s.EmitRate != rate || s.Retention != 36*time.Hour+time.Second {
		t.Errorf("settings: %+v", s)
	}
	if _, err := q.Leave(ctx, ns, lobby, alice); err != nil {
		t.Error("leave:", err)
	}
	if err := q.Ping(ctx); err != nil {
		t.Error("ping:", err)
	}
}

// sessions are the ways to talk to Postgres that a database URL can ask for.
var sessions = map[string]string{
	"direct": "", "exec": "exec", "simple": "simple_protocol",
}

func inMode(dsn, mode string) string {
	if mode == "" {
		return dsn
	}
	return dsn + "&default_query_exec_mode=" + mode
}

// calm is dsn without the settings that would end an application's own statements.
func calm(t testing.TB, dsn string) string {
	t.Helper()
	dsn += "&statement_timeout=0&lock_timeout=0&idle_session_timeout=0&idle_in_transaction_session_timeout=0&default_transaction_read_only=off"
	var version int
	if err := connect(t, pgtest.Server().DSN()).QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version >= 170000 {
		dsn += "&transaction_timeout=0"
	}
	return dsn
}

// direct skips a test that is for direct connections only: see TestSettingsThroughPgBouncer.
func direct(t *testing.T) {
	t.Helper()
	if os.Getenv(pgtest.PoolerVariable) != "" {
		t.Skip("a pooler does not accept settings")
	}
}

// Culvert works whatever settings a role or a database has.
func TestSettingsOfTheDatabase(t *testing.T) {
	direct(t)
	for name, mode := range sessions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			admin := connect(t, calm(t, dsn))
			for _, h := range hostile {
				t.Run(h.name+" "+h.value, func(t *testing.T) {
					if !alter(t, admin, h.name, h.value) {
						t.Skip("this version of Postgres does not have it")
					}
					defer alter(t, admin, h.name, "")
					use(t, open(t, inMode(dsn, mode)), connect(t, calm(t, dsn)))
				})
			}
		})
	}
}

// All at once, from the first migration on.
func TestMigrationUnderHostileSettings(t *testing.T) {
	direct(t)
	dsn := pgtest.Database(t)
	admin := connect(t, calm(t, dsn))
	if _, err := admin.Exec(t.Context(), `DROP SCHEMA culvert CASCADE`); err != nil {
		t.Fatal(err)
	}
	for _, h := range hostile {
		alter(t, admin, h.name, h.value)
	}
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	use(t, open(t, dsn), connect(t, calm(t, dsn)))
}

// A wrong setting that only a superuser may change is refused by name, with the statement that corrects it.
func TestASettingThatCannotBePinned(t *testing.T) {
	dsn := pgtest.Database(t)
	admin := connect(t, dsn)
	alter(t, admin, "session_replication_role", "replica")
	cure := fmt.Sprintf(`ALTER ROLE "culvert" IN DATABASE "%s" SET session_replication_role = 'origin'`, admin.Config().Database)
	for what, try := range map[string]func() error{
		"open": func() error { _, err := queue.Open(t.Context(), queue.Options{DatabaseURL: dsn}); return err },
		"up":   func() error { return migrations.Up(t.Context(), dsn) },
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), cure) || !strings.Contains(err.Error(), `"replica"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := admin.Exec(t.Context(), cure); err != nil {
		t.Fatal(err)
	}
	open(t, dsn)
	if _, err := admin.Exec(t.Context(), strings.Replace(cure, "SET session_replication_role = 'origin'", "RESET session_replication_role", 1)); err != nil {
		t.Fatal(err)
	}
}
