package queue

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue/handlers"
)

// Replies are the replies to an event, in the order they came.
type Replies struct {
	Answers []Answer
	// Complete: as many came as were asked for, or one came from each party that was expected to reply.
	Complete bool
	// Cut: there are more than Answers holds, about MaxReplyBytes of data.
	Cut bool
}

// Answer is one reply.
type Answer struct {
	From event.Client // zero: a backend or a handler
	Data event.Data
}

// MaxReplyBytes bounds the data Await returns; at least one answer always fits.
const MaxReplyBytes = 4 << 20

// Await waits until the replies to an event are complete, until their time is over or until ctx ends. It
// returns the replies that are stored then, whichever instance took them. It keeps waiting while Postgres is
// unavailable. Errors: ErrNoAsk, ErrUnavailable.
func (q *Queue) Await(ctx context.Context, ns event.Namespace, to event.Offset) (Replies, error) {
	return q.replies.await(ctx, ns, to)
}

func (rs *replies) await(ctx context.Context, ns event.Namespace, to event.Offset) (Replies, error) {
	wake, leave := rs.waiters.join(to)
	defer leave()
	pause := postgres.FirstPause
	for ctx.Err() == nil {
		done, left, err := rs.askState(ctx, ns, to)
		switch {
		case ctx.Err() != nil:
			continue
		case errors.Is(err, event.ErrUnavailable):
			left, pause = pause, min(2*pause, postgres.MaxPause)
		case err != nil:
			return Replies{}, err
		case done || left <= 0:
			return rs.read(ctx, ns, to)
		default:
			pause = postgres.FirstPause
		}
		end := time.NewTimer(left)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-end.C:
		}
		end.Stop()
	}
	return rs.read(ctx, ns, to)
}

// The time left is computed by the clock of Postgres, which also decides whether a reply is in time.
const askStateSQL = `
SELECT a.counted >= a.wanted, a.until - clock_timestamp()
  FROM culvert.asks a
 WHERE culvert.check_ids($3) AND a."offset" = $2 AND a.namespace_id = $1`

func (rs *replies) askState(caller context.Context, ns event.Namespace, to event.Offset) (done bool, left time.Duration, err error) {
	ctx, cancel := context.WithTimeout(caller, postgres.ReadTimeout)
	defer cancel()
	err = rs.lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		id, err := rs.lineage.IDs().Namespace(ctx, ns)
		if err != nil {
			return err
		}
		return rs.db.Read.Use(ctx, ns, event.Client{}, postgres.Quick, func(db *pgxpool.Pool) error {
			return db.QueryRow(ctx, askStateSQL, id, int64(to), l.Generation).Scan(&done, &left)
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, 0, event.ErrNoAsk
	}
	return done, left, postgres.Unavailable(caller, "replies", err)
}

// lastLook is how long the last read after a wait may take, its retries included.
const lastLook = 3 * time.Second

// read reads what is stored, whether or not ctx has ended.
func (rs *replies) read(ctx context.Context, ns event.Namespace, to event.Offset) (Replies, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	for pause := postgres.FirstPause; ; pause *= 2 {
		r, err := rs.readReplies(ctx, ns, to)
		if !errors.Is(err, event.ErrUnavailable) {
			return r, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return r, err
		}
	}
}

const repliesSQL = `
SELECT a.counted >= a.wanted, coalesce(r.total, 0), r.party, r.is_binary, r.data
  FROM culvert.asks a
  LEFT JOIN LATERAL (
       SELECT *, count(*) OVER () AS total, row_number() OVER came AS nth,
              sum(octet_length(data)) OVER (came ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
         FROM culvert.replies
        WHERE "offset" = a."offset"
       WINDOW came AS (ORDER BY at, party)) r ON r.before IS NULL OR r.before < $3
 WHERE culvert.check_ids($4) AND a."offset" = $2 AND a.namespace_id = $1
 ORDER BY r.nth`

func (rs *replies) readReplies(ctx context.Context, ns event.Namespace, to event.Offset) (r Replies, err error) {
	err = rs.lineage.WithIDs(ctx, func(l *lineage.Lineage) (err error) {
		r, err = rs.readRepliesOnce(ctx, l, ns, to)
		return err
	})
	if errors.Is(err, event.ErrNoAsk) {
		return Replies{}, err
	}
	return r, postgres.Unavailable(context.WithoutCancel(ctx), "replies", err)
}

func (rs *replies) readRepliesOnce(ctx context.Context, l *lineage.Lineage, ns event.Namespace, to event.Offset) (Replies, error) {
	id, err := rs.lineage.IDs().Namespace(ctx, ns)
	if err != nil {
		return Replies{}, err
	}
	var r Replies
	var total int
	var tag pgconn.CommandTag
	err = rs.db.Read.Use(ctx, ns, event.Client{}, postgres.Long, func(db *pgxpool.Pool) error {
		rows, err := db.Query(ctx, repliesSQL, id, int64(to), MaxReplyBytes, l.Generation)
		if err != nil {
			return err
		}
		var party, data *string
		var binary *bool
		tag, err = pgx.ForEachRow(rows, []any{&r.Complete, &total, &party, &binary, &data}, func() error {
			if party != nil {
				r.Answers = append(r.Answers, Answer{From: partyClient(*party), Data: event.StoredData(trusted.Of(*data), *binary)})
			}
			return nil
		})
		return err
	})
	switch {
	case err != nil:
		return Replies{}, err
	case tag.RowsAffected() == 0:
		return Replies{}, event.ErrNoAsk
	}
	r.Cut = len(r.Answers) < total
	return r, nil
}

// partyClient returns the client that a party of culvert.replies is; zero for a backend and for a handler.
func partyClient(party string) event.Client {
	if strings.HasPrefix(party, handlers.PartyPrefix) {
		return event.Client{}
	}
	return event.StoredClient(trusted.Of(party))
}
