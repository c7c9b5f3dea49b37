package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pools keep appends and acknowledgements apart from reads, so that any number
// of clients catching up cannot make an emit wait for a connection.
type pools struct {
	write *pgxpool.Pool
	read  *pgxpool.Pool
	// work is for what may wait for a row's lock: it must not keep an append, or
	// a reader, from a connection.
	work *pgxpool.Pool
}

// writeConns is one each for the appender, the mover, volatile events,
// acknowledgements, presence and the rest.
const writeConns = 6

// workConns bounds the replies stored at one time.
const workConns = 4

func openPools(ctx context.Context, o Options) (pools, error) {
	write, err := newPool(ctx, o, writeConns)
	if err != nil {
		return pools{}, err
	}
	read, err := newPool(ctx, o, o.MaxConns)
	if err != nil {
		write.Close()
		return pools{}, err
	}
	work, err := newPool(ctx, o, workConns)
	if err != nil {
		write.Close()
		read.Close()
		return pools{}, err
	}
	return pools{write, read, work}, nil
}

func (p pools) close() {
	p.write.Close()
	p.read.Close()
	p.work.Close()
}

// reset has every connection closed as soon as nobody uses it.
func (p pools) reset() {
	p.write.Reset()
	p.read.Reset()
	p.work.Reset()
}

func newPool(ctx context.Context, o Options, conns int) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(o.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	c.MaxConns = int32(conns) //nolint:gosec // checked by Options
	c.MaxConnIdleTime = 5 * time.Minute
	tuneConn(c.ConnConfig, o.Logger)
	return pgxpool.NewWithConfig(ctx, c)
}

// tuneConn bounds connecting, names us to the server, and hands the server's
// warnings on: they tell of staged events that had to be dropped.
func tuneConn(c *pgx.ConnConfig, log *slog.Logger) {
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "culvert"
	}
	c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Severity == "WARNING" {
			log.Warn("postgres warns", "message", n.Message)
		}
	}
}

// unavailable wraps err as ErrUnavailable when it says that Postgres cannot be
// reached or cannot write now, rather than that the statement is wrong. ctx is
// the caller's: its own end is passed on as it is.
func unavailable(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed):
		return err
	case isTransient(err):
		return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// isTransient reports whether the same statement may succeed later. Everything
// that is not an answer of the server is a matter of the connection.
func isTransient(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return true
	}
	switch pg.Code[:2] {
	case "08", "53", "57", "58": // connection, resources (disk full), operator, system
		return true
	}
	switch pg.Code {
	case "25006", // read only: connected to a standby
		"55000",                   // the server is not in the state for it: a standby
		outdated,                  // and looking the ids up again did not help: servers change
		"40001", "40P01", "55P03": // serialization, deadlock, lock not available
		return true
	}
	return false
}

// readMode has every read planned for its own cursor: only then does the
// planner leave out the partitions before it. Both modes do so, the second one
// without named statements, for transaction poolers.
func readMode(p *pgxpool.Pool) pgx.QueryExecMode {
	if m := p.Config().ConnConfig.DefaultQueryExecMode; m == pgx.QueryExecModeExec || m == pgx.QueryExecModeSimpleProtocol {
		return m
	}
	return pgx.QueryExecModeCacheDescribe
}
