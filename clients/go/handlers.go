package culvert

import (
	"context"
	"slices"
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

// On registers a handler for each event of that name.
func (c *Client) On(event string, h Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[event] = append(c.handlers[event], h)
}

// OnAny registers a handler for each event, whatever its name.
func (c *Client) OnAny(h Handler) { c.On("", h) }

// handlersOf returns the handlers of an event; those for all events come last.
func (c *Client) handlersOf(event string) []Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	some := slices.Clone(c.handlers[event])
	if event == replyEvent {
		return some
	}
	return append(some, c.handlers[""]...)
}
