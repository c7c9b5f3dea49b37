package pgtest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Main(m, migrate, pgtest.Setting("max_connections", "37"))
}

// migrate is used in place of a package's migrations.
func migrate(ctx context.Context, dsn string) (err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, `CREATE TABLE thing (name text)`)
	return err
}

// connect returns a connection that ends with the test.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// scalar runs a query for one value.
func scalar[T any](t *testing.T, conn *pgx.Conn, sql string) T {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func TestDatabasesAreMigratedAndApart(t *testing.T) {
	one, two := connect(t, pgtest.Database(t)), connect(t, pgtest.Database(t))
	if _, err := one.Exec(t.Context(), `INSERT INTO thing VALUES ('one')`); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, one, `SELECT count(*) FROM thing`); n != 1 {
		t.Errorf("the first database has %d rows, want 1", n)
	}
	if n := scalar[int](t, two, `SELECT count(*) FROM thing`); n != 0 {
		t.Errorf("the second database has %d rows of the first", n)
	}
}

func TestDatabasesInParallel(t *testing.T) {
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			scalar[int](t, connect(t, pgtest.Database(t)), `SELECT count(*) FROM thing`)
		})
	}
}

func TestDatabaseIsDroppedWithItsSessions(t *testing.T) {
	var dsn string
	var session *pgx.Conn
	t.Run("left open", func(t *testing.T) {
		var err error
		dsn = pgtest.Database(t)
		if session, err = pgx.Connect(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
	})
	defer func() { _ = session.Close(context.Background()) }()
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the database is still there after its test")
	}
}

func TestSettings(t *testing.T) {
	conn := connect(t, pgtest.Server().DSN())
	if got := scalar[string](t, conn, `SHOW max_connections`); got != "37" {
		t.Errorf("max_connections is %s, want the setting given to Main", got)
	}
	if got := scalar[string](t, conn, `SHOW fsync`); got != "off" {
		t.Errorf("fsync is %s, want off for a throw-away cluster", got)
	}
}

func TestNewServerKeepsCommitsThroughCrash(t *testing.T) {
	server := pgtest.NewServer(t, localpg.Options{})
	if server.DSN() == pgtest.Server().DSN() {
		t.Fatal("the private server is the shared one")
	}
	conn := connect(t, server.DSN())
	if _, err := conn.Exec(t.Context(), `CREATE TABLE kept AS SELECT 7 AS n`); err != nil {
		t.Fatal(err)
	}
	if err := server.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, connect(t, server.DSN()), `SELECT n FROM kept`); n != 7 {
		t.Errorf("read %d after the crash, want 7", n)
	}
}
