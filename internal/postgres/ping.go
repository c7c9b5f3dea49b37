package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ShouldPing is for pgxpool.Config.ShouldPing: it reports whether a connection from a pool is pinged before it
// is used. It is pinged if it was idle for over a second, as by default, or if Postgres has closed it or
// written to it meanwhile, as it does with all connections when it stops. The check costs a system call, and
// never blocks.
func ShouldPing(_ context.Context, p pgxpool.ShouldPingParams) bool {
	return p.IdleDuration > time.Second || readable(p.Conn.PgConn().Conn())
}
