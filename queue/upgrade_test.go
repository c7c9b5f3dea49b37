package queue_test

import (
	"os"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

// A database of an earlier version is upgraded, and keeps its events, cursors, memberships and idempotency
// keys.
func TestUpgradeFromVersion11(t *testing.T) {
	dsn := pgtest.NewServer(t, localpg.Options{}).DSN()
	old, err := os.ReadFile("../migrations/testdata/version-11.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, dsn).PgConn().Exec(t.Context(), string(old)).ReadAll(); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	// The keys of the dump are older than they are remembered: retention would drop them.
	sql(t, dsn, `UPDATE culvert.keys SET at = clock_timestamp()`)
	// This is another database than the one that was dumped, so cursors of the dump are of another log.
	q := open(t, dsn, queue.Cold)
	s := subscribe(t, q, queue.Interest{Client: client("alice"), Earliest: true})
	if got := next(t, s, 4); got[0] != `{"n":1}` || got[2] != `{"n":3}` || got[3] != "null" {
		t.Errorf("of the events before the upgrade the reader got %v", got)
	}
	again := emit("lobby", `{"n":2}`)
	again.Event, again.Key = mustParse(event.ParseEventName, "chat message"), key("k-2")
	again.Data = data(`{"n":2}`)
	if r := appendOne(t, q, again); !r.Duplicate || r.Cursor.Offset != 3 {
		t.Errorf("a key from before the upgrade: %+v", r)
	}
	appendOne(t, q, emit("lobby", "4"))
	if got := next(t, s, 1); got[0] != "4" {
		t.Errorf("after the upgrade the reader got %v", got)
	}
}
