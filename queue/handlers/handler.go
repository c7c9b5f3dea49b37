package handlers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertmq/culvert/event"
)

// handler is one handler of this instance. Its events become jobs in Postgres, which any instance that
// registered the name claims and runs.
type handler struct {
	settings
	o       *Options
	work    *sync.WaitGroup // of all handlers: finding events, and running them
	ns      event.Namespace
	pattern string
	f       Func

	at          atomic.Pointer[registration]
	wake        chan struct{}
	stop, abort context.CancelFunc

	mu      sync.Mutex
	running map[event.Offset]*job
	away    bool // Postgres failed at the last search for events
}

// job is one event that a handler runs here.
type job struct {
	event *event.Event
	claim int64     // distinguishes this run from others
	tries int       // this one included
	over  time.Time // when the lease is over
	lease *time.Timer
	// cancel ends the function's context.
	cancel context.CancelCauseFunc
}

func newHandler(o *Options, work *sync.WaitGroup, ns event.Namespace, pattern string, f Func) *handler {
	return &handler{
		settings: settings{
			name: pattern, tries: 10, slots: 4, least: time.Second, most: 5 * time.Minute, lease: 30 * time.Second,
		},
		o: o, work: work, ns: ns, pattern: pattern, f: f,
		wake: make(chan struct{}, 1), running: map[event.Offset]*job{},
	}
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
		return event.Invalid("backoff", "the least pause must be positive, and not above the greatest")
	}
	return errors.Join(event.CheckName("pattern", h.pattern, event.MaxEventName), event.CheckSegment("name", h.name, event.MaxEventName))
}

// wakeUp makes run look for work soon. It never blocks.
func (h *handler) wakeUp() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *handler) busy() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.running)
}

// runningHere returns the offsets of the events whose functions run here.
func (h *handler) runningHere() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	offsets := make([]int64, 0, len(h.running))
	for offset := range h.running {
		offsets = append(offsets, int64(offset))
	}
	return offsets
}

// report logs once when Postgres fails and once when it is back.
func (h *handler) report(err error) {
	h.mu.Lock()
	changed := h.away != (err != nil)
	h.away = err != nil
	h.mu.Unlock()
	switch {
	case changed && err != nil:
		h.o.Logger.Warn("handler cannot look for events; trying again", "handler", h.label(), "error", err)
	case changed:
		h.o.Logger.Info("handler looks for events again", "handler", h.label())
	}
}

// covers reports whether the pattern may match an event. It is cheap and may be wrong: it only decides whether
// to wake the handler.
func (h *handler) covers(e *event.Event) bool {
	prefix, _, _ := strings.Cut(h.pattern, "*")
	return e.Namespace == h.ns.String() && strings.HasPrefix(e.Name, prefix)
}

func (h *handler) label() string { return fmt.Sprintf("%s/%s", h.ns.String(), h.name) }
