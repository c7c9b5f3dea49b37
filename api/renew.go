package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// signaller is the part of the queue that sends volatile events to the streams of one client.
type signaller interface {
	Signal(ctx context.Context, ns event.Namespace, c event.Client, name string, data event.Data) error
}

const (
	signalToken  = "token"
	signalPrefix = "culvert:"
)

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
	if err := h.queue.Signal(c.r.Context(), c.ns, c.who.Client, signalToken, data); err != nil {
		return err
	}
	return h.reply(c, http.StatusOK, append(wire.AppendTime([]byte(`{"expires":`), c.who.Expires), '}'))
}

// withoutSignals removes signals from volatile events, and calls follow with each renewal among them. follow
// may be nil: a long poll ignores renewals, since the next poll has the newer token anyway.
func withoutSignals(events []*event.Event, follow func(*auth.Renewal)) []*event.Event {
	kept := events[:0]
	for _, e := range events {
		if e.Name != signalPrefix+signalToken {
			kept = append(kept, e)
			continue
		}
		var r auth.Renewal
		if follow != nil && json.Unmarshal([]byte(e.Data), &r) == nil {
			follow(&r)
		}
	}
	return kept
}
