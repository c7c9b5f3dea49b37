package queue

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/decode"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/internal/trusted"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/tail"
)

// PublishVolatile delivers volatile events to the subscriptions that are open now, here and on every other
// instance, and to nobody else. They are never kept and have no offset; Key and Reply are ignored. When it
// returns, the other instances can read them. Every instance delivers them as soon as it knows all membership
// changes that were answered before the call. Errors: ErrOverloaded, ErrUnavailable, ErrClosed.
func (q *Queue) PublishVolatile(ctx context.Context, emits []event.Emit) error {
	emits = event.CloneEmits(emits)
	all := make([]*tail.Volatile, 0, len(emits))
	for i := range emits {
		e := &emits[i]
		if err := e.Check(); err != nil {
			return err
		}
		all = append(all, &tail.Volatile{To: e.Addressed(), Event: &event.Event{
			Namespace: e.Namespace.String(), Name: e.Event.String(), Data: e.Data.JSON(), Binary: e.Data.Binary(),
			From: e.From, Except: e.Except,
		}})
	}
	return q.volatile.publish(ctx, all)
}

// Signal sends a volatile event with a reserved name to every open subscription of a client. It is for the code
// that holds the subscription, not for the client itself. Errors as for PublishVolatile.
func (q *Queue) Signal(ctx context.Context, ns event.Namespace, c event.Client, name string, data event.Data) error {
	return q.volatile.publish(ctx, []*tail.Volatile{{Signal: true, Event: &event.Event{
		Namespace: ns.String(), Name: event.ReservedPrefix + name, Data: data.JSON(), From: c,
	}}})
}

// volatile publishes events to the other instances, all that wait at once, and delivers what the others
// publish.
type volatile struct {
	db       *postgres.Pools
	lineage  *lineage.Keeper
	faults   *log.Faults
	instance string
	poll     time.Duration
	timeout  time.Duration // of one statement
	queue    *batch.Queue[*publication]
	wake     chan struct{} // others may have published something
	from     int64         // the newest id when the queue was opened
	ready    *delivery
}

// publication is some of the events of one call of PublishVolatile.
type publication struct {
	batch.Ticket
	events []*tail.Volatile
}

func newVolatile(o Options, db *postgres.Pools, k *lineage.Keeper, f *log.Faults, instance string, ready *delivery) *volatile {
	return &volatile{
		db: db, lineage: k, faults: f, instance: instance, poll: o.Poll, timeout: o.AppendTimeout,
		wake: make(chan struct{}, 1), ready: ready,
		queue: batch.New[*publication](batch.Options{What: "volatile events", Most: o.waits(), Batch: log.MostAppended}),
	}
}

func (v *volatile) publish(ctx context.Context, events []*tail.Volatile) error {
	var parts []*publication
	for len(events) > 0 {
		n, all := 1, loadOf(events[:1])
		for ; n < len(events); n++ {
			next := all.Plus(loadOf(events[n : n+1]))
			if !next.Fits(log.MostAppended) {
				break
			}
			all = next
		}
		caller := batch.Caller{Namespace: events[0].Event.Namespace, Client: events[0].Event.From.String()}
		parts = append(parts, &publication{batch.NewTicket(caller, all), events[:n]})
		events = events[n:]
	}
	if err := v.queue.Submit(parts...); err != nil {
		return err
	}
	for _, p := range parts {
		if err := p.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// run is the goroutine that publishes.
func (v *volatile) run(ctx context.Context) { v.queue.Run(ctx, v.write) }

func (v *volatile) write(ctx context.Context, taken []*publication) {
	at, err := v.handOver(ctx, taken)
	for _, p := range taken {
		for _, e := range p.events {
			e.After = at.Offset
		}
		if err == nil {
			v.ready.add(at, p.events)
		}
		p.Answer(err)
	}
}

const publishVolatileSQL = `
SELECT log, "position"
  FROM culvert.publish_volatile($1, $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bool[], $8::text[])`

// handOver publishes a batch, and returns the position of the log at that moment.
func (v *volatile) handOver(ctx context.Context, batch []*publication) (at event.Cursor, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	var namespace, rooms, except, event, data, sender []string
	var binary []bool
	now := time.Now()
	for _, f := range batch {
		for _, e := range f.events {
			rooms = append(rooms, postgres.RoomArray(e.To))
			e := e.Event
			e.At = now
			namespace = append(namespace, e.Namespace)
			except = append(except, postgres.RoomArray(e.Except))
			event = append(event, e.Name)
			data = append(data, e.Data)
			binary = append(binary, e.Binary)
			sender = append(sender, e.From.String())
		}
	}
	err = v.db.Write.QueryRow(ctx, publishVolatileSQL, v.instance, namespace, rooms, except, event, data, binary, sender).
		Scan(&at.Log, &at.Offset)
	return at, postgres.Unavailable(context.WithoutCancel(ctx), "publish volatile events", err)
}

// receive is the goroutine that reads what other instances published: after a notification, and every Poll in
// case one was lost. Volatile events that are published around an outage of Postgres may be missed.
func (v *volatile) receive(ctx context.Context) {
	tick := time.NewTicker(v.poll)
	defer tick.Stop()
	after, of := v.from, v.lineage.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.wake:
		case <-tick.C:
		}
		// Another server has other ids.
		if now := v.lineage.Load(); !now.SameHistory(of) {
			after, of = -1, now
		}
		after = v.readOn(ctx, after)
	}
}

