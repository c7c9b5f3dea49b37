package lineage

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Restored is what Restore did.
type Restored struct {
	Last  event.Cursor // the last position the log has kept
	First event.Cursor // the next offsets are after it
}

// restoredSQL begins a new run of offsets after the rows of the log were put back to an earlier state.
const restoredSQL = `
SELECT log, head, first
  FROM culvert.restored($1)`

// Restore tells every instance that rows of the log were restored while the server ran, which instances may
// not notice. Then new offsets start at another place, instances read again what they remember, and clients that were
// ahead get a gap. Calling it without need loses no event. Errors: event.ErrUnavailable.
func Restore(ctx context.Context, db *pgxpool.Pool) (r Restored, err error) {
	err = db.QueryRow(ctx, restoredSQL, nil).Scan(&r.Last.Log, &r.Last.Offset, &r.First.Offset)
	r.First.Log = r.Last.Log
	return r, postgres.MissingSchema(ctx, "restored", err)
}
