package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Doubtful reports whether a connection from a pool is to be asked whether it still works:
// one that was idle for over a second, and one that Postgres has written to while nobody
// asked it anything, or closed, as it does with all when it stops. The latter costs a system
// call. It is for pgxpool.Config.ShouldPing.
func Doubtful(_ context.Context, p pgxpool.ShouldPingParams) bool {
	return p.IdleDuration > time.Second || readable(p.Conn.PgConn().Conn())
}
