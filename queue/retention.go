package queue

import (
	"context"
	"errors"
	"time"
)

// runRetention is a goroutine. Every instance runs it; locks in Postgres let one
// of them do the work.
func (q *Queue) runRetention(ctx context.Context) {
	pause := min(max(q.o.Slice/10, 100*time.Millisecond), 30*time.Second)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if err := q.retainOnce(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
			q.o.Logger.Warn("retention", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

const rollSQL = `
SELECT culvert.roll($1, $2)`

const pruneSQL = `
SELECT culvert.prune($1, $2)`

const forgetKeysSQL = `
DELETE FROM culvert.keys
 WHERE (namespace_id, key) IN (
       SELECT k.namespace_id, k.key
         FROM culvert.keys k, culvert.log l
        WHERE k.at < clock_timestamp() - l.dedup
        ORDER BY k.at
        LIMIT $1)`

// retainOnce opens the next slice when it is time, drops the oldest one when it
// is due, and forgets idempotency keys older than the dedup window.
func (q *Queue) retainOnce(ctx context.Context) error {
	var open int
	if err := q.db.write.QueryRow(ctx, rollSQL, q.o.Slice, q.o.SliceEvents).Scan(&open); err != nil {
		return unavailable(ctx, "roll", err)
	}
	var dropped *int
	if err := q.db.write.QueryRow(ctx, pruneSQL, q.o.Retention, q.o.RetentionEvents).Scan(&dropped); err != nil {
		return unavailable(ctx, "prune", err)
	}
	if dropped != nil {
		q.o.Logger.Info("retention dropped a slice", "slice", *dropped, "open", open)
		q.metrics.sliceDropped()
	}
	const atOnce = 10_000
	for {
		tag, err := q.db.write.Exec(ctx, forgetKeysSQL, atOnce)
		if err != nil {
			return unavailable(ctx, "forget keys", err)
		}
		if tag.RowsAffected() < atOnce {
			return nil
		}
	}
}
