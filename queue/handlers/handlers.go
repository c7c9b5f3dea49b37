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
	o        Options
	roster   *Roster
	work     sync.WaitGroup // finding events, and running them
	renewals sync.WaitGroup // renewing leases
}

// New returns Handlers with none registered yet. The roster must be empty, and only these
// Handlers may use it from now on. Close
// ends them.
func New(o Options, roster *Roster) *Handlers { return &Handlers{o: o, roster: roster} }

// Register starts a handler, see Queue.Handle.
func (hs *Handlers) Register(ns event.Namespace, pattern string, f Func, options ...Option) error {
	h := newHandler(&hs.o, &hs.work, ns, pattern, f)
	for _, change := range options {
		change(&h.settings)
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
	return hs.roster.add(h, func() { hs.start(h) })
}

// start starts the goroutines of a handler.
func (hs *Handlers) start(h *handler) {
	// After stop no new functions are started; those that run continue until abort.
	run, abort := context.WithCancel(context.Background())
	find, stop := context.WithCancel(run)
	h.stop, h.abort = stop, abort
	hs.work.Go(func() { h.run(find, run) })
	hs.renewals.Go(func() { h.keepAlive(run) })
}

// closeGrace is the time that functions get to notice that their context has ended.
const closeGrace = time.Second

// Close starts no more functions and waits for those that run. When ctx ends, it ends the contexts of these
// functions; their events are run again when the leases are over.
func (hs *Handlers) Close(ctx context.Context) error {
	all := hs.roster.close()
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
