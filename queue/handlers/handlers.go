package handlers

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
)

// Handlers are the handlers of an instance. Each has two goroutines: one finds work for it, one renews the
// leases of its running jobs.
type Handlers struct {
	o Options

	mu       sync.RWMutex
	all      []*handler
	closed   bool
	work     sync.WaitGroup // finding events, and running them
	renewals sync.WaitGroup // renewing leases
}

// New returns Handlers with none registered yet. Close ends them.
func New(o Options) *Handlers { return &Handlers{o: o} }

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

// add starts a handler.
func (hs *Handlers) add(h *handler) error {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		return event.ErrClosed
	}
	for _, other := range hs.all {
		if other.ns == h.ns && other.name == h.name {
			return event.Invalidf("name", "%q is registered already: give one of them another name", h.name)
		}
	}
	hs.all = append(hs.all, h)
	// After stop no new functions are started; those that run continue until abort.
	run, abort := context.WithCancel(context.Background())
	find, stop := context.WithCancel(run)
	h.stop, h.abort = stop, abort
	hs.work.Go(func() { h.run(find, run) })
	hs.renewals.Go(func() { h.keepAlive(run) })
	return nil
}

// Heard wakes the handlers whose patterns may match the events; nil wakes all handlers. It is called under the
// tail's lock and does not block.
func (hs *Handlers) Heard(events []*event.Event) {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	for _, h := range hs.all {
		wake := events == nil
		for i := 0; i < len(events) && !wake; i++ {
			wake = h.covers(events[i])
		}
		if wake {
			h.wakeUp()
		}
	}
}

// closeGrace is the time that functions get to notice that their context has ended.
const closeGrace = time.Second

// Close starts no more functions and waits for those that run. When ctx ends, it ends the contexts of these
// functions; their events are run again when the leases are over.
func (hs *Handlers) Close(ctx context.Context) error {
	hs.mu.Lock()
	hs.closed = true
	all := hs.all
	hs.mu.Unlock()
	for _, h := range all {
		h.stop()
	}
	gone := make(chan struct{})
	go func() { // ends with the functions: one that ignores its context cannot be ended
		hs.work.Wait()
		close(gone)
	}()
	defer func() {
		for _, h := range all {
			h.abort()
		}
		hs.renewals.Wait()
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	var busy []string
	for _, h := range all {
		if h.busy() > 0 {
			busy = append(busy, h.label())
		}
		h.abort()
	}
	select {
	case <-gone:
	case <-time.After(closeGrace):
	}
	return fmt.Errorf("handlers under way: %s: %w", strings.Join(busy, ", "), ctx.Err())
}
