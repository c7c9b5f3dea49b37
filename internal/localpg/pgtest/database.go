package pgtest

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/culvertmq/culvert/internal/localpg"
)

// databases numbers the databases of this test binary.
var databases atomic.Int64

// Database makes a migrated database for one test and returns its DSN. At the end of the
// test its remaining sessions are ended and it is dropped.
func Database(t testing.TB) string {
	t.Helper()
	server, err := start()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := execute(t.Context(), server, `CREATE DATABASE `+name+` TEMPLATE `+template); err != nil {
		t.Fatalf("pgtest: create database: %v", err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if err := execute(ctx, server, `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("pgtest: drop database: %v", err)
		}
	})
	return server.DatabaseDSN(name)
}

// NewServer runs a Postgres for only one test, which may stop and crash it. Its
// database culvert is empty. Commits survive a crash of Postgres, but not of the
// machine, unless options say otherwise; Dir is ignored.
func NewServer(t testing.TB, options localpg.Options) *localpg.Server {
	t.Helper()
	options.Settings = throwAway(options.Settings)
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	server, err := localpg.StartTemp(ctx, options)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return server
}

// throwAway returns settings for data that may be lost, overridden by the given
// ones. synchronous_commit is left on, because crash tests rely on committed data.
func throwAway(given map[string]string) map[string]string {
	settings := map[string]string{"fsync": "off"}
	maps.Copy(settings, given)
	return settings
}
