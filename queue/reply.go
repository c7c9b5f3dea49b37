package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue/log"
)

// Reply is a reply to an event that asks for replies.
type Reply struct {
	Namespace event.Namespace
	To        event.Offset
	// From is the client that replies; zero: a backend, which counts as one party.
	From event.Client
	Data event.Data
	// May reports whether From may read a room that it is not in, or is in by its own token (see Joining); nil:
	// From may read only the rooms it is in.
	May func(event.Room) bool
}

// load returns what a reply takes until it is stored. Its data counts three times: as it came, as it is sent to
// Postgres, and in the event that tells the emitter.
func (r Reply) load() (batch.Caller, batch.Load) {
	return log.CallerOf(r.Namespace, r.From), batch.Load{Events: 1, Bytes: 3*r.Data.Len() + log.EmitBytes + log.RoomBytes}
}

// Reply stores a reply and stages the event culvert:reply that tells the
// emitter, in one transaction that is committed when it returns. again: From
// replied before, and nothing was stored. Errors: ErrNoAsk, also when the event
// was not for From; ErrReplyClosed, ErrOverloaded, ErrUnavailable.
func (q *Queue) Reply(ctx context.Context, r Reply) (again bool, err error) {
	return q.replies.take(ctx, r)
}

// replies stores replies and waits for them.
type replies struct {
	db      *postgres.Pools
	lineage *lineage.Keeper
	log     *log.Log
	waiting *batch.Gate // replies that wait to be stored
	waiters *waiters
}

// take stores the reply of a client or a backend.
func (rs *replies) take(ctx context.Context, r Reply) (again bool, err error) {
	leave, err := rs.waiting.Enter(r.load())
	if err != nil {
		return false, err
	}
	defer leave()
	if err := rs.mayReply(ctx, r); err != nil {
		return false, err
	}
	return rs.store(ctx, r, r.From.String())
}

const mayReplySQL = `
WITH mine AS (
     SELECT unnest(ARRAY['*', '@' || $3::text]) AS name, false AS own
      UNION
     SELECT r.name, m.own
       FROM culvert.clients c
       JOIN culvert.memberships m ON m.client_id = c.id AND m.since < $2 AND (m.until IS NULL OR $2 <= m.until)
       JOIN culvert.rooms r ON r.id = m.room_id
      WHERE c.namespace_id = $1 AND c.name = $3)
SELECT a.rooms,
       EXISTS (SELECT FROM mine WHERE mine.name = ANY (a.rooms) AND NOT (mine.own AND $5)),
       EXISTS (SELECT FROM mine WHERE mine.name = ANY (a.except_))
  FROM culvert.asks a
 WHERE culvert.check_ids($4) AND a."offset" = $2 AND a.namespace_id = $1`

// mayReply refuses clients that did not receive the event. What it reads does not change any more: the rooms of
// an ask, and the memberships at its offset.
func (rs *replies) mayReply(ctx context.Context, r Reply) error {
	var rooms []string
	var addressed, excepted bool
	err := rs.lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
		ns, err := rs.lineage.IDs().Namespace(ctx, r.Namespace)
		if err != nil {
			return err
		}
		return rs.db.Read.Use(ctx, r.Namespace, r.From, postgres.Quick, func(db *pgxpool.Pool) error {
			return db.QueryRow(ctx, mayReplySQL, ns, int64(r.To), r.From.String(), l.Generation, r.May != nil).Scan(&rooms, &addressed, &excepted)
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return event.ErrNoAsk
	}
	if err != nil {
		return postgres.Unavailable(ctx, "reply", err)
	}
	if r.From != (event.Client{}) {
		if excepted {
			return event.ErrNoAsk
		}
		if addressed {
			return nil
		}
	}
	for _, name := range rooms {
		if r.May != nil && r.May(event.StoredRoom(trusted.Of(name))) {
			return nil
		}
	}
	return event.ErrNoAsk
}

const replySQL = `
SELECT culvert.reply($1, $2, $3, $4, $5, $6)`

// store stores the reply of a party that may reply.
func (rs *replies) store(ctx context.Context, r Reply, party string) (again bool, err error) {
	var sender *string
	if r.From != (event.Client{}) {
		sender = new(r.From.String())
	}
	var result string
	err = postgres.Repeat(ctx, func() error {
		return rs.db.Work.Use(ctx, r.Namespace, r.From, postgres.Long, func(db *pgxpool.Pool) error {
			return db.QueryRow(ctx, replySQL, int64(r.To), party, sender, r.Data.JSON(), r.Data.Binary(), replyData(r)).Scan(&result)
		})
	})
	if err != nil {
		return false, postgres.Unavailable(ctx, "reply", err)
	}
	switch result {
	case "unknown":
		return false, event.ErrNoAsk
	case "closed":
		return false, event.ErrReplyClosed
	case "again":
		return true, nil
	}
	// Our own appender moves the event into the log at once. If this instance ends before, the next append of
	// another instance does.
	rs.log.Announce()
	return false, nil
}

// replyData returns the data of the event that tells the emitter of a reply; askOf reads it.
func replyData(r Reply) string {
	var b bytes.Buffer
	b.WriteString(`{"to":` + strconv.FormatInt(int64(r.To), 10) + `,"from":`)
	if r.From == (event.Client{}) {
		b.WriteString("null")
	} else {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(r.From.String()) // a valid string always encodes
		b.Truncate(b.Len() - 1)       // the newline
	}
	if r.Data.Binary() {
		b.WriteString(`,"binary":`)
	} else {
		b.WriteString(`,"data":`)
	}
	b.WriteString(r.Data.JSON())
	b.WriteByte('}')
	return b.String()
}

// ofHandler stores the reply of a handler.
func (rs *replies) ofHandler(ctx context.Context, ns event.Namespace, to event.Offset, d event.Data, party string) error {
	_, err := rs.store(ctx, Reply{Namespace: ns, To: to, Data: d}, party)
	return err
}
