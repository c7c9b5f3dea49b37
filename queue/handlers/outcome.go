package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// PartyPrefix begins the party under which a handler's replies are stored. No client's name can begin with it.
const PartyPrefix = "\x01"

// answer stores what the function returned as its reply. A reply that comes too late, or after the reply of an
// earlier run, is not an error: the event was handled.
func (h *handler) answer(ctx context.Context, e *event.Event, reply any) error {
	d, ok := reply.(event.Data)
	if !ok {
		text, err := json.Marshal(reply)
		if err != nil {
			return fmt.Errorf("reply: %w", err)
		}
		if d, err = event.ParseData(text); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
	}
	err := h.o.Reply(ctx, h.ns, e.Offset, d, PartyPrefix+h.name)
	if errors.Is(err, event.ErrReplyClosed) || errors.Is(err, event.ErrNoAsk) {
		h.o.Logger.Debug("a handler's reply is not taken any more", "handler", h.label(), "offset", e.Offset)
		return nil
	}
	return err
}

const doneSQL = `
DELETE FROM culvert.handler_jobs
 WHERE culvert.check_ids($2) AND handler_id = $1 AND "offset" = $3 AND claim = $4 AND (SELECT culvert.durable())`

const failedSQL = `
UPDATE culvert.handler_jobs
   SET error = $5, due = clock_timestamp() + $6::interval
 WHERE culvert.check_ids($2) AND handler_id = $1 AND "offset" = $3 AND claim = $4 AND (SELECT culvert.durable()) AND parked_at IS NULL`

const parkSQL = `
UPDATE culvert.handler_jobs
   SET error = $5, parked_at = clock_timestamp(), tries = least(tries, $6)
 WHERE culvert.check_ids($2) AND handler_id = $1 AND "offset" = $3 AND claim = $4 AND (SELECT culvert.durable()) AND parked_at IS NULL`

// settle stores how a run ended, if the job is still claimed by this run.
func (h *handler) settle(work context.Context, j *job, failure error) {
	log := h.o.Logger.With("handler", h.label(), "offset", j.event.Offset, "try", min(j.tries, h.tries))
	var result string
	var ours bool
	var err error
	switch {
	case failure == nil:
		result = "done"
		ours, err = h.store(work, doneSQL, j)
	case j.tries < h.tries && !j.event.Unreadable():
		result = "failed"
		pause := h.backoff(j.tries)
		log.Warn("handler failed; it is tried again", "error", failure, "in", pause)
		ours, err = h.store(work, failedSQL, j, storable(failure), pause)
	default:
		result = "parked"
		log.Error("handler failed for the last time; the event is parked", "error", failure)
		ours, err = h.store(work, parkSQL, j, storable(failure), h.tries)
	}
	if err == nil && !ours {
		result, err = "lost", event.ErrLeaseLost
	}
	if err != nil {
		log.Warn("the outcome of the handler could not be stored; the event will be handled again", "error", err)
	}
	h.o.Metrics.runs.WithLabelValues(h.label(), result).Inc()
}

// store tries for as long as a lease while Postgres is unavailable. ours: the job was still claimed by this
// run.
func (h *handler) store(work context.Context, sql string, j *job, args ...any) (ours bool, err error) {
	ctx, cancel := context.WithTimeout(work, h.lease)
	defer cancel()
	for pause := postgres.FirstPause; ; pause = min(2*pause, postgres.MaxPause) {
		var tag pgconn.CommandTag
		err := h.registered(ctx, func(r *registration) (err error) {
			all := append([]any{r.id, r.lineage.Generation, int64(j.event.Offset), j.claim}, args...)
			tag, err = h.o.DB.Exec(ctx, sql, all...)
			return err
		})
		if err == nil {
			return tag.RowsAffected() > 0, nil
		}
		if err = postgres.Unavailable(context.WithoutCancel(ctx), "settle", err); !errors.Is(err, event.ErrUnavailable) {
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-time.After(pause):
		}
	}
}

// backoff returns the pause after so many failed tries. A part of it is random, so that what failed together is
// not tried together.
func (h *handler) backoff(tries int) time.Duration {
	d := h.least
	for range tries - 1 {
		if d *= 2; d >= h.most {
			break
		}
	}
	d = min(d, h.most)
	return d/2 + rand.N(d/2+1)
}

// storable returns an error's text as Postgres can hold it, of bounded length.
func storable(err error) string {
	text := err.Error()
	text = text[:min(len(text), 2000)]
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
