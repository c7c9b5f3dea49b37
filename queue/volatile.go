package queue

import (
	"context"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/batch"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
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

// loadOf returns what volatile events take while they wait.
func loadOf(events []*tail.Volatile) (all batch.Load) {
	for _, e := range events {
		l := batch.Load{Events: 1, Rooms: len(e.To), Bytes: tail.SizeOf(len(e.Event.Data)) + len(e.To)*log.NameBytes + len(e.Event.Except)*log.NameBytes}
		for _, list := range [][]event.Room{e.To, e.Event.Except} {
			for _, r := range list {
				l.Bytes += len(r.String())
			}
		}
		all = all.Plus(l)
	}
	return all
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
