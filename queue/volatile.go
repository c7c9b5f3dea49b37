package queue

import (
	"context"
	"sync"
	"time"
)

// Fling delivers volatile events to the subscriptions that are open now, here and on
// every other instance, and to nobody else: they are never stored, have no offset,
// and Key and reply mean nothing to them. When it returns, the other instances can
// read them; every instance delivers them as soon as it knows all changes of members that
// were answered before Fling was called. Errors: ErrOverloaded, ErrUnavailable, ErrClosed.
func (q *Queue) Fling(ctx context.Context, emits []Emit) error {
	all := make([]*Event, 0, len(emits))
	for i := range emits {
		e := &emits[i]
		if err := e.check(); err != nil {
			return err
		}
		all = append(all, &Event{
			Namespace: e.Namespace.name, Name: e.Event.name, Data: e.Data.JSON(), Binary: e.Data.binary,
			From: e.From, Except: e.Except, to: e.rooms(),
		})
	}
	return q.volatile.fling(ctx, all)
}

// Signal tells every open subscription of a client something that is not for the
// client itself but for who holds the subscription: it comes as a volatile event
// with a reserved name. Errors as for Fling.
func (q *Queue) Signal(ctx context.Context, ns Namespace, c Client, name string, data Data) error {
	return q.volatile.fling(ctx, []*Event{{
		Namespace: ns.name, Name: reservedPrefix + name, Data: data.JSON(), From: c, signal: true,
	}})
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
	waiting []*flung
	events  int
	closed  bool
}

// flung is one call of Fling.
type flung struct {
	events []*Event
	err    error
	done   chan struct{}
}

func newVolatile(q *Queue) *volatile {
	return &volatile{q: q, wake: make(chan struct{}, 1), heard: make(chan struct{}, 1), ready: newDelivery(q)}
}

func (v *volatile) fling(ctx context.Context, events []*Event) error {
	f := &flung{events: events, done: make(chan struct{})}
	if err := v.submit(f); err != nil {
		return err
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *volatile) submit(f *flung) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.closed:
		return ErrClosed
	case v.events+len(f.events) > v.q.o.QueueEvents:
		return ErrOverloaded
	}
	v.waiting = append(v.waiting, f)
	v.events += len(f.events)
	notify(v.wake)
	return nil
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
		v.mu.Lock()
		batch := v.waiting
		v.waiting, v.events = nil, 0
		v.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
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
	}
}

// refuse answers what waits when the queue closes.
func (v *volatile) refuse() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	for _, f := range v.waiting {
		f.err = ErrClosed
		close(f.done)
	}
	v.waiting = nil
}

const flingSQL = `
SELECT log, "position"
  FROM culvert.fling($1, $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bool[], $8::text[])`

// handOver returns the position of the log when it did so.
func (v *volatile) handOver(ctx context.Context, batch []*flung) (at Cursor, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.q.o.AppendTimeout)
	defer cancel()
	var namespace, rooms, except, event, data, sender []string
	var binary []bool
	now := time.Now()
	for _, f := range batch {
		for _, e := range f.events {
			e.At = now
			namespace = append(namespace, e.Namespace)
			rooms = append(rooms, arrayLiteral(e.to))
			except = append(except, arrayLiteral(e.Except))
			event = append(event, e.Name)
			data = append(data, e.Data)
			binary = append(binary, e.Binary)
			sender = append(sender, e.From.name)
		}
	}
	err = v.q.db.write.QueryRow(ctx, flingSQL, v.q.instance, namespace, rooms, except, event, data, binary, sender).
		Scan(&at.Log, &at.Offset)
	return at, unavailable(context.WithoutCancel(ctx), "fling", err)
}
