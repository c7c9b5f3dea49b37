package migrations

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// functionFiles has the present text of each function of the schema, in files by
// subject. Up replaces all functions whenever one has changed, so that a
// change of a function needs no migration of its own.
//
//go:embed functions/*.sql
var functionFiles embed.FS

// functionOrder is the order in which the files are run: Postgres checks the body of an SQL function
// when it is made, so the functions that it uses come before it.
var functionOrder = []string{
	"patterns", "presence", "namespaces", "slices", "identity", "emit", "append", "offers", "staged", "unmovable",
	"acks", "members", "read", "replies", "handlers", "volatile",
}

// public functions are called by applications, whose roles were granted EXECUTE on
// them. So they are never dropped, and their parameters cannot change.
var public = []string{"emit"}

// functions returns the text that defines all functions, and its digest.
func functions() (text, digest string, err error) {
	var all strings.Builder
	for _, name := range functionOrder {
		file, err := functionFiles.ReadFile("functions/" + name + ".sql")
		if err != nil {
			return "", "", err
		}
		all.Write(file)
		all.WriteByte('\n')
	}
	sum := sha256.Sum256([]byte(all.String()))
	return all.String(), hex.EncodeToString(sum[:]), nil
}

// dropFunctionsSQL drops all functions of the schema that are not public. They are dropped because
// Postgres cannot replace a function whose result has other columns than before.
const dropFunctionsSQL = `
DO $do$
DECLARE
    list text;
BEGIN
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO list
      FROM pg_proc p
     WHERE p.pronamespace = 'culvert'::regnamespace AND p.proname <> ALL (string_to_array(%s, ','));
    IF list IS NOT NULL THEN
        EXECUTE 'DROP FUNCTION ' || list;
    END IF;
END
$do$`

// closeFunctionsSQL revokes new functions from PUBLIC, to whom Postgres grants every new
// function. What an operator granted on a public function is kept.
const closeFunctionsSQL = `
DO $do$
DECLARE
    list text;
BEGIN
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO list
      FROM pg_proc p
     WHERE p.pronamespace = 'culvert'::regnamespace AND p.proacl IS NULL;
    IF list IS NOT NULL THEN
        EXECUTE 'REVOKE ALL ON FUNCTION ' || list || ' FROM PUBLIC';
    END IF;
END
$do$`

// applyFunctions replaces the functions unless the database already has them, or
// belongs to a newer program. A new log gets its identity and its first slices.
func applyFunctions(ctx context.Context, db *sql.DB, newest int64) error {
	text, digest, err := functions()
	if err != nil {
		return err
	}
	if current, err := functionsApplied(ctx, db, newest, digest); err != nil || !current.IsZero() {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	script := strings.Join([]string{
		`BEGIN ISOLATION LEVEL READ COMMITTED`,
		`SET LOCAL standard_conforming_strings = on`,
		`SET LOCAL search_path = pg_catalog, pg_temp`,
		// One instance at a time: instances that start together all run this.
		`LOCK TABLE culvert.functions IN SHARE UPDATE EXCLUSIVE MODE`,
		fmt.Sprintf(dropFunctionsSQL, quote(strings.Join(public, ","))),
		text,
		closeFunctionsSQL,
		`INSERT INTO culvert.functions (digest) VALUES (` + quote(digest) + `)
		     ON CONFLICT (one) DO UPDATE SET digest = excluded.digest, applied_at = excluded.applied_at`,
		`SELECT culvert.open('24 hours') WHERE NOT EXISTS (SELECT FROM culvert.log)`,
		`SELECT culvert.rotate('1 hour', 1000000000) WHERE NOT EXISTS (SELECT FROM culvert.slices WHERE n > 0)`,
		`COMMIT`,
	}, ";\n")
	return conn.Raw(func(driver any) error {
		// The simple protocol takes many statements at once.
		_, err := driver.(*stdlib.Conn).Conn().PgConn().Exec(ctx, script).ReadAll()
		if err != nil {
			err = errors.Join(fmt.Errorf("functions: %w", err), rollback(ctx, driver.(*stdlib.Conn).Conn()))
		}
		return err
	})
}

func rollback(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.PgConn().Exec(ctx, `ROLLBACK`).ReadAll()
	return err
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

const functionsSQL = `
SELECT f.digest, f.applied_at, (SELECT max(version_id) FROM culvert.migrations WHERE is_applied)
  FROM culvert.functions f`

// functionsApplied returns when the functions with this digest, or those of a newer program,
// were applied; the zero time means that they were not applied yet.
func functionsApplied(ctx context.Context, db *sql.DB, newest int64, digest string) (at time.Time, err error) {
	var found string
	var version int64
	err = db.QueryRowContext(ctx, functionsSQL).Scan(&found, &at, &version)
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, sql.ErrNoRows), errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000"):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, err
	case version > newest || found == digest:
		return at, nil
	}
	return time.Time{}, nil
}
