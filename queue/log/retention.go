package log

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// retain is the goroutine of retention. Every instance runs it; locks in Postgres let one at a time do the
// work.
func (lg *Log) retain(ctx context.Context, sweep func(context.Context) error) {
	pause := min(max(lg.o.Slice/10, 100*time.Millisecond), 30*time.Second)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		// Log what keeps a slice from being dropped: else the disk would fill unnoticed. Others log that
		// Postgres is unavailable.
		if err := lg.retainOnce(ctx, sweep); err != nil && ctx.Err() == nil && (!errors.Is(err, event.ErrUnavailable) || isLocked(err)) {
			lg.o.Logger.Warn("retention", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func isLocked(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55P03"
}

const rotateSQL = `
SELECT culvert.rotate($1, $2)`

const pruneSQL = `
SELECT culvert.prune($1, $2)`

const countSliceSQL = `
SELECT culvert.count_slice()`

const expireEventsSQL = `
SELECT culvert.expire($1)`

// These statements delete only rows that no other transaction has locked; see append.sql.
const forgetKeysSQL = `
WITH old AS MATERIALIZED (
     SELECT old.namespace_id, old.owner, old.key
       FROM culvert.log l
      CROSS JOIN culvert.namespaces n
      CROSS JOIN LATERAL (
            SELECT k.namespace_id, k.owner, k.key
              FROM culvert.keys k
             WHERE k.namespace_id = n.id AND k.at < clock_timestamp() - coalesce(n.dedup, l.dedup)
             ORDER BY k.at
             LIMIT $1
               FOR UPDATE SKIP LOCKED) old
      LIMIT $1)
DELETE FROM culvert.keys k
 USING old
 WHERE k.namespace_id = old.namespace_id AND k.owner = old.owner AND k.key = old.key`

// An ask is kept for a day after its end, for callers that read its replies later, but no longer than its
// event.
const forgetAsksSQL = `
WITH old AS MATERIALIZED (
     SELECT a."offset"
       FROM culvert.asks a, culvert.log l
      WHERE a.until < clock_timestamp()
        AND (a.until < clock_timestamp() - interval '1 day' OR a."offset" <= l.floor)
      ORDER BY a.until
      LIMIT $1
        FOR UPDATE OF a SKIP LOCKED)
DELETE FROM culvert.asks a
 USING old
 WHERE a."offset" = old."offset"`

// An audience is deleted as soon as the last of its asks may be.
const forgetAudiencesSQL = `
WITH old AS MATERIALIZED (
     SELECT u."offset"
       FROM culvert.audiences u
      WHERE u.until < clock_timestamp() - interval '1 day'
      ORDER BY u.until
      LIMIT $1
        FOR UPDATE OF u SKIP LOCKED)
DELETE FROM culvert.audiences u
 USING old
 WHERE u."offset" = old."offset"`

// An offer is left over if its instance died or lost its connection.
const forgetOffersSQL = `
WITH old AS MATERIALIZED (
     SELECT o.at, o.id
       FROM culvert.offers o
      WHERE o.until < clock_timestamp()
      LIMIT $1
        FOR UPDATE SKIP LOCKED)
DELETE FROM culvert.offers o
 USING old
 WHERE o.at = old.at AND o.id = old.id`

// A membership interval that has ended is kept while it may explain a gap: until the client's cursor is past
// its end.
const forgetIntervalsSQL = `
WITH old AS MATERIALIZED (
     SELECT m.client_id, m.room_id, m.since
       FROM culvert.log l, culvert.memberships m
       JOIN culvert.clients c ON c.id = m.client_id
      WHERE m.until <= l.floor AND m.until <= c.cursor
      LIMIT $1
        FOR UPDATE OF m SKIP LOCKED)
DELETE FROM culvert.memberships m
 USING old
 WHERE m.client_id = old.client_id AND m.room_id = old.room_id AND m.since = old.since`

// retainOnce opens the next slice when it is time, drops the oldest one when it is due, raises the floors of
// namespaces with a shorter retention, and stores, for one closed slice, the newest offset of each room. Then
// it deletes what deleted namespaces left behind, idempotency keys older than their window, old asks, and offers
// that nobody waits for.
func (lg *Log) retainOnce(ctx context.Context, sweep func(context.Context) error) error {
	var open int
	if err := lg.o.DB.Work.Pool.QueryRow(ctx, rotateSQL, lg.o.Slice, lg.o.SliceEvents).Scan(&open); err != nil {
		return postgres.Unavailable(ctx, "rotate", err)
	}
	var dropped *int
	if err := lg.o.DB.Work.Pool.QueryRow(ctx, pruneSQL, lg.o.Retention, lg.o.RetentionEvents).Scan(&dropped); err != nil {
		return postgres.Unavailable(ctx, "prune", err)
	}
	if dropped != nil {
		lg.o.Logger.Info("retention dropped a slice", "slice", *dropped, "open", open)
		lg.o.Metrics.slicesDropped.Inc()
		if err := lg.forget(ctx, forgetIntervalsSQL); err != nil {
			return err
		}
	}
	var raised int
	if err := lg.o.DB.Work.Pool.QueryRow(ctx, expireEventsSQL, lg.o.Retention).Scan(&raised); err != nil {
		return postgres.Unavailable(ctx, "expire", err)
	}
	if raised > 0 {
		lg.o.Logger.Info("the retention settings of namespaces have removed events from a slice", "namespaces", raised)
	}
	var counted *int
	if err := lg.o.DB.Write.QueryRow(ctx, countSliceSQL).Scan(&counted); err != nil {
		return postgres.Unavailable(ctx, "count a slice", err)
	}
	if err := sweep(ctx); err != nil {
		return err
	}
	for _, sql := range []string{forgetKeysSQL, forgetAsksSQL, forgetAudiencesSQL, forgetOffersSQL} {
		if err := lg.forget(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// forget repeats a DELETE of bounded size until nothing is left for it. Rows that are locked are left for the
// next time, so that cleaning up never waits.
func (lg *Log) forget(ctx context.Context, sql string) error {
	const atOnce = 10_000
	for {
		tag, err := lg.o.DB.Work.Pool.Exec(ctx, sql, atOnce)
		if err != nil {
			return postgres.Unavailable(ctx, "forget", err)
		}
		if tag.RowsAffected() < atOnce {
			return nil
		}
	}
}
