package culvert

import (
	"context"
	"slices"
	"sync"
)

// replyEvent is the name of replies in the emitter's own room. Handlers registered by On for this name
// get them; those of OnAny do not.
const replyEvent = "culvert:reply"

// Handler handles an event. If the event asks for a reply, the first value of
// its handlers that is not nil is the reply; []byte is sent as binary.
//
// The handlers of a client are called one after the other, in the order of the
// events; the event is acknowledged after they have returned. ctx ends with Listen.
// An error goes to Options.OnError, and the event still counts as handled,
// except with ErrStop.
type Handler func(ctx context.Context, e *Event) (reply any, err error)

// handlers has the handlers of one client.
type handlers struct {
	mu sync.Mutex
	of map[string][]Handler // by event; "" is for all
}

// add registers a handler.
func (s *handlers) add(event string, h Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[event] = append(s.of[event], h)
}

// get returns the handlers of an event; those for all events come last.
func (s *handlers) get(event string) []Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	some := slices.Clone(s.of[event])
	if event == replyEvent {
		return some
	}
	return append(some, s.of[""]...)
}

// On registers a handler for each event of that name.
func (c *Client) On(event string, h Handler) { c.handlers.add(event, h) }

// OnAny registers a handler for each event, whatever its name.
func (c *Client) OnAny(h Handler) { c.handlers.add("", h) }
