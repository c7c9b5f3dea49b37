package api

import (
	"context"
	"net/http"

	"github.com/culvertmq/culvert/event"
)

// volatilePublisher is the part of the queue that delivers without storing.
type volatilePublisher interface {
	PublishVolatile(ctx context.Context, emits []event.Emit) error
	Signal(ctx context.Context, ns event.Namespace, c event.Client, name string, data event.Data) error
}

// isVolatile reads "volatile", and refuses what means nothing to an event that is
// not stored.
func (e *envelope) isVolatile() (bool, error) {
	switch {
	case isNull(e.volatile) || string(e.volatile) == "false":
		return false, nil
	case string(e.volatile) != "true":
		return false, refuse(invalid, "volatile", "volatile must be true or false")
	case !isNull(e.key):
		return false, refuse(invalid, "key", "a volatile event is not stored, so a repeat cannot be detected: leave the key out")
	case !isNull(e.reply):
		return false, refuse(invalid, "reply", "a volatile event has no offset, so nobody can reply to it")
	}
	return true, nil
}

// publishVolatile serves an emit of volatile events.
func (h *Handler) publishVolatile(c *call, emits []event.Emit) error {
	if err := h.queue.PublishVolatile(c.r.Context(), emits); err != nil {
		return err
	}
	h.metrics.volatile.Add(float64(len(emits)))
	return h.reply(c, http.StatusAccepted, []byte("{}"))
}
