package queue

import (
	"context"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/postgres"
)

// PublishVolatile delivers volatile events to the subscriptions that are open now, here and on
// every other instance, and to nobody else: they are never stored, have no offset,
// and Key and reply mean nothing to them. When it returns, the other instances can
// read them; every instance delivers them as soon as it knows all changes of members that
// were answered before PublishVolatile was called. Errors: ErrOverloaded, ErrUnavailable, ErrClosed.
func (q *Queue) PublishVolatile(ctx context.Context, emits []event.Emit) error {
	emits = owned(emits)
	all := make([]*volatileEvent, 0, len(emits))
	for i := range emits {
		e := &emits[i]
		if err := e.Check(); err != nil {
			return err
		}
		all = append(all, &volatileEvent{to: e.Addressed(), event: &event.Event{
			Namespace: e.Namespace.String(), Name: e.Event.String(), Data: e.Data.JSON(), Binary: e.Data.Binary(),
			From: e.From, Except: e.Except,
		}})
	}
	return q.volatile.publish(ctx, all)
}

// Signal tells every open subscription of a client something that is not for the
// client itself but for who holds the subscription: it comes as a volatile event
// with a reserved name. Errors as for PublishVolatile.
func (q *Queue) Signal(ctx context.Context, ns event.Namespace, c event.Client, name string, data event.Data) error {
	return q.volatile.publish(ctx, []*volatileEvent{{signal: true, event: &event.Event{
		Namespace: ns.String(), Name: event.ReservedPrefix + name, Data: data.JSON(), From: c,
	}}})
}

// volatile hands events to the other instances, those that wait together at once,
// and delivers what comes from them.
type volatile struct {
	q     *Queue
	wake  chan struct{} // something waits to be handed over
	heard chan struct{} // others may have handed something over
	from  int64         // the newest one when the queue was opened
	ready *delivery

	mu      sync.Mutex
	waiting lanes[*publication]
	quota   quota
	closed  bool
}

// volatileEvent is a volatile event that is not yet that of one room.
type volatileEvent struct {
	event  *event.Event
	to     []event.Room
	signal bool
	after  event.Offset // it is for the members at this position: see interval.holds
}

// publication is some of the events of one call of PublishVolatile.
type publication struct {
	events []*volatileEvent
	caller caller
	load   load
	err    error
	done   chan struct{}
}

func newVolatile(q *Queue) *volatile {
	return &volatile{
		q: q, wake: make(chan struct{}, 1), heard: make(chan struct{}, 1), ready: newDelivery(q),
		quota: quota{most: load{events: q.o.QueueEvents, bytes: q.o.QueueBytes}},
	}
}

// loadOf is what volatile events take while they wait.
func loadOf(events []*volatileEvent) (all load) {
	for _, e := range events {
		l := load{1, len(e.to), sizeOfEvent(e.event) + len(e.to)*nameBytes + len(e.event.Except)*nameBytes}
		for _, list := range [][]event.Room{e.to, e.event.Except} {
			for _, r := range list {
				l.bytes += len(r.String())
			}
		}
		all = all.plus(l)
	}
	return all
}

func (v *volatile) publish(ctx context.Context, events []*volatileEvent) error {
	var parts []*publication
	for len(events) > 0 {
		n, all := 1, loadOf(events[:1])
		for ; n < len(events); n++ {
			next := all.plus(loadOf(events[n : n+1]))
			if !next.within(mostAppended, 1) || next.rooms > mostAppended.rooms {
				break
			}
			all = next
		}
		c := caller{events[0].event.Namespace, events[0].event.From.String()}
		parts = append(parts, &publication{events: events[:n], caller: c, load: all, done: make(chan struct{})})
		events = events[n:]
	}
	if err := v.submit(parts); err != nil {
		return err
	}
	for _, f := range parts {
		select {
		case <-f.done:
			if f.err != nil {
				return f.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// submit queues all parts of one caller, or none.
func (v *volatile) submit(parts []*publication) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return event.ErrClosed
	}
	var all load
	for _, f := range parts {
		f.caller = parts[0].caller // one lane, which keeps the order
		all = all.plus(f.load)
	}
	if len(parts) > 0 && !v.quota.take(parts[0].caller, all) {
		return event.ErrOverloaded
	}
	for _, f := range parts {
		v.waiting.push(f.caller, f, f.load)
	}
	notify(v.wake)
	return nil
}

// take removes what is handed over next.
func (v *volatile) take() []*publication {
	v.mu.Lock()
	defer v.mu.Unlock()
	batch, _ := v.waiting.take(mostAppended)
	for _, f := range batch {
		v.quota.free(f.caller, f.load)
	}
	return batch
}

// run is the goroutine that hands over.
func (v *volatile) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			v.refuse()
			return
		case <-v.wake:
		}
		for batch := v.take(); len(batch) > 0; batch = v.take() {
			at, err := v.handOver(ctx, batch)
			for _, f := range batch {
				for _, e := range f.events {
					e.after = at.Offset
				}
				if f.err = err; err == nil {
					v.ready.add(at, f.events)
				}
				close(f.done)
			}
			if ctx.Err() != nil {
				break
			}
		}
	}
}

// refuse answers what waits when the queue closes.
func (v *volatile) refuse() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	for {
		f, _, ok := v.waiting.next()
		if !ok {
			return
		}
		v.waiting.pop()
		f.err = event.ErrClosed
		close(f.done)
	}
}

const publishVolatileSQL = `
SELECT log, "position"
  FROM culvert.publish_volatile($1, $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bool[], $8::text[])`

// handOver returns the position of the log when it did so.
func (v *volatile) handOver(ctx context.Context, batch []*publication) (at event.Cursor, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.q.o.AppendTimeout)
	defer cancel()
	var namespace, rooms, except, event, data, sender []string
	var binary []bool
	now := time.Now()
	for _, f := range batch {
		for _, e := range f.events {
			rooms = append(rooms, arrayLiteral(e.to))
			e := e.event
			e.At = now
			namespace = append(namespace, e.Namespace)
			except = append(except, arrayLiteral(e.Except))
			event = append(event, e.Name)
			data = append(data, e.Data)
			binary = append(binary, e.Binary)
			sender = append(sender, e.From.String())
		}
	}
	err = v.q.db.write.QueryRow(ctx, publishVolatileSQL, v.q.instance, namespace, rooms, except, event, data, binary, sender).
		Scan(&at.Log, &at.Offset)
	return at, postgres.Unavailable(context.WithoutCancel(ctx), "publish volatile events", err)
}
