package handlers

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Operator shows and changes the handlers of a database without taking part in its work: it neither appends to
// the log nor follows it.
type Operator struct{ db *pgxpool.Pool }

// NewOperator takes over a pool, which Close closes.
func NewOperator(db *pgxpool.Pool) *Operator { return &Operator{db} }

// Close releases the connection.
func (o *Operator) Close() { o.db.Close() }

// HandlerState is what is known of a handler.
type HandlerState struct {
	Namespace, Name, Pattern string
	Live                     bool         // an instance runs it
	Position                 event.Offset // everything up to it is being handled, or has been
	Waiting                  int          // events up to Position that run or are going to
	Parked                   int
	Gaps                     int // times that events were pruned before it got them
}

const handlersSQL = `
SELECT n.name, h.name, h.pattern, h.live_until > clock_timestamp(), h.position,
       count(j."offset") FILTER (WHERE j.parked_at IS NULL), count(j.parked_at), h.gaps
  FROM culvert.handlers h
  JOIN culvert.namespaces n ON n.id = h.namespace_id AND n.name IS NOT NULL
  LEFT JOIN culvert.handler_jobs j ON j.handler_id = h.id
 GROUP BY n.name, h.id
 ORDER BY n.name, h.name`

// Handlers lists all handlers.
func (o *Operator) Handlers(ctx context.Context) ([]HandlerState, error) {
	rows, err := o.db.Query(ctx, handlersSQL)
	if err != nil {
		return nil, postgres.Unavailable(ctx, "handlers", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[HandlerState])
	return all, postgres.Unavailable(ctx, "handlers", err)
}

// ParkedEvent is one that a handler has given up on.
type ParkedEvent struct {
	Offset      event.Offset
	Room, Event string
	Tries       int
	Error       string // of the last try
	At          time.Time
}

// byName selects the id of a handler. Every statement looks it up again, because it may run on another database
// than the one before.
const byName = `(
       SELECT h.id
         FROM culvert.handlers h
         JOIN culvert.namespaces n ON n.id = h.namespace_id
        WHERE n.name = $1 AND h.name = $2)`

const parkedSQL = `
SELECT j."offset", j.room, j.event, j.tries, j.error, j.parked_at
  FROM culvert.handler_jobs j
 WHERE j.handler_id = ` + byName + ` AND j.parked_at IS NOT NULL
 ORDER BY j."offset"
 LIMIT $3`

// Parked lists the oldest parked events of a handler. Errors: ErrNoHandler,
// ErrUnavailable.
func (o *Operator) Parked(ctx context.Context, ns event.Namespace, name string, limit int) ([]ParkedEvent, error) {
	if err := o.find(ctx, ns, name); err != nil {
		return nil, err
	}
	rows, err := o.db.Query(ctx, parkedSQL, ns.String(), name, limit)
	if err != nil {
		return nil, postgres.Unavailable(ctx, "parked events", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ParkedEvent])
	return all, postgres.Unavailable(ctx, "parked events", err)
}

// parkedCTE locks the parked events in the order of their offsets, see append.sql.
const parkedCTE = `
WITH parked AS MATERIALIZED (
     SELECT handler_id, "offset"
       FROM culvert.handler_jobs
      WHERE handler_id = ` + byName + ` AND parked_at IS NOT NULL AND ($3::bigint[] IS NULL OR "offset" = ANY ($3))
      ORDER BY "offset"
        FOR UPDATE)`

const retrySQL = parkedCTE + `
UPDATE culvert.handler_jobs j
   SET parked_at = NULL, tries = 0, due = clock_timestamp()
  FROM parked
 WHERE j.handler_id = parked.handler_id AND j."offset" = parked."offset" AND (SELECT culvert.durable())`

// Retry makes parked events run again, with all their tries: those at the offsets, or all if no offset is
// given. It returns how many. Errors as for Parked.
func (o *Operator) Retry(ctx context.Context, ns event.Namespace, name string, offsets ...event.Offset) (int, error) {
	return o.change(ctx, retrySQL, ns, name, offsets)
}

const dropSQL = parkedCTE + `
DELETE FROM culvert.handler_jobs j
 USING parked
 WHERE j.handler_id = parked.handler_id AND j."offset" = parked."offset" AND (SELECT culvert.durable())`

// Drop deletes parked events for good. Arguments, result and errors are as for Retry.
func (o *Operator) Drop(ctx context.Context, ns event.Namespace, name string, offsets ...event.Offset) (int, error) {
	return o.change(ctx, dropSQL, ns, name, offsets)
}

func (o *Operator) change(ctx context.Context, sql string, ns event.Namespace, name string, offsets []event.Offset) (int, error) {
	if err := o.find(ctx, ns, name); err != nil {
		return 0, err
	}
	var only []int64 // nil: all
	for _, offset := range offsets {
		only = append(only, int64(offset))
	}
	tag, err := o.db.Exec(ctx, sql, ns.String(), name, only)
	return int(tag.RowsAffected()), postgres.Unavailable(ctx, "parked events", err)
}

const removeSQL = `
WITH jobs AS MATERIALIZED (
     SELECT
       FROM culvert.handler_jobs
      WHERE handler_id = ` + byName + `
      ORDER BY "offset"
        FOR UPDATE)
DELETE FROM culvert.handlers
 WHERE id = ` + byName + ` AND live_until <= clock_timestamp() AND (SELECT count(*) FROM jobs) >= 0 AND (SELECT culvert.durable())`

// Remove deletes a handler that no instance runs any more, with its position and all its jobs. Errors:
// ErrNoHandler, ErrHandlerLive, ErrUnavailable.
func (o *Operator) Remove(ctx context.Context, ns event.Namespace, name string) error {
	if err := o.find(ctx, ns, name); err != nil {
		return err
	}
	tag, err := o.db.Exec(ctx, removeSQL, ns.String(), name)
	if err == nil && tag.RowsAffected() == 0 {
		return event.ErrHandlerLive
	}
	return postgres.Unavailable(ctx, "remove a handler", err)
}

const findHandlerSQL = `
SELECT ` + byName + ` IS NOT NULL`

// find returns ErrNoHandler if there is no handler of that name.
func (o *Operator) find(ctx context.Context, ns event.Namespace, name string) error {
	var found bool
	err := o.db.QueryRow(ctx, findHandlerSQL, ns.String(), name).Scan(&found)
	if err == nil && !found {
		return fmt.Errorf("%s/%s: %w", ns.String(), name, event.ErrNoHandler)
	}
	return postgres.Unavailable(ctx, "handler", err)
}