// wakeReceiver makes receive read. It never blocks.
func (v *volatile) wakeReceiver() { notify(v.wake) }

const newestVolatileSQL = `
SELECT coalesce(max(id), 0)
  FROM culvert.volatile`

const volatileSQL = `
SELECT id, log, "position", at, namespace, rooms, except_, event, data, is_binary, coalesce(sender, '')
  FROM (SELECT *, sum(octet_length(data)) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
          FROM (SELECT *
                  FROM culvert.volatile
                 WHERE id > $1 AND instance <> $2
                 ORDER BY id
                 LIMIT $3) next) v
 WHERE before IS NULL OR before < $4
 ORDER BY id`

// newest returns the id after which an instance begins: earlier events are for those who were connected then.
func (v *volatile) newest(ctx context.Context) (id int64) {
	if err := v.db.Write.QueryRow(ctx, newestVolatileSQL).Scan(&id); err != nil {
		return -1
	}
	return id
}

// readOn delivers what came after an id, and returns the last id. After a failure it returns -1: after a crash
// of Postgres ids may begin anew.
func (v *volatile) readOn(ctx context.Context, after int64) int64 {
	ctx, cancel := context.WithTimeout(ctx, postgres.ReadTimeout)
	defer cancel()
	if after < 0 {
		return v.newest(ctx)
	}
	const atOnce = 1_000
	for {
		rows, err := v.db.Write.Query(ctx, volatileSQL, after, v.instance, atOnce, tail.MaxBatch)
		if err != nil {
			return -1
		}
		var at event.Cursor // of the last one, which is the highest
		events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*tail.Volatile, error) {
			v := &tail.Volatile{Event: &event.Event{}}
			e := v.Event
			var from trusted.Text
			var rooms, except []pgtype.Text
			var when pgtype.Timestamptz
			err := row.Scan(&after, &at.Log, &at.Offset, &when, &e.Namespace, &rooms, &except, &e.Name, &e.Data, &e.Binary, &from)
			e.From = event.StoredClient(from)
			v.Signal = rooms == nil
			e.At, v.To, e.Except, v.After = when.Time, decode.Rooms(rooms), decode.Rooms(except), at.Offset
			e.Room = event.Everyone() // until seenFrom sets a room of the reader
			e.Fault = decode.Check(e, nil, []byte(e.Data), append(except, rooms...))
			return v, err
		})
		if err != nil {
			return -1
		}
		n, bytes := len(events), 0
		for _, e := range events {
			bytes += len(e.Event.Data)
			v.faults.Look(e.Event)
		}
		if events = slices.DeleteFunc(events, func(e *tail.Volatile) bool { return e.Event.Unreadable() }); len(events) > 0 {
			v.ready.add(at, events)
		}
		if n < atOnce && bytes < tail.MaxBatch {
			return after
		}
	}
}
