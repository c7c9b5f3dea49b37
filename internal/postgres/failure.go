package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
)

// Unavailable wraps err as ErrUnavailable when it says that Postgres cannot be reached or cannot write now,
// rather than that the statement is wrong. ctx is the caller's: if it has ended, its error is returned.
func Unavailable(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, event.ErrUnavailable), errors.Is(err, event.ErrClosed):
		return err
	case isNoneLeft(err):
		return fmt.Errorf("%s: %w: %w; raise max_connections of Postgres, or lower --max-connections (Options.MaxConns) of the instances", what, event.ErrUnavailable, err)
	case isTransient(err):
		return fmt.Errorf("%s: %w: %w", what, event.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// NoneLeftCode is the SQLSTATE of Postgres when it has no connection left.
const NoneLeftCode = "53300"

// isNoneLeft reports whether Postgres has no connection left.
func isNoneLeft(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == NoneLeftCode
}

// isTransient reports whether the same statement may succeed later. An error that is not an answer of the
// server comes from the connection, and may pass.
func isTransient(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return !errors.As(err, new(*SettingError)) && !errors.Is(err, ErrUnfit)
	}
	switch pg.Code[:2] {
	case "08", "53", "57", "58": // connection, resources (disk full), operator, system
		return true
	}
	switch pg.Code {
	case "25006", // read only: connected to a standby
		"55000",                   // the server is not in the state for it: a standby
		outdated,                  // looking the ids up again did not help, as servers change
		"40001", "40P01", "55P03": // serialization, deadlock, lock not available
		return true
	}
	return false
}

// ReadMode returns a mode in which every read is planned for its own cursor: only then does the planner leave
// out the partitions before it. If the pool uses no named statements, because of a transaction pooler, the mode
// does not either.
func ReadMode(p *pgxpool.Pool) pgx.QueryExecMode {
	if m := p.Config().ConnConfig.DefaultQueryExecMode; m == pgx.QueryExecModeExec || m == pgx.QueryExecModeSimpleProtocol {
		return m
	}
	return pgx.QueryExecModeCacheDescribe
}

// MissingSchema is Unavailable for the first statements on a database, whose schema may be missing.
func MissingSchema(ctx context.Context, what string, err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "3F000" || pg.Code == "42883" || pg.Code == "42P01") { // no schema, function, table
		return errors.New("the database has no Culvert schema yet, or an older one: run `culvert migrate up`")
	}
	return Unavailable(ctx, what, err)
}

// outdated is the SQLSTATE of culvert.check_ids.
const outdated = "CV001"

// IsOutdated reports whether Postgres refused ids as those of another generation.
func IsOutdated(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == outdated
}

// IsReadOnly reports whether a server refused to write: it has become a standby, and the pool must look for the
// primary again.
func IsReadOnly(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "25006"
}
