package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/culvertmq/culvert/api/stream"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// signaller is the part of the queue that sends volatile events to the streams of one client.
type signaller interface {
	Signal(ctx context.Context, ns event.Namespace, c event.Client, name string, data event.Data) error
}

// renew serves POST /v1/{ns}/token: the token of this request replaces the ones with which the client's open
// streams began.
func (h *Handler) renew(c *call) error {
	r, err := h.keys.Renewal(c.ns, &c.who)
	if err != nil {
		return err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	data, err := event.ParseData(body)
	if err != nil {
		return err
	}
	if err := h.queue.Signal(c.r.Context(), c.ns, c.who.Client, stream.SignalToken, data); err != nil {
		return err
	}
	return h.reply(c, http.StatusOK, append(wire.AppendTime([]byte(`{"expires":`), c.who.Expires), '}'))
}
