package handlers

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

const (
	// handlerPoll is how often a handler looks without being woken: for jobs that others dispatched, for
	// retries, and for events whose notifications were lost.
	handlerPoll = 2 * time.Second
	// busyPause is the shortest pause before the next search while another instance dispatches.
	busyPause = 10 * time.Millisecond
	// dispatchRows is how many rows of the log one dispatch looks at, and so the most jobs it makes in one
	// transaction. It is more than the rooms an event may have.
	dispatchRows = 2_000
)

// run finds work until ctx ends. The functions it starts run until work ends.
func (h *handler) run(ctx, work context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-timer.C:
		}
		pause, err := h.runOnce(ctx, work)
		if ctx.Err() != nil {
			return
		}
		h.report(err)
		timer.Reset(pause)
	}
}

// runOnce starts as many jobs as there are free slots. It makes more jobs only when slots are left: if a
// handler is slow, the events that it has not reached are in the log, not in jobs. It returns the pause until
// the next look.
func (h *handler) runOnce(ctx, work context.Context) (pause time.Duration, err error) {
	for {
		free := h.slots - h.busy()
		if free <= 0 {
			return handlerPoll, nil // a job that ends wakes us
		}
		jobs, err := h.claim(ctx, free)
		if err != nil {
			return handlerPoll, err
		}
		for _, j := range jobs {
			h.start(work, j)
		}
		if len(jobs) == free {
			return handlerPoll, nil
		}
		busy, again, err := h.dispatch(ctx)
		switch {
		case err != nil:
			return handlerPoll, err
		case busy:
			return busyPause + rand.N(busyPause), nil
		case !again:
			due, err := h.nextDue(ctx)
			return min(due, handlerPoll), err
		}
	}
}

const dispatchSQL = `
SELECT busy, moved, more, lost, coalesce(gap_from, 0), coalesce(gap_to, 0), (SELECT id FROM culvert.log)
  FROM culvert.dispatch($1, $3)
 WHERE culvert.check_ids($2)`

// dispatch makes jobs from the next events. again: there are new jobs, or more of the log to look at. busy:
// another instance is dispatching.
func (h *handler) dispatch(ctx context.Context) (busy, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	var moved int
	var more, lost bool
	var from, to event.Cursor
	err = h.registered(ctx, func(r *registration) error {
		return h.o.DB.QueryRow(ctx, dispatchSQL, r.id, r.lineage.Generation, dispatchRows).
			Scan(&busy, &moved, &more, &lost, &from.Offset, &to.Offset, &to.Log)
	})
	if err != nil {
		return false, false, postgres.Unavailable(context.WithoutCancel(ctx), "dispatch", err)
	}
	if lost {
		from.Log = to.Log
		h.o.Metrics.gaps.WithLabelValues(h.label()).Inc()
		h.o.Logger.Error("events were pruned before a handler got them",
			"handler", h.label(), "gap", event.Gap{From: from, To: to, Reason: event.GapPruned}.String())
	}
	return busy, moved > 0 || more, nil
}

const nextDueSQL = `
SELECT min(due) - clock_timestamp()
  FROM culvert.handler_jobs
 WHERE culvert.check_ids($2) AND handler_id = $1 AND parked_at IS NULL AND "offset" <> ALL ($3)`

// nextDue returns the time until the next retry is due, or the lease of another instance is over.
func (h *handler) nextDue(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	var due *time.Duration
	err := h.registered(ctx, func(r *registration) error {
		return h.o.DB.QueryRow(ctx, nextDueSQL, r.id, r.lineage.Generation, h.runningHere()).Scan(&due)
	})
	if err != nil || due == nil {
		return handlerPoll, postgres.Unavailable(context.WithoutCancel(ctx), "next retry", err)
	}
	return max(*due, busyPause), nil
}
