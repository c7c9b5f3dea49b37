package handlers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/decode"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
)

const claimSQL = `
WITH next AS (
     SELECT "offset"
       FROM culvert.handler_jobs
      WHERE culvert.check_ids($2) AND handler_id = $1 AND parked_at IS NULL AND due <= clock_timestamp() AND "offset" <> ALL ($5)
      ORDER BY due, "offset"
      LIMIT $3
        FOR UPDATE SKIP LOCKED)
UPDATE culvert.handler_jobs j
   SET due = clock_timestamp() + $4::interval, claim = claim + 1, tries = tries + 1
  FROM next
 WHERE j.handler_id = $1 AND j."offset" = next."offset" AND (SELECT culvert.durable())
RETURNING (SELECT id FROM culvert.log), j."offset", j.room, j.at, j.is_binary, j.event, coalesce(j.sender, ''),
       j.except_, j.data, j.reply_until, j.claim, j.tries`

const emptyDamagedSQL = `
SELECT culvert.empty_damaged_jobs($1, $2)`

// claim takes up to n jobs that are due. Their leases are counted from before the claim, so that they are over
// here no later than in Postgres. A job whose function still runs here although its lease was lost is left to
// other instances.
func (h *handler) claim(ctx context.Context, n int) ([]*job, error) {
	ctx, cancel := context.WithTimeout(ctx, min(postgres.ReadTimeout, h.lease))
	defer cancel()
	over := time.Now().Add(h.lease)
	var jobs []*job
	err := h.registered(ctx, func(r *registration) (err error) {
		if jobs, err = h.claimOnce(ctx, r, n, over); decode.IsDamaged(err) {
			// Empty the damaged jobs, so that they can be claimed and are then parked.
			if _, err := h.o.DB.Exec(ctx, emptyDamagedSQL, r.lineage.Generation, r.id); err != nil {
				return err
			}
			jobs, err = h.claimOnce(ctx, r, n, over)
		}
		return err
	})
	return jobs, postgres.Unavailable(context.WithoutCancel(ctx), "claim", err)
}

func (h *handler) claimOnce(ctx context.Context, r *registration, n int, over time.Time) ([]*job, error) {
	rows, err := h.o.DB.Query(ctx, claimSQL, r.id, r.lineage.Generation, n, h.lease, h.runningHere())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*job, error) {
		e := &event.Event{Namespace: h.ns.String()}
		j := &job{event: e, over: over}
		var room, from trusted.Text
		var except []pgtype.Text
		var at, until pgtype.Timestamptz
		err := row.Scan(&e.Log, &e.Offset, &room, &at, &e.Binary, &e.Name, &from,
			&except, &e.Data, &until, &j.claim, &j.tries)
		e.Room, e.From = event.StoredRoom(room), event.StoredClient(from)
		e.At, e.ReplyUntil, e.Except = at.Time, until.Time, decode.Rooms(except)
		e.Fault = decode.Check(e, nil, []byte(e.Data), except)
		return j, err
	})
}

// start runs a job in a goroutine of its own.
func (h *handler) start(work context.Context, j *job) {
	ctx, cancel := context.WithCancelCause(work)
	j.cancel = cancel
	j.lease = time.AfterFunc(time.Until(j.over), func() { cancel(event.ErrLeaseLost) })
	h.mu.Lock()
	h.running[j.event.Offset] = j
	h.mu.Unlock()
	h.work.Go(func() {
		defer func() { // even if the function ends its goroutine
			j.lease.Stop()
			cancel(nil)
			h.mu.Lock()
			delete(h.running, j.event.Offset)
			h.mu.Unlock()
			h.wakeUp()
		}()
		h.settle(work, j, h.try(ctx, j))
	})
}

// errNeverEnded is the error with which an event is parked if none of its runs ended.
var errNeverEnded = errors.New("no run ended: the instances died or lost their leases")

// try runs the function and stores its reply.
func (h *handler) try(ctx context.Context, j *job) error {
	if j.event.Fault != nil {
		return fmt.Errorf("the event cannot be read: %w", j.event.Fault)
	}
	if j.tries > h.tries {
		return errNeverEnded
	}
	reply, err := h.call(ctx, j.event)
	if err != nil || reply == nil || j.event.ReplyUntil.IsZero() {
		return err
	}
	return h.answer(ctx, j.event, reply)
}

// call calls the function, and turns a panic into an error.
func (h *handler) call(ctx context.Context, e *event.Event) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			h.o.Logger.Error("handler panicked", "handler", h.label(), "offset", e.Offset, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return h.f(ctx, e.Copy()) // a copy: settle needs the original unchanged
}
