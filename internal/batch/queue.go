// Package batch is group commit: what comes while one transaction is under way waits in a Queue, and
// shares the next transaction.
//
// Callers Submit items and Wait for their answers. One goroutine takes batches and answers their items: with
// Run, or, if it has more to do, with Woken and Take. Callers take turns, first by namespace and then by
// client, and none of them can fill the queue. Close refuses new items and waits until all others are answered.
package batch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
)

// Queue holds what waits for a transaction.
type Queue[T Item] struct {
	o    Options
	wake chan struct{}

	mu      sync.Mutex
	waiting lanes[T]
	quota   quota // of the items that wait or are held
	held    int   // items that were taken and wait for something else
	closed  bool
	ended   bool          // no more batches are taken
	idle    chan struct{} // closed when the queue is closed and nothing waits
}

// Options configure a Queue.
type Options struct {
	// What names the items in the error of Close, such as "appends".
	What string
	// Most bounds what waits; its Rooms is ignored.
	Most Load
	// Batch bounds what one Take returns; a single item may be larger.
	Batch Load
	// Pause is how long Run waits for more before it takes a batch.
	Pause time.Duration
}

// New returns an empty queue.
func New[T Item](o Options) *Queue[T] {
	return &Queue[T]{o: o, wake: make(chan struct{}, 1), quota: quota{most: o.Most}, idle: make(chan struct{})}
}

// Submit queues all items or none. They must be of one caller, and keep their order. Errors: event.ErrClosed,
// event.ErrOverloaded.
func (q *Queue[T]) Submit(items ...T) error {
	if len(items) == 0 {
		return nil
	}
	caller := items[0].ticket().Caller
	var all Load
	for _, i := range items {
		all = all.Plus(i.ticket().Load)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return event.ErrClosed
	}
	if !q.quota.take(caller, all) {
		return event.ErrOverloaded
	}
	for _, i := range items {
		t := i.ticket()
		t.Caller = caller
		q.waiting.push(caller, i, t.Load)
	}
	q.Wake()
	return nil
}

// Wake makes Woken receive.
func (q *Queue[T]) Wake() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Woken receives when there may be something to Take.
func (q *Queue[T]) Woken() <-chan struct{} { return q.wake }

// Take removes the next batch from the queue and returns it; it is empty when nothing waits. Before the next
// Take, each item must be answered, held or put back.
func (q *Queue[T]) Take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, _ := q.waiting.take(q.o.Batch)
	for _, i := range batch {
		t := i.ticket()
		q.quota.free(t.Caller, t.Load)
	}
	if len(batch) == 0 && q.closed && q.held == 0 {
		q.end()
	}
	return batch
}

// Waiting returns the total load of the items that wait or are held.
func (q *Queue[T]) Waiting() Load {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.quota.held
}

// Hold counts an item as waiting again that was taken and has to wait for something else. Release ends that.
func (q *Queue[T]) Hold(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := item.ticket()
	q.held++
	q.quota.add(t.Caller, t.Load)
}

// Release must be called for a held item when it is answered, or about to be stored.
func (q *Queue[T]) Release(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(item)
	q.Wake() // for Close
}

func (q *Queue[T]) release(item T) {
	t := item.ticket()
	q.held--
	q.quota.free(t.Caller, t.Load)
}

// PutBack queues items again that were taken, in front of all others of their callers. When no more batches are
// taken, they are answered with event.ErrClosed.
func (q *Queue[T]) PutBack(items ...T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.putBack(items)
}

// Return is Release and PutBack of held items in one step.
func (q *Queue[T]) Return(items ...T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, i := range items {
		q.release(i)
	}
	q.putBack(items)
}

func (q *Queue[T]) putBack(items []T) {
	for n := len(items) - 1; n >= 0; n-- {
		t := items[n].ticket()
		if q.ended {
			t.Answer(event.ErrClosed)
			continue
		}
		q.quota.add(t.Caller, t.Load)
		q.waiting.pushFront(t.Caller, items[n], t.Load)
	}
	q.Wake()
}

// Run hands batches to write, which answers, holds or puts back each item, until ctx ends. Items that wait then
// are answered with event.ErrClosed.
func (q *Queue[T]) Run(ctx context.Context, write func(ctx context.Context, batch []T)) {
	defer q.Refuse()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		}
		for {
			q.pause(ctx)
			batch := q.Take()
			if len(batch) == 0 {
				break
			}
			write(ctx, batch)
			if ctx.Err() != nil {
				return
			}
		}
	}
}

func (q *Queue[T]) pause(ctx context.Context) {
	q.mu.Lock()
	hurry := q.closed
	q.mu.Unlock()
	if q.o.Pause == 0 || hurry {
		return
	}
	select {
	case <-time.After(q.o.Pause):
	case <-ctx.Done():
	}
}

// Refuse answers all items that wait, and all that are put back later, with event.ErrClosed: no more batches
// are taken.
func (q *Queue[T]) Refuse() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for i, _, ok := q.waiting.next(); ok; i, _, ok = q.waiting.next() {
		q.waiting.pop()
		t := i.ticket()
		q.quota.free(t.Caller, t.Load)
		t.Answer(event.ErrClosed)
	}
	q.end()
}

// end lets Close return. The caller holds the lock.
func (q *Queue[T]) end() {
	if !q.ended {
		q.ended = true
		close(q.idle)
	}
}

// Close refuses new items and waits until the others are answered, at most until ctx ends. It may be called twice.
func (q *Queue[T]) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.Wake()
	select {
	case <-q.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s under way: %w", q.o.What, ctx.Err())
	}
}
