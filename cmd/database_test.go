package cmd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/internal/localpg"
)

// TestMigrate prepares a database before the server starts, which then needs no migration.
func TestMigrate(t *testing.T) {
	pg := postgres(t)
	env := []string{"DATABASE_URL=" + pg.DSN()}
	if out := must(t, "", env, "migrate", "status"); !strings.HasPrefix(out, "VERSION") || !strings.Contains(out, "pending") {
		t.Errorf("status prints\n%s", out)
	}
	code, _, stderr := run(t, "", env, serveArgs(t.TempDir(), "--migrate=false")...)
	if code != exitFailure || !strings.Contains(stderr, "culvert migrate up") {
		t.Errorf("serve without a schema: %d, %s", code, stderr)
	}
	must(t, "", env, "migrate", "up")
	if out := must(t, "", env, "migrate", "status"); strings.Contains(out, "pending") {
		t.Errorf("status prints\n%s", out)
	}
	if code, _, stderr := run(t, "", env, "migrate", "up"); code != exitOK || !strings.Contains(stderr, "nothing was pending") {
		t.Errorf("a second migrate up: %d, %s", code, stderr)
	}
	if code, _, stderr := run(t, "", nil, "migrate", "status"); code != exitFailure || !strings.Contains(stderr, "--database-url") {
		t.Errorf("without a database: %d, %s", code, stderr)
	}
	data := t.TempDir()
	s := start(t, append(env, "CULVERT_API_KEYS=the-configured-key"), serveArgs(data, "--migrate=false", "--log-format=json")...)
	s.stderr.await(t, `(?m)^ready http://`)
	if entries, err := os.ReadDir(data); err != nil || len(entries) != 0 || strings.Contains(s.stderr.String(), "the-configured-key") {
		t.Errorf("a server with database and key leaves %v, %v and says\n%s", entries, err, s.stderr)
	}
}

// postgres runs a throw-away Postgres without a schema.
func postgres(t *testing.T) *localpg.Server {
	t.Helper()
	pg, err := localpg.StartTemp(t.Context(), localpg.Options{Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := pg.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return pg
}

// TestWaitsForDatabase: serve waits for a database that starts later.
func TestWaitsForDatabase(t *testing.T) {
	pg := postgres(t)
	if err := pg.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := start(t, []string{"DATABASE_URL=" + pg.DSN(), "CULVERT_API_KEYS=the-configured-key"}, serveArgs(t.TempDir())...)
	s.stderr.await(t, "does not answer yet, waiting up to 30s")
	if err := pg.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.stderr.await(t, `(?m)^ready http://`)
	s.cancel()
	if code := s.wait(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, s.stderr)
	}
}

// TestTransactionPooler: the first error behind a transaction pooler says what to do.
func TestTransactionPooler(t *testing.T) {
	for _, code := range []string{"42P05", "26000"} {
		err := hinted(fmt.Errorf("open the log: %w", &pgconn.PgError{Code: code, Message: "prepared\nstatement"}))
		if got := err.Error(); !strings.Contains(got, "default_query_exec_mode=exec") || strings.Contains(got, "\n") {
			t.Errorf("%s: %v", code, err)
		}
	}
	if got := hinted(&pgconn.PgError{Code: "42501"}).Error(); strings.Contains(got, "pooler") {
		t.Errorf("another error: %s", got)
	}
}
