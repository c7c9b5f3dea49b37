package migrations_test

import (
	"database/sql"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
)

// Keys stored before keys had owners still stop a repeat by a client or a backend: it is unknown which
// of them the sender was. Their content is not compared, because it was hashed in another way.
func TestKeysWithoutOwnersGoOn(t *testing.T) {
	dsn := pgtest.Database(t)
	conn := connect(t, dsn)
	if _, err := conn.Exec(t.Context(), `CREATE SCHEMA culvert`); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("."), goose.WithTableName("culvert.migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	for _, stmt := range []string{
		`CREATE TABLE culvert.events_0 PARTITION OF culvert.events FOR VALUES FROM (0) TO (1000000000)`,
		`INSERT INTO culvert.rooms (namespace_id, name) VALUES (1, 'a'), (1, 'b')`,
		`INSERT INTO culvert.events ("offset", room_id, at, event, sender, data) VALUES (5, 1, now(), 'e', 'alice', '1'),
		 (5, 2, now(), 'e', 'alice', '1'), (6, 1, now(), 'e', NULL, '1')`,
		`INSERT INTO culvert.keys (namespace_id, key, hash, "offset", at) VALUES (1, 'k', 'old', 5, now()), (1, 'l', 'old', 6, now())`,
		`INSERT INTO culvert.staged (namespace, rooms, event, data, key, hash) VALUES ('default', '{a}', 'e', '1', 's', 'old')`,
	} {
		if _, err := conn.Exec(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `
		SELECT key || ' of ' || owner || ' at ' || "offset" FROM culvert.keys WHERE hash IS NULL
		 UNION ALL
		SELECT key || ' staged' FROM culvert.staged WHERE hash IS NULL
		 ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	want := []string{"k of  at 5", "k of alice at 5", "l of  at 6", "s staged"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, want %q, %v", got, want, err)
	}
	if _, err := p.DownTo(t.Context(), 12); err != nil {
		t.Errorf("down: %v", err)
	}
}
