package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pools share out the connections of an instance, so that nobody can take a connection that the appender or
// another loop needs. Nobody holds a connection while waiting for another.
type Pools struct {
	Server Server
	// Append is for the appender alone.
	Append *pgxpool.Pool
	// Write is for the instance's other loops, each of which uses one at a time:
	// acknowledgements, members, presence, the follower, the registry.
	Write *pgxpool.Pool
	// Read is for reads of requests, above all of clients that catch up.
	Read Shared
	// Work is for what may wait for a row's lock or take long: replies, handlers,
	// new clients, changes of the registry, retention. Requests take turns.
	Work Shared
	// hooks are those of the application's pool, if it gave one.
	hooks Hooks
}

// PoolOptions say where to connect: to DatabaseURL, or where Pool connects to.
type PoolOptions struct {
	DatabaseURL string
	// Pool is an application's own; none of its connections are used.
	Pool *pgxpool.Pool
	// MaxConns bounds the connections of all pools together and one more, which listens. It is at least
	// LeastConns.
	MaxConns int
	Logger   *slog.Logger
}

// shares are the sizes of the pools. Together with the connection that listens they add up to
// PoolOptions.MaxConns.
type shares struct{ append, write, read, work int }

// LeastConns is one connection for each pool, and one to listen.
const LeastConns = 5

// mostWrite is the number of loops that write or follow.
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

// OpenPools connects. The caller closes what it returns. Errors: event.ErrUnavailable, a *SettingError, or
// that the URL cannot be read.
func OpenPools(ctx context.Context, o PoolOptions) (*Pools, error) {
	p := &Pools{}
	c, server, err := o.prepare(ctx, &p.hooks)
	if err != nil {
		return nil, err
	}
	p.Server = server
	n := share(o.MaxConns)
	for _, pool := range []struct {
		into  **pgxpool.Pool
		conns int
	}{{&p.Append, n.append}, {&p.Write, n.write}, {&p.Read.Pool, n.read}, {&p.Work.Pool, n.work}} {
		if *pool.into, err = newPool(ctx, c, pool.conns); err != nil {
			p.Close()
			return nil, err
		}
	}
	p.Read.Turns, p.Work.Turns = NewTurnstile(n.read), NewTurnstile(n.work)
	return p, nil
}

// all returns the pools by their names.
func (p *Pools) all() map[string]*pgxpool.Pool {
	return map[string]*pgxpool.Pool{"append": p.Append, "write": p.Write, "read": p.Read.Pool, "work": p.Work.Pool}
}

// Stats returns functions that say how many connections a pool uses and has, by the pool's name.
func (p *Pools) Stats() map[string]func() (used, total int32) {
	stats := map[string]func() (used, total int32){}
	for name, pool := range p.all() {
		stats[name] = func() (int32, int32) { s := pool.Stat(); return s.AcquiredConns(), s.TotalConns() }
	}
	return stats
}

// Close waits until the connections in use are given back, and closes all.
func (p *Pools) Close() {
	for _, pool := range p.all() {
		if pool != nil {
			pool.Close()
		}
	}
}

// Reset makes all pools look for the primary again.
func (p *Pools) Reset() {
	for _, pool := range p.all() {
		pool.Reset()
	}
}

// prepare finds out which server answers at DatabaseURL, or where Pool connects to, and makes the configuration
// of Culvert's connections to it. hooks are set to those of Pool.
func (o PoolOptions) prepare(ctx context.Context, hooks *Hooks) (*pgxpool.Config, Server, error) {
	c, err := o.poolConfig()
	if err != nil {
		return nil, Server{}, fmt.Errorf("database URL: %w", err)
	}
	*hooks = Hooks{BeforeConnect: c.BeforeConnect, AfterConnect: c.AfterConnect}
	tuneConn(c.ConnConfig, o.Logger)
	server, err := PrepareWith(ctx, c.ConnConfig, *hooks)
	if err != nil {
		return nil, server, Unavailable(ctx, "connect", err)
	}
	logNoneLeft(c.ConnConfig, o, server)
	c.AfterConnect = hooks.Verified()
	if server.Transactions {
		o.Logger.Info("the database URL leads through a transaction pooler", "query_mode", c.ConnConfig.DefaultQueryExecMode.String())
	}
	return c, server, nil
}

// poolConfig returns how connections are made. From the configuration of the application's pool it removes the
// hooks that concern the pool's own connections.
func (o PoolOptions) poolConfig() (*pgxpool.Config, error) {
	if o.Pool == nil {
		return pgxpool.ParseConfig(o.DatabaseURL)
	}
	c := o.Pool.Config() // a copy
	c.PrepareConn, c.AfterRelease, c.BeforeClose = nil, nil, nil
	c.BeforeAcquire = nil                                            //nolint:staticcheck // deprecated, but an application may still set it
	c.ConnConfig.OnNotification = nil                                // the connection that listens waits for them
	c.ConnConfig.RuntimeParams["application_name"] = applicationName // distinguishes them from the application's
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
	c.MaxConns = int32(conns) //nolint:gosec // the caller bounds it
	c.MinConns, c.MinIdleConns = 0, 0
	c.MaxConnIdleTime = 5 * time.Minute
	c.ShouldPing = ShouldPing
	return pgxpool.NewWithConfig(ctx, c)
}

// OpenOne returns a pool of one connection, for tools that run beside the server. Errors as for OpenPools.
func OpenOne(ctx context.Context, o PoolOptions) (*pgxpool.Pool, error) {
	c, _, err := o.prepare(ctx, new(Hooks))
	if err != nil {
		return nil, err
	}
	return newPool(ctx, c, 1)
}

// logNoneLeft makes c log that Postgres has no connection left, at most once a minute, with the two limits that
// can be changed: the error itself has neither.
func logNoneLeft(c *pgx.ConnConfig, o PoolOptions, server Server) {
	var last atomic.Int64
	before := c.OnPgError
	c.OnPgError = func(conn *pgconn.PgConn, pg *pgconn.PgError) bool {
		now := time.Now().Unix()
		if old := last.Load(); pg.Code == NoneLeftCode && now-old >= 60 && last.CompareAndSwap(old, now) {
			o.Logger.Error("postgres has no connection left for this instance", "error", pg.Message,
				"max_conns_of_instance", o.MaxConns, "max_connections_of_postgres", server.MaxConnections,
				"cure", "raise max_connections of Postgres, or lower --max-connections of the instances")
		}
		return before == nil || before(conn, pg)
	}
}

// tuneConn bounds the time to connect, sets application_name, and logs the server's warnings, which tell of
// staged events that had to be dropped.
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
