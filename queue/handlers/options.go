package handlers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
)

// Func runs for an event. It may run more than once for the same event, even after it returned nil, but not
// twice at the same time: when that can no longer be promised, its context ends with the cause ErrLeaseLost.
//
// After an error or a panic the event is run again later. If the event asks for replies, reply is stored as
// one: any value that marshals to JSON, or an event.Data. nil sends no reply; to reply null, return
// json.RawMessage("null").
type Func func(ctx context.Context, e *event.Event) (reply any, err error)

// Option changes what Handle does.
type Option func(*handler)

// Named gives the handler a name of its own: handlers of the same name and
// namespace share their work and their position, whatever instance they are in.
// Without it the name is the pattern.
func Named(name string) Option { return func(h *handler) { h.name = name } }

// FromEarliest makes a new handler begin at the oldest retained event, not at the head.
func FromEarliest() Option { return func(h *handler) { h.earliest = true } }

// Silent says that the handler never replies, so that asks do not wait for it.
func Silent() Option { return func(h *handler) { h.silent = true } }

// Tries is how often an event is run before it is parked. Default: 10.
func Tries(n int) Option { return func(h *handler) { h.tries = n } }

// Backoff bounds the pause after a failed run, which doubles each time and is partly random. Default: 1s and
// 5m.
func Backoff(least, most time.Duration) Option {
	return func(h *handler) { h.least, h.most = least, most }
}

// Concurrency is how many events this instance runs at a time. Default: 4.
func Concurrency(n int) Option { return func(h *handler) { h.slots = n } }

// Lease is how long after the death of an instance another one runs its events again. It is renewed while they
// run. Default: 30s.
func Lease(d time.Duration) Option { return func(h *handler) { h.lease = d } }

// Register starts a handler, see Queue.Handle.
func (hs *Handlers) Register(ns event.Namespace, pattern string, f Func, options ...Option) error {
	h := newHandler(hs, ns, pattern, f)
	for _, change := range options {
		change(h)
	}
	if err := h.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), hs.o.Timeout)
	defer cancel()
	from := event.MaxOffset
	if h.earliest {
		from = 0
	}
	if err := h.register(ctx, from); err != nil {
		return err
	}
	return hs.add(h)
}

func (h *handler) check() error {
	switch {
	case h.ns == event.Namespace{}:
		return event.Invalid("namespace", "must not be empty")
	case h.tries < 1:
		return event.Invalid("tries", "must be at least 1")
	case h.slots < 1:
		return event.Invalid("concurrency", "must be at least 1")
	case h.lease < 100*time.Millisecond:
		return event.Invalid("lease", "must be at least 100ms")
	case h.least <= 0 || h.most < h.least:
		return event.Invalid("backoff", "must be positive, and at most its upper bound")
	}
	return errors.Join(event.CheckName("pattern", h.pattern, event.MaxEventName), event.CheckSegment("name", h.name, event.MaxEventName))
}

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
		err := h.all.o.Lineage.WithIDs(ctx, func(l *lineage.Lineage) error {
			ns, err := h.all.o.Lineage.IDs().Namespace(ctx, h.ns)
			if err != nil {
				return err
			}
			r := &registration{namespace: ns, lineage: l}
			err = h.all.o.DB.QueryRow(ctx, registerSQL, ns, h.name, h.pattern, !h.silent, from, liveTime, l.Generation).Scan(&r.id)
			if errors.Is(err, pgx.ErrNoRows) { // the remembered id of the namespace is outdated
				h.all.o.Lineage.IDs().Forget(h.ns, ns)
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
	if err := h.all.o.Lineage.Renew(ctx, r.lineage); err != nil {
		return err
	}
	now := h.all.o.Lineage.Load()
	if now.SameHistory(r.lineage) {
		h.at.CompareAndSwap(r, &registration{r.id, r.namespace, now})
		return nil
	}
	return h.register(ctx, now.OpenRun())
}

// covers reports whether the pattern may match an event. It is cheap and may be wrong: it only decides whether
// to wake the handler.
func (h *handler) covers(e *event.Event) bool {
	prefix, _, _ := strings.Cut(h.pattern, "*")
	return e.Namespace == h.ns.String() && strings.HasPrefix(e.Name, prefix)
}

func (h *handler) label() string { return fmt.Sprintf("%s/%s", h.ns.String(), h.name) }
