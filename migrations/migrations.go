// Package migrations brings a database's schema `culvert` up to date. The numbered
// files make tables; they are immutable once released. The folder functions has the
// present functions, all of which are replaced whenever one of them has changed.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/culvertmq/culvert/internal/postgres"
)

//go:embed *.sql
var files embed.FS

// State is one migration and when it was applied; the zero time means pending.
type State struct {
	Version int64
	Name    string
	Applied time.Time
}

// Up applies what is pending. dsn must be a direct connection, not a transaction pooler, because
// instances that start together wait for one another, and migrations may need settings of their
// session. Up blocks until it is done or ctx ends.
func Up(ctx context.Context, dsn string) error {
	db, server, err := open(ctx, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	if server.Transactions {
		return errPooled
	}
	if err := createSchema(ctx, db); err != nil {
		return err
	}
	p, err := provider(db)
	if err != nil {
		return err
	}
	lock, err := lockMigrations(ctx, db)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer lock.Close()
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := applyFunctions(ctx, db, newest(p)); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// newest is the highest version there is.
func newest(p *goose.Provider) int64 {
	sources := p.ListSources()
	return sources[len(sources)-1].Version
}

// Status lists all migrations in order, and last the functions. It
// changes nothing.
func Status(ctx context.Context, dsn string) ([]State, error) {
	db, _, err := open(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	applied, err := appliedAt(ctx, db)
	if err != nil {
		return nil, err
	}
	var states []State
	for _, s := range p.ListSources() {
		states = append(states, State{s.Version, s.Path, applied[s.Version]})
	}
	_, digest, err := functions()
	if err != nil {
		return nil, err
	}
	at, err := functionsApplied(ctx, db, newest(p), digest)
	if err != nil {
		return nil, err
	}
	return append(states, State{newest(p), "functions", at}), nil
}

const versionTable = "culvert.migrations"

// errPooled refuses a pooler, because behind it a session is shared with other clients.
var errPooled = errors.New("this connection leads through a transaction pooler, on which migrations cannot wait for one another: " +
	"give a direct connection with --listen-database-url")

func open(ctx context.Context, dsn string) (*sql.DB, postgres.Server, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, postgres.Server{}, fmt.Errorf("database URL: %w", err)
	}
	server, err := postgres.Prepare(ctx, c)
	if err != nil {
		return nil, server, err
	}
	db := stdlib.OpenDB(*c, stdlib.OptionAfterConnect(postgres.Verify))
	db.SetMaxOpenConns(3)
	var encoding string
	if err := db.QueryRowContext(ctx, `SHOW server_encoding`).Scan(&encoding); err != nil {
		return nil, server, errors.Join(err, db.Close())
	}
	if encoding != "UTF8" {
		return nil, server, errors.Join(fmt.Errorf("the database's encoding is %s; Culvert needs UTF8", encoding), db.Close())
	}
	return db, server, nil
}

func provider(db *sql.DB) (*goose.Provider, error) {
	return goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName(versionTable))
}

// appliedAt reads goose's version table; if there is none, nothing is applied.
func appliedAt(ctx context.Context, db *sql.DB) (map[int64]time.Time, error) {
	const query = `
		SELECT version_id, max(tstamp)
		  FROM culvert.migrations
		 WHERE is_applied
		 GROUP BY version_id`
	rows, err := db.QueryContext(ctx, query)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	applied := map[int64]time.Time{}
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		applied[version] = at
	}
	return applied, rows.Err()
}
