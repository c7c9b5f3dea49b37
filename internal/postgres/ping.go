package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ShouldPing is for pgxpool.Config.ShouldPing: it reports whether a connection from a pool is
// pinged before it is used. This is true for a connection that was idle for over a second (as by default),
// and for one that Postgres has closed or written to meanwhile, as it does to all when it stops.
// It costs a system call, and never blocks.
func ShouldPing(_ context.Context, p pgxpool.ShouldPingParams) bool {
	return p.IdleDuration > time.Second || readable(p.Conn.PgConn().Conn())
}
