package handlers

import (
	"sync"

	"github.com/culvertmq/culvert/event"
)

// Roster lists the handlers of an instance, and wakes those that new events may be for. It is separate
// from Handlers because the tail reports new events to it, and the tail is made before Handlers.
type Roster struct {
	mu     sync.RWMutex
	all    []*handler
	closed bool
}

// NewRoster returns an empty Roster.
func NewRoster() *Roster { return &Roster{} }

// add lists a handler and starts it, unless the roster is closed or has one of that name. No handler is
// started after close has returned.
func (r *Roster) add(h *handler, start func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return event.ErrClosed
	}
	for _, other := range r.all {
		if other.ns == h.ns && other.name == h.name {
			return event.Invalidf("name", "a handler named %q is registered already: give one of the two another name", h.name)
		}
	}
	r.all = append(r.all, h)
	start()
	return nil
}

// Heard wakes the handlers whose patterns may match the events; nil wakes all handlers. It is called under the
// tail's lock and does not block.
func (r *Roster) Heard(events []*event.Event) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, h := range r.all {
		wake := events == nil
		for i := 0; i < len(events) && !wake; i++ {
			wake = h.covers(events[i])
		}
		if wake {
			h.wakeUp()
		}
	}
}

// close makes add fail from now on, and returns all handlers.
func (r *Roster) close() []*handler {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.all
}
