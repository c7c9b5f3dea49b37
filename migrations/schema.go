package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// rightsSQL returns which rights this role has on the schema, and the name of an owner that must not
// be trusted: any owner that is not this role, a role of which it is a member, a superuser or the
// database's owner. The functions for rights return NULL while there is no schema.
const rightsSQL = `
SELECT current_user, current_database(), to_regnamespace('culvert') IS NOT NULL,
       has_database_privilege(current_database(), 'CREATE'),
       coalesce(has_schema_privilege(to_regnamespace('culvert'), 'USAGE'), false),
       coalesce(has_schema_privilege(to_regnamespace('culvert'), 'CREATE'), false),
       coalesce((SELECT o.rolname
                   FROM pg_namespace n
                   JOIN pg_roles o ON o.oid = n.nspowner AND NOT o.rolsuper
                   JOIN pg_database d ON d.datname = current_database() AND d.datdba <> o.oid
                  WHERE n.nspname = 'culvert' AND NOT pg_has_role(o.oid, 'MEMBER')), '')`

// createSchema runs before goose, whose version table is in the schema. A schema that
// an administrator made is used as it is, which needs no right on the database.
func createSchema(ctx context.Context, db *sql.DB) error {
	var role, database, stranger string
	var there, mayCreate, mayUse, mayFill bool
	err := db.QueryRowContext(ctx, rightsSQL).Scan(&role, &database, &there, &mayCreate, &mayUse, &mayFill, &stranger)
	if err != nil {
		return fmt.Errorf("look for schema culvert: %w", err)
	}
	name, in := pgx.Identifier{role}.Sanitize(), pgx.Identifier{database}.Sanitize()
	switch {
	case stranger != "":
		owner := pgx.Identifier{stranger}.Sanitize()
		return fmt.Errorf("the schema culvert of database %s belongs to role %s, who could replace what is in it: have an administrator run  ALTER SCHEMA culvert OWNER TO %s, after a look at what it holds, or  GRANT %s TO %s", in, owner, name, owner, name)
	case there && (!mayUse || !mayFill):
		return fmt.Errorf("role %s may not use and fill the schema culvert of database %s: have its owner run  GRANT USAGE, CREATE ON SCHEMA culvert TO %s", name, in, name)
	case there:
		return nil
	case !mayCreate:
		return fmt.Errorf("role %s may not create a schema in database %s: have an administrator run  CREATE SCHEMA culvert AUTHORIZATION %s  there, or  GRANT CREATE ON DATABASE %s TO %s", name, in, name, in, name)
	}
	_, err = db.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS culvert`)
	if err != nil && !madeMeanwhile(err) {
		return fmt.Errorf("create schema culvert: %w", err)
	}
	return nil
}

// madeMeanwhile reports whether another instance made the same object at the same moment,
// which IF NOT EXISTS does not notice. Depending on how far the other instance was, the error names
// the schema, the table, its row type or a row of the catalog.
func madeMeanwhile(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code {
	case "42P06", "42P07", "42710", "23505": // duplicate_schema, _table, _object, unique_violation
		return true
	}
	return false
}

// migrationLock is a transaction that holds the lock while an instance migrates.
type migrationLock struct{ *sql.Conn }

// lockMigrations waits until no other instance migrates, which may take long in a large
// database. goose would take an advisory lock, which any role that may connect could hold.
// Close releases the lock.
func lockMigrations(ctx context.Context, db *sql.DB) (*migrationLock, error) {
	_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS culvert.migration_lock ()`)
	if err != nil && !madeMeanwhile(err) {
		return nil, fmt.Errorf("make culvert.migration_lock: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	for _, stmt := range []string{
		`BEGIN ISOLATION LEVEL READ COMMITTED`,
		`SET LOCAL idle_in_transaction_session_timeout = 0`, // it is idle while other connections migrate
		`SET LOCAL lock_timeout = 0`,
		`LOCK TABLE culvert.migration_lock IN SHARE UPDATE EXCLUSIVE MODE`,
	} {
		if _, err := conn.ExecContext(ctx, stmt); err != nil {
			return nil, errors.Join(fmt.Errorf("lock culvert.migration_lock: %w", err), (&migrationLock{conn}).Close())
		}
	}
	return &migrationLock{conn}, nil
}

// Close ends the transaction, even if the caller's context has ended.
func (l *migrationLock) Close() error {
	_, err := l.ExecContext(context.Background(), `ROLLBACK`)
	return errors.Join(err, l.Conn.Close())
}
