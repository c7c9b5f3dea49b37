package migrations_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
)

// A function without its own search_path uses operators and functions from
// any schema that its caller names, and runs them with its owner's rights
// (CVE-2018-1058). Names in SQL-standard bodies are resolved once, when the function is made.
func TestFunctionsHaveTheirOwnSearchPath(t *testing.T) {
	conn := migrated(t)
	rows, err := conn.Query(t.Context(), `
		SELECT p.oid::regprocedure::text
		  FROM pg_proc p
		 WHERE p.pronamespace = 'culvert'::regnamespace AND p.prosqlbody IS NULL
		   AND NOT coalesce(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']`)
	if err != nil {
		t.Fatal(err)
	}
	unsafe, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range unsafe {
		t.Errorf("%s has no search_path of its own", f)
	}
}

// A changed function is replaced without a migration, and rights that applications
// were granted on public functions are kept.
func TestChangedFunctionsAreReplaced(t *testing.T) {
	dsn := pgtest.Database(t)
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, dsn)
	for _, sql := range []string{
		`UPDATE culvert.functions SET digest = 'of an earlier program'`,
		`CREATE OR REPLACE FUNCTION culvert.matches(patterns text[], name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false'`,
		`CREATE FUNCTION culvert.left_over() RETURNS void LANGUAGE sql AS ''`,
		`GRANT EXECUTE ON FUNCTION culvert.emit TO PUBLIC`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	states, err := migrations.Status(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if last := states[len(states)-1]; last.Name != "functions" || !last.Applied.IsZero() {
		t.Errorf("the status of outdated functions is %+v", last)
	}
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	var matches, left bool
	var open []string
	err = conn.QueryRow(t.Context(), `
		SELECT culvert.matches('{a*}', 'abc'), to_regproc('culvert.left_over') IS NOT NULL,
		       (SELECT array_agg(p.proname::text)
		          FROM pg_proc p
		         WHERE p.pronamespace = 'culvert'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE'))`).
		Scan(&matches, &left, &open)
	if err != nil || !matches || left {
		t.Errorf("replaced %v, left over %v, %v", matches, left, err)
	}
	if !slices.Equal(open, []string{"emit"}) {
		t.Errorf("PUBLIC may call %v", open)
	}
	var logs int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM culvert.log`).Scan(&logs); err != nil || logs != 1 {
		t.Errorf("%d logs, %v", logs, err)
	}
}

// A program that is older than the schema leaves the functions to the newer one.
func TestNewerFunctionsStay(t *testing.T) {
	dsn := pgtest.Database(t)
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, dsn)
	for _, sql := range []string{
		`UPDATE culvert.functions SET digest = 'of a newer program'`,
		`INSERT INTO culvert.migrations (version_id, is_applied) VALUES (10000, true)`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	var digest string
	if err := conn.QueryRow(t.Context(), `SELECT digest FROM culvert.functions`).Scan(&digest); err != nil || digest != "of a newer program" {
		t.Errorf("digest %q, %v", digest, err)
	}
}

func migrated(t *testing.T) *pgx.Conn {
	t.Helper()
	dsn := pgtest.Database(t)
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	return connect(t, dsn)
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}
