package handlers

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

const registerSQL = `
INSERT INTO culvert.handlers AS h (namespace_id, name, pattern, answers, position, live_until)
SELECT n.id, $2, $3, $4,
       greatest(l.floor, n.floor, least($5::bigint, coalesce((SELECT max("offset") FROM culvert.events), 0))),
       clock_timestamp() + $6::interval
  FROM culvert.log l, culvert.namespaces n
 WHERE culvert.check_ids($7) AND (SELECT culvert.durable()) AND n.id = $1 AND n.name IS NOT NULL
ON CONFLICT (namespace_id, name) DO UPDATE
   SET pattern = excluded.pattern, answers = excluded.answers,
       live_until = greatest(h.live_until, excluded.live_until)
RETURNING h.id`

// register stores the handler. A new one begins after the position `from`, or at the head if that is lower. If
// instances have different patterns for one name, as while a new version is deployed, the last pattern counts.
func (h *handler) register(ctx context.Context, from event.Offset) error {
	for {
		err := h.o.Lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
			ns, err := h.o.Lineage.IDs().Namespace(ctx, h.ns)
			if err != nil {
				return err
			}
			r := &registration{namespace: ns, lineage: l}
			err = h.o.DB.QueryRow(ctx, registerSQL, ns, h.name, h.pattern, !h.silent, from, liveTime, l.Generation).Scan(&r.id)
			if errors.Is(err, pgx.ErrNoRows) { // the remembered id of the namespace is outdated
				h.o.Lineage.IDs().Forget(h.ns, ns)
			}
			if err == nil {
				h.at.Store(r)
			}
			return err
		})
		if !errors.Is(err, pgx.ErrNoRows) {
			return postgres.Unavailable(context.WithoutCancel(ctx), "register a handler", err)
		}
	}
}

// registered runs f, which uses the handler's id in a statement that checks its generation. If the id was
// outdated, it registers again and repeats f: see lineage.Keeper.
func (h *handler) registered(ctx context.Context, f func(r *registration) error) error {
	for try := 1; ; try++ {
		r := h.at.Load()
		err := f(r)
		if !postgres.IsOutdated(err) || try == lineage.Tries {
			return err
		}
		if err := h.registerAgain(ctx, r); err != nil {
			return err
		}
	}
}

// registerAgain renews an outdated registration. If the server has changed and does not know the handler, the
// handler begins where the server's run began: all events since are new to it.
func (h *handler) registerAgain(ctx context.Context, r *registration) error {
	if err := h.o.Lineage.Renew(ctx, r.lineage); err != nil {
		return err
	}
	now := h.o.Lineage.Load()
	if now.SameHistory(r.lineage) {
		h.at.CompareAndSwap(r, &registration{r.id, r.namespace, now})
		return nil
	}
	return h.register(ctx, now.OpenRun())
}

// liveTime is how long asks still expect a handler's reply after its last instance ended.
const liveTime = 15 * time.Second

// registration is a handler's row in culvert.handlers, on one server.
type registration struct {
	id, namespace int32
	lineage       *lineage.Lineage
}
