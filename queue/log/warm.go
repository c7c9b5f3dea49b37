package log

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/tail"
)

// Warm reads into the tail what was stored before it began, until the tail is full or has all of the log. It reads the
// newest events first, so what the tail has is of use at any time, and new events come into it meanwhile. If Postgres
// fails, Warm gives up: clients that lack older events read them from Postgres.
func (lg *Log) Warm(ctx context.Context) {
	start, events, from := time.Now(), 0, lg.o.Tail.Floor()
	for more := true; more; {
		var n int
		var err error
		n, more, err = lg.readOlder(ctx)
		if err != nil && ctx.Err() == nil {
			lg.o.Logger.Warn("not all recent events could be read at the start; clients ask Postgres for them",
				"error", err)
		}
		if more = more && err == nil; err == nil {
			events += n
		}
	}
	lg.o.Logger.Debug("the tail has events from before the start", "events", events,
		"from", lg.o.Tail.Floor(), "to", from, "took", time.Since(start).String())
}

const recentSQL = `
SELECT *
  FROM culvert.recent($1, $2, $3, $4, $5)`

// readOlder reads one page of what comes before the tail. n is the number of events that were read. more: the log has
// older ones, and the tail has room for them.
func (lg *Log) readOlder(ctx context.Context) (n int, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	l, upto := lg.o.Lineage.Load(), lg.o.Tail.Floor()
	p, err := scanCarefully(nil, func(careful bool) (pgx.Rows, error) {
		return lg.o.DB.Write.Query(ctx, recentSQL, l.Generation, int64(upto), followPage, tail.MaxBatch, careful)
	})
	switch {
	case postgres.IsOutdated(err):
		return 0, true, lg.o.Lineage.Renew(ctx, l)
	case err != nil:
		return 0, false, postgres.Unavailable(ctx, "read recent events", err)
	case p.Floor >= upto:
		return 0, false, nil // nothing is older
	}
	after := p.Floor
	if n = len(p.Events); p.cutShort() {
		if n == followPage { // it may begin between two rooms of one event
			first := p.Events[0].Offset
			p.Events = slices.DeleteFunc(p.Events, func(e *event.Event) bool { return e.Offset == first })
		}
		after = p.Events[0].Offset - 1
	}
	lg.o.Faults.Look(p.Events...)
	return n, lg.o.Tail.Precede(l, after, upto, p.Events), nil
}
