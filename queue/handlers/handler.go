package handlers

import (
	"context"
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
	all     *Handlers
	ns      event.Namespace
	pattern string
	f       Func

	// Options; see options.go.
	name               string
	earliest, silent   bool
	tries, slots       int
	least, most, lease time.Duration

	at          atomic.Pointer[registration]
	wake        chan struct{}
	stop, abort context.CancelFunc

	mu      sync.Mutex
	running map[event.Offset]*job
	away    bool // Postgres failed at the last search for events
}

func newHandler(all *Handlers, ns event.Namespace, pattern string, f Func) *handler {
	return &handler{
		all: all, ns: ns, pattern: pattern, f: f, name: pattern,
		tries: 10, slots: 4, least: time.Second, most: 5 * time.Minute, lease: 30 * time.Second,
		wake: make(chan struct{}, 1), running: map[event.Offset]*job{},
	}
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
		h.all.o.Logger.Warn("handler cannot look for events; trying again", "handler", h.label(), "error", err)
	case changed:
		h.all.o.Logger.Info("handler looks for events again", "handler", h.label())
	}
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

// covers reports whether the pattern may match an event. It is cheap and may be wrong: it only decides whether
// to wake the handler.
func (h *handler) covers(e *event.Event) bool {
	prefix, _, _ := strings.Cut(h.pattern, "*")
	return e.Namespace == h.ns.String() && strings.HasPrefix(e.Name, prefix)
}

func (h *handler) label() string { return fmt.Sprintf("%s/%s", h.ns.String(), h.name) }
