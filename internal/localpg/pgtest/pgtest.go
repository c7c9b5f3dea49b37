// Package pgtest gives tests a real Postgres: one throw-away cluster for a test
// binary, and in it a new, migrated database for each test that asks for one.
//
//	func TestMain(m *testing.M) { pgtest.Main(m, migrations.Up) }
//
//	func TestAppend(t *testing.T) {
//		pool, err := pgxpool.New(t.Context(), pgtest.Database(t))
//		…
//	}
//
// The cluster is started by the first test that needs it, so that tests without a database,
// and fuzzing workers, do not start it. It does not survive the test binary,
// however that ends. A test that crashes or stops Postgres starts its own
// with [NewServer].
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/culvertmq/culvert/internal/localpg"
)

const (
	// startLimit bounds start and migration, with a download on a bare machine.
	startLimit = 5 * time.Minute
	stopLimit  = 30 * time.Second
	template   = "culvert_template"
)

// shared is the cluster of this test binary.
var shared struct {
	settings map[string]string
	migrate  func(ctx context.Context, dsn string) error

	once   sync.Once
	server *localpg.Server
	err    error
}

// Option changes what Main does.
type Option func(*config)

type config struct {
	settings map[string]string
}

// Setting sets a parameter of the shared server, such as max_connections.
func Setting(name, value string) Option {
	return func(c *config) { c.settings[name] = value }
}

// Main is the body of a package's TestMain and does not return. After the tests
// it stops the shared server, and fails the run if goroutines are
// left. migrate prepares the template of all databases, given its DSN; if it is nil, the
// template is empty. Commits are not durable, unless a Setting says otherwise.
func Main(m *testing.M, migrate func(ctx context.Context, dsn string) error, options ...Option) {
	c := config{settings: throwAway(nil)}
	for _, option := range options {
		option(&c)
	}
	shared.settings, shared.migrate = c.settings, migrate
	goleak.VerifyTestMain(run{m})
}

// run runs the tests and then stops the shared server, so that goleak,
// which exits the process, checks for goroutines after both.
type run struct{ m *testing.M }

// Run returns the exit code of the tests, or 1 if the server did not stop.
func (r run) Run() int {
	code := r.m.Run()
	// Nothing may start the server any more. If it was never started, nothing else is to do.
	shared.once.Do(func() { shared.err = errors.New("pgtest: the tests are over") })
	pooler.once.Do(func() { pooler.err = errors.New("the tests are over") })
	if pooler.stop != nil {
		pooler.stop()
	}
	if shared.server == nil {
		return code
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := shared.server.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return max(code, 1)
	}
	return code
}

// Server returns the shared server, started if necessary. It panics if that fails: on a
// machine without Postgres, tests fail instead of being skipped.
func Server() *localpg.Server {
	server, err := start()
	if err != nil {
		panic(err)
	}
	return server
}

// start starts the shared server and migrates the template, once.
func start() (*localpg.Server, error) {
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		server, err := localpg.StartTemp(ctx, localpg.Options{Settings: shared.settings})
		if err != nil {
			shared.err = fmt.Errorf("pgtest: %w", err)
			return
		}
		shared.server = server
		if err := makeTemplate(ctx, server); err != nil {
			shared.err = fmt.Errorf("pgtest: template: %w", err)
		}
	})
	return shared.server, shared.err
}

// makeTemplate makes and migrates the template database and refuses sessions in it, because a database
// in use cannot be copied.
func makeTemplate(ctx context.Context, server *localpg.Server) error {
	if err := execute(ctx, server, `CREATE DATABASE `+template); err != nil {
		return err
	}
	if shared.migrate != nil {
		if err := shared.migrate(ctx, server.DatabaseDSN(template)); err != nil {
			return err
		}
	}
	return execute(ctx, server, `ALTER DATABASE `+template+` ALLOW_CONNECTIONS false`)
}

// execute runs one statement outside of any test's database.
func execute(ctx context.Context, server *localpg.Server, sql string) error {
	conn, err := pgx.Connect(ctx, server.DatabaseDSN("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}
