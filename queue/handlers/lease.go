package handlers

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
)

// keepAlive renews the leases of running jobs, and the time until which the handler counts as live. It runs until
// ctx ends.
func (h *handler) keepAlive(ctx context.Context) {
	tick := time.NewTicker(min(h.lease, liveTime) / 3)
	defer tick.Stop()
	for {
		if err := h.keepAliveOnce(ctx); err != nil && ctx.Err() == nil {
			h.o.Logger.Debug("leases of a handler not renewed", "handler", h.label(), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *handler) keepAliveOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.lease/3)
	defer cancel()
	if err := h.renew(ctx); err != nil {
		return err
	}
	return h.live(ctx)
}

// Rows of jobs are locked in the order of their offsets, see append.sql.
const renewSQL = `
WITH held AS MATERIALIZED (
     SELECT j."offset"
       FROM culvert.handler_jobs j
       JOIN unnest($3::bigint[], $4::bigint[]) AS w ("offset", claim) ON j."offset" = w."offset" AND j.claim = w.claim
      WHERE j.handler_id = $1 AND j.parked_at IS NULL
      ORDER BY j."offset"
        FOR NO KEY UPDATE OF j)
UPDATE culvert.handler_jobs j
   SET due = clock_timestamp() + $5::interval
  FROM held
 WHERE culvert.check_ids($2) AND j.handler_id = $1 AND j."offset" = held."offset" AND (SELECT culvert.durable())
RETURNING j."offset"`

// renew extends the leases of the jobs that run here, and ends the functions whose lease another instance has.
func (h *handler) renew(ctx context.Context) error {
	over := time.Now().Add(h.lease)
	h.mu.Lock()
	held := make(map[event.Offset]*job, len(h.running))
	offsets, claims := make([]int64, 0, len(h.running)), make([]int64, 0, len(h.running))
	for offset, j := range h.running {
		held[offset] = j
		offsets, claims = append(offsets, int64(offset)), append(claims, j.claim)
	}
	h.mu.Unlock()
	if len(held) == 0 {
		return nil
	}
	var renewed []int64
	err := h.registered(ctx, func(r *registration) error {
		rows, err := h.o.DB.Query(ctx, renewSQL, r.id, r.lineage.Generation, offsets, claims, h.lease)
		if err == nil {
			renewed, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, offset := range renewed {
		j := held[event.Offset(offset)]
		delete(held, event.Offset(offset))
		if j.lease.Stop() { // else it is over already
			j.lease.Reset(time.Until(over))
		}
	}
	for _, j := range held {
		j.cancel(event.ErrLeaseLost) // does no harm if it has ended meanwhile
	}
	return nil
}

const liveSQL = `
WITH alive AS (
     UPDATE culvert.handlers h
        SET live_until = clock_timestamp() + $4::interval
       FROM culvert.namespaces n
      WHERE h.id = $1 AND n.id = h.namespace_id AND n.name IS NOT NULL
     RETURNING h.id)
SELECT EXISTS (SELECT FROM alive),
       EXISTS (SELECT FROM culvert.namespaces WHERE id = $3 AND name IS NOT NULL),
       (SELECT count(*)
          FROM culvert.handler_jobs
         WHERE handler_id = $1 AND parked_at IS NOT NULL)
 WHERE culvert.check_ids($2)`

// live stores that the handler is live, and counts its parked events. If the handler's row is gone, the handler
// starts over: at the head if an operator removed it while it did not seem to be live, at the beginning if its
// namespace was deleted, because all events in a new namespace of that name are new to it.
func (h *handler) live(ctx context.Context) error {
	var known, there bool
	var parked int
	err := h.registered(ctx, func(r *registration) error {
		return h.o.DB.QueryRow(ctx, liveSQL, r.id, r.lineage.Generation, r.namespace, liveTime).Scan(&known, &there, &parked)
	})
	if err != nil {
		return err
	}
	h.o.Metrics.parked.WithLabelValues(h.label()).Set(float64(parked))
	if known {
		return nil
	}
	h.o.Logger.Warn("the handler or its namespace was dropped while it runs here; it starts over", "handler", h.label())
	if there {
		return h.register(ctx, event.MaxOffset)
	}
	return h.register(ctx, 0)
}
