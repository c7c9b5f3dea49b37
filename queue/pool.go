package queue

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/internal/postgres"
)

// pools share out the connections of an instance, so that nobody can take one from
// those who must not wait. Nobody holds a connection while it waits for another.
type pools struct {
	server postgres.Server
	// append is the appender's own.
	append *pgxpool.Pool
	// write is for the instance's other loops, each of which uses one at a time:
	// acknowledgements, members, presence, the follower, the registry.
	write *pgxpool.Pool
	// read is for what requests read: clients that catch up, above all.
	read postgres.Shared
	// work is for what may wait for a row's lock or take long: replies, handlers,
	// new clients, changes of the registry, retention. Requests take turns.
	work postgres.Shared
	// hooks are those of the application's pool, if it gave one.
	hooks postgres.Hooks
	// listen is how to connect to wait for notifications; nil: prepared later.
	listen *listenTarget
}

// shares are the sizes of the pools. With one connection that listens they are Options.MaxConns.
type shares struct{ append, write, read, work int }

// leastConns is one for each share, and one to listen.
const leastConns = 5

// mostWrite is as many as there are loops that write or follow.
const mostWrite = 8

func share(conns int) shares {
	s := shares{append: 1}
	rest := conns - s.append - 1
	s.work, s.read = max(1, rest/3), max(1, rest/3)
	s.write = rest - s.work - s.read
	if s.write > mostWrite {
		s.read += s.write - mostWrite
		s.write = mostWrite
	}
	return s
}

func openPools(ctx context.Context, o Options) (p pools, err error) {
	c, server, err := prepare(ctx, o, &p.hooks)
	if err != nil {
		return p, err
	}
	p.server = server
	n := share(o.MaxConns)
	for _, pool := range []struct {
		into  **pgxpool.Pool
		conns int
	}{{&p.append, n.append}, {&p.write, n.write}, {&p.read.Pool, n.read}, {&p.work.Pool, n.work}} {
		if *pool.into, err = newPool(ctx, c, pool.conns); err != nil {
			p.close()
			return p, err
		}
	}
	p.read.Turns, p.work.Turns = postgres.NewTurnstile(n.read), postgres.NewTurnstile(n.work)
	return p, nil
}

func (p pools) close() {
	for _, pool := range []*pgxpool.Pool{p.append, p.write, p.read.Pool, p.work.Pool} {
		if pool != nil {
			pool.Close()
		}
	}
}

// reset has all look for the primary again.
func (p pools) reset() {
	for _, pool := range []*pgxpool.Pool{p.append, p.write, p.read.Pool, p.work.Pool} {
		pool.Reset()
	}
}

// prepare finds out who answers at DatabaseURL, or where Pool connects to, and makes the
// configuration of Culvert's connections to it. hooks are set to those of Pool.
func prepare(ctx context.Context, o Options, hooks *postgres.Hooks) (*pgxpool.Config, postgres.Server, error) {
	c, err := o.poolConfig()
	if err != nil {
		return nil, postgres.Server{}, fmt.Errorf("database URL: %w", err)
	}
	*hooks = postgres.Hooks{BeforeConnect: c.BeforeConnect, AfterConnect: c.AfterConnect}
	tuneConn(c.ConnConfig, o.Logger)
	server, err := postgres.PrepareWith(ctx, c.ConnConfig, *hooks)
	if err != nil {
		return nil, server, postgres.Unavailable(ctx, "connect", err)
	}
	tellOfNone(c.ConnConfig, o, server)
	c.AfterConnect = hooks.Verified()
	if server.Transactions {
		o.Logger.Info("the database URL leads through a transaction pooler", "query_mode", c.ConnConfig.DefaultQueryExecMode.String())
	}
	return c, server, nil
}

// poolConfig is how connections are made. Of the application's pool it leaves out what the application
// does with its connections: these are other ones.
func (o Options) poolConfig() (*pgxpool.Config, error) {
	if o.Pool == nil {
		return pgxpool.ParseConfig(o.DatabaseURL)
	}
	c := o.Pool.Config() // a copy
	c.PrepareConn, c.AfterRelease, c.BeforeClose = nil, nil, nil
	c.BeforeAcquire = nil                                            //nolint:staticcheck // deprecated, but an application may still set it
	c.ConnConfig.OnNotification = nil                                // listenOnce waits for them
	c.ConnConfig.RuntimeParams["application_name"] = applicationName // tells them from the application's
	if c.ConnConfig.DescriptionCacheCapacity == 0 {
		c.ConnConfig.DescriptionCacheCapacity = descriptions // see ReadMode
	}
	return c, nil
}

const (
	// applicationName is the application_name of Culvert's connections.
	applicationName = "culvert"
	// descriptions is pgx's own default.
	descriptions = 512
)

func newPool(ctx context.Context, c *pgxpool.Config, conns int) (*pgxpool.Pool, error) {
	c = c.Copy()
	c.MaxConns = int32(conns) //nolint:gosec // checked by Options
	c.MinConns, c.MinIdleConns = 0, 0
	c.MaxConnIdleTime = 5 * time.Minute
	c.ShouldPing = postgres.ShouldPing
	return pgxpool.NewWithConfig(ctx, c)
}

// openOne is a pool of one connection, for tools beside the server.
func openOne(ctx context.Context, o Options) (*pgxpool.Pool, error) {
	c, _, err := prepare(ctx, o, new(postgres.Hooks))
	if err != nil {
		return nil, err
	}
	return newPool(ctx, c, 1)
}

// tellOfNone logs that Postgres has no connection left, at most once a minute: the
// error itself knows neither of the two numbers that are to be changed.
func tellOfNone(c *pgx.ConnConfig, o Options, server postgres.Server) {
	var last atomic.Int64
	before := c.OnPgError
	c.OnPgError = func(conn *pgconn.PgConn, pg *pgconn.PgError) bool {
		now := time.Now().Unix()
		if old := last.Load(); pg.Code == postgres.NoneLeftCode && now-old >= 60 && last.CompareAndSwap(old, now) {
			o.Logger.Error("postgres has no connection left for this instance", "error", pg.Message,
				"max_conns_of_instance", o.MaxConns, "max_connections_of_postgres", server.MaxConnections,
				"cure", "raise max_connections of Postgres, or lower --max-connections of the instances")
		}
		return before == nil || before(conn, pg)
	}
}

// tuneConn bounds connecting, names us to the server, and hands the server's
// warnings on: they tell of staged events that had to be dropped.
func tuneConn(c *pgx.ConnConfig, log *slog.Logger) {
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = applicationName
	}
	c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Severity == "WARNING" {
			log.Warn("postgres warns", "message", n.Message)
		}
	}
}
