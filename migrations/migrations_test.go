package migrations_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m, nil) }

// Instances that start together may all migrate.
func TestSeveralAtOnce(t *testing.T) {
	dsn := pgtest.Database(t)
	states, err := migrations.Status(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if !s.Applied.IsZero() {
			t.Errorf("%s is applied to an empty database", s.Name)
		}
	}
	g, ctx := errgroup.WithContext(t.Context())
	for range 6 {
		g.Go(func() error { return migrations.Up(ctx, dsn) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if states, err = migrations.Status(t.Context(), dsn); err != nil || len(states) < 5 {
		t.Fatal(states, err)
	}
	for _, s := range states {
		if s.Applied.IsZero() {
			t.Errorf("%s is not applied", s.Name)
		}
	}
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Errorf("again: %v", err)
	}
}

// Postgres names the table or its row type, depending on how far the other instance was.
func TestSeveralMakeTheLockAtOnce(t *testing.T) {
	dsn := pgtest.Database(t)
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for range 20 {
		if _, err := conn.Exec(t.Context(), `DROP TABLE culvert.migration_lock`); err != nil {
			t.Fatal(err)
		}
		g, ctx := errgroup.WithContext(t.Context())
		for range 8 {
			g.Go(func() error { return migrations.Up(ctx, dsn) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// A role that owns the database needs no other rights.
func TestAsAnOrdinaryRole(t *testing.T) {
	dsn := pgtest.Database(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{
		`DO $$ BEGIN CREATE ROLE ordinary LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$`,
		`DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO ordinary', current_database()); END $$`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), "host="+c.Host+" port=5432 user=ordinary dbname="+c.Database); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `DROP OWNED BY ordinary; DROP ROLE ordinary`); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyUTF8(t *testing.T) {
	dsn := pgtest.Database(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0`); err != nil {
		t.Fatal(err)
	}
	c, _ := pgx.ParseConfig(dsn)
	if err := migrations.Up(t.Context(), "host="+c.Host+" port=5432 user=culvert dbname=latin"); err == nil {
		t.Error("a LATIN1 database is accepted")
	}
	if _, err := conn.Exec(t.Context(), `DROP DATABASE latin WITH (FORCE)`); err != nil {
		t.Fatal(err)
	}
}
