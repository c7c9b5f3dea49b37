package queue

import (
	"context"
	"errors"
	"log/slog"
)

// outage logs that something is refused because of Postgres, and that it works
// again: one line each, however many requests there are in between. The reason,
// such as a full disk or a lock, is nowhere else to be seen. One goroutine uses it.
type outage struct {
	log  *slog.Logger
	db   *pools
	what string // what is refused, in the plural
	on   bool
}

// note takes the outcome of an attempt. Errors that are about the attempt alone
// count for nothing.
func (o *outage) note(ctx context.Context, err error) {
	switch {
	case err == nil && o.on:
		o.on = false
		o.log.Info(o.what + " are stored again")
	case errors.Is(err, context.Canceled): // the queue is being closed
	case errors.Is(err, ErrUnavailable) && !o.on:
		o.on = true
		o.log.Error(o.what+" are refused until Postgres can store them", append([]any{"error", err}, o.db.blockers(ctx, err)...)...)
	}
}
