package log

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Several instances would each wait for the append lock and for a commit of their own. Instead, an instance
// that cannot have the lock at once offers its batch to whoever has it next: see
// migrations/functions/offers.sql.

// mostOffered bounds a batch that may be offered. For a larger one, a commit of its own costs little, and
// storing it twice costs much.
var mostOffered = batch.Load{
	Events: MostAppended.Events / 2, Rooms: MostAppended.Rooms / 2, Bytes: MostAppended.Bytes / 2,
}

// appendedColumns are the columns of an appended, from result; it is NULL while there is none.
const appendedColumns = `
       coalesce((s.result).seen::text, ''), coalesce((s.result).part::text::bigint, 0), coalesce((s.result).last, 0), coalesce((s.result).log, ''),
       coalesce((s.result).prev, 0), coalesce((s.result).base, 0), coalesce((s.result).head, 0), coalesce((s.result).at, 'epoch'),
       coalesce((s.result).moved, 0), coalesce((s.result).more, false), coalesce((s.result).stored, false), coalesce((s.result).waits, '{}'),
       coalesce((s.result).now_::text::bigint, 0), coalesce((s.result).move_ms, 0),
       (s.result).known, (s.result).known_offset, (s.result).known_same, coalesce((s.result).generation, 0)`

const offerSQL = `
SELECT coalesce(s.at, 'epoch'), s.id, coalesce(s.batches, 0), coalesce(s.others, 0),` + appendedColumns + `
  FROM culvert.append_or_offer(` + appendParams + `, $25::int[], $26::int[], $27, $28) s`

const settleSQL = `
SELECT s.state, coalesce(s.by_other, false), coalesce(s.batches, 0), coalesce(s.others, 0),` + appendedColumns + `
  FROM culvert.settle_offer($1, $2, $3, $4, $5::int[], $6) s`

// share appends a batch in a transaction that it may share with those of other instances. args are those of
// culvert.append. If it fails after the batch was offered, r has the offer.
func (a *appender) share(ctx context.Context, conn *pgxpool.Conn, args []any, load batch.Load) (r appended, err error) {
	deadline, _ := ctx.Deadline()
	expect, most := a.peers.expect, numbers(MostAppended)
	var o offer
	start := time.Now()
	err = postgres.Repeat(ctx, func() error {
		return conn.QueryRow(ctx, offerSQL, append(args, numbers(load), most, time.Until(deadline), expect)...).
			Scan(append([]any{&o.at, &o.id, &r.batches, &r.others}, r.columns()...)...)
	})
	offered := err == nil && o.id.Valid
	for pauses := 0; err == nil && o.id.Valid; pauses++ {
		if expect > 1 {
			a.peers.pause(ctx)
		}
		if pauses > 0 {
			expect = 1
		}
		var state string
		err = postgres.Repeat(ctx, func() error {
			return conn.QueryRow(ctx, settleSQL, o.at, o.id, args[22], args[23], most, expect).
				Scan(append([]any{&state, &r.byOther, &r.batches, &r.others}, r.columns()...)...)
		})
		if state == "settled" {
			break
		}
		if err == nil && state == "gone" {
			err = errGone
		}
	}
	if err == nil {
		a.peers.learn(offered, r, time.Since(start))
	} else if offered {
		r.offer = &o
	}
	return r, err
}

func numbers(l batch.Load) []int32 {
	return []int32{int32(l.Events), int32(l.Rooms), int32(l.Bytes)} //nolint:gosec // at most MostAppended
}

// errGone says that an offer is not there any more, because the server is another one or too much time has
// passed.
var errGone = fmt.Errorf("%w: it is not known whether the batch was stored", event.ErrUnavailable)

const withdrawSQL = `
DELETE FROM culvert.offers o WHERE o.at = $1 AND o.id = $2 AND (o.waits OR o.refused)`

// withdraw sees to it that no other instance appends a batch that was offered, after err kept this one from it.
// If one has appended it meanwhile, withdraw returns the result. Its error wraps ErrUnavailable if the batch may
// be stored.
func (a *appender) withdraw(ctx context.Context, r appended, err error) (appended, error) {
	o, lineage := r.offer, r.movedUpTo.of
	unknown := err
	if !errors.Is(err, event.ErrUnavailable) {
		unknown = fmt.Errorf("%w: %w", errGone, err)
	}
	if ctx.Err() != nil {
		return r, unknown // nobody appends it after its time, which is over
	}
	tag, failed := a.o.DB.Write.Exec(ctx, withdrawSQL, o.at, o.id)
	switch {
	case failed != nil:
		return r, unknown
	case tag.RowsAffected() == 1:
		return r, err
	}
	var state string
	r = appended{}
	failed = a.o.DB.Write.QueryRow(ctx, settleSQL, o.at, o.id, 0, 0, numbers(MostAppended), 1).
		Scan(append([]any{&state, &r.byOther, &r.batches, &r.others}, r.columns()...)...)
	r.movedUpTo.of = lineage
	if failed != nil || state != "settled" {
		return r, unknown
	}
	return r, nil
}

// peers is what an instance knows of others that append. Only the appender's goroutine uses it.
//
// If every instance appended as soon as it has the lock, two busy ones would take turns: the emits that one of
// them gets while the other one commits come too late for that commit. So an instance that meets others expects
// them to share the next commit, and waits for them for a moment.
type peers struct {
	expect int           // how many batches will probably share the next commit; 1: do not wait
	head   event.Offset  // after this instance's last append
	met    int           // appends in a row that found the lock taken, and events of others
	missed int           // appends in a row that fewer shared than expected
	skip   int           // how many more of those that meet others do not make it expect them
	rest   int           // the last skip: waiting in vain is tried ever less often
	took   time.Duration // about how long an append takes
}

const (
	leastPause = 200 * time.Microsecond
	mostPause  = 3 * time.Millisecond
	meetings   = 2   // so many make an instance expect others
	misses     = 3   // so many make it expect fewer
	mostRest   = 256 // see peers.rest
)

// pause waits for others to offer their batches.
func (p *peers) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(min(max(p.took/4, leastPause), mostPause)):
	}
}

// learn adapts what is expected after an append, which was offered or not.
func (p *peers) learn(offered bool, r appended, took time.Duration) {
	p.took += (took - p.took) / 8
	others := p.head > 0 && r.prev > p.head
	if r.stored {
		p.head = r.head
	}
	switch {
	case r.batches >= p.expect && r.batches > 1:
		p.expect, p.met, p.missed, p.rest = r.batches, 0, 0, 0
	case p.expect > 1:
		if p.missed++; p.missed < misses {
			return
		}
		p.expect, p.missed = max(1, r.batches), 0
		if p.expect == 1 {
			p.rest = min(2*p.rest+4, mostRest)
			p.skip = p.rest
		}
	case !offered || !others:
		p.met = 0
	case p.skip > 0:
		p.skip--
	default:
		if p.met++; p.met >= meetings {
			p.expect, p.met = 2, 0
		}
	}
}
