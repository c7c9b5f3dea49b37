package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// clients is the part of the queue that stores clients.
type clients interface {
	Ack(ctx context.Context, ns event.Namespace, c event.Client, cursor event.Cursor) (event.Cursor, error)
	ClientState(ctx context.Context, ns event.Namespace, c event.Client, may func(event.Room) bool) (queue.ClientState, error)
	Forget(ctx context.Context, ns event.Namespace, c event.Client) error
}

// revoker is the part of the registry that revokes clients.
type revoker interface {
	Revoke(ctx context.Context, ns event.Namespace, c event.Client) error
}

// ack serves POST /v1/{ns}/ack.
func (h *Handler) ack(c *call) error {
	media, err := wire.MediaType(c.r)
	if err != nil {
		return err
	}
	if media != wire.MediaJSON {
		return wire.Refuse(wire.Unsupported, "", "want Content-Type: application/json")
	}
	if err := c.needClient("client", "name the client with ?client="); err != nil {
		return err
	}
	body := bodies.Get()
	defer bodies.Put(body)
	if err := h.readJSON(c, body); err != nil {
		return err
	}
	cursor, err := ackBody(*body)
	if err != nil {
		return err
	}
	stored, err := h.queue.Ack(c.r.Context(), c.ns, c.who.Client, cursor)
	if err != nil {
		return err
	}
	return h.replyCursor(c, stored)
}

// ackBody reads {"cursor":…}.
func ackBody(body []byte) (cursor event.Cursor, err error) {
	var value []byte
	err = wire.Object(body, "", func(name string) *[]byte {
		if name == "cursor" {
			return &value
		}
		return nil
	})
	if err != nil {
		return cursor, err
	}
	if value == nil {
		return cursor, wire.Refuse(wire.Invalid, "cursor", "cursor is missing")
	}
	s, err := wire.Text("cursor", value)
	if err != nil {
		return cursor, err
	}
	return parseCursor("cursor", s)
}

// client returns the client in the path; "me" is the caller. For a token, all other clients are not found.
func (c *call) client() (event.Client, error) {
	name, err := c.param("client")
	if err != nil {
		return event.Client{}, err
	}
	if name == "me" {
		return c.who.Client, c.needClient("client", `"me" needs a client: name it with ?client=`)
	}
	client, err := event.ParseClient(name)
	if err != nil {
		return client, err
	}
	if !c.who.Backend && client != c.who.Client {
		return client, wire.Refuse(wire.NotFound, "", wire.NothingHere)
	}
	return client, nil
}

// client serves GET /v1/{ns}/clients/{client}.
func (h *Handler) client(c *call) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	state, err := h.queue.ClientState(c.context(), c.ns, client, c.who.MayKeep())
	if err != nil {
		return err
	}
	return h.reply(c, http.StatusOK, appendState(nil, client, state))
}

// forget serves DELETE /v1/{ns}/clients/{client}.
func (h *Handler) forget(c *call) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if !c.who.Backend {
		return wire.Refuse(wire.Forbidden, "", "only an API key may forget a client")
	}
	if err := h.queue.Forget(c.r.Context(), c.ns, client); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// revoke serves POST /v1/{ns}/clients/{client}/revoke.
func (h *Handler) revoke(c *call) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if !c.who.Backend {
		return wire.Refuse(wire.Forbidden, "", "only an API key may revoke a client")
	}
	if err := h.registry.Revoke(c.r.Context(), c.ns, client); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func appendState(b []byte, client event.Client, s queue.ClientState) []byte {
	b = wire.AppendClient(append(b, `{"client":`...), client)
	b = wire.AppendCursor(append(b, `,"cursor":`...), s.Cursor)
	b = append(b, `,"lag":`...)
	b = strconv.AppendInt(b, int64(s.Lag), 10)
	if s.LagCapped {
		b = append(b, `,"lag_capped":true`...)
	}
	b = append(b, `,"rooms":[`...)
	for i, r := range s.Rooms {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, r.String())
	}
	b = append(b, `],"online":`...)
	b = strconv.AppendBool(b, s.Online)
	b = append(b, `,"last_seen":`...)
	b = wire.AppendTime(b, s.LastSeen)
	return append(b, '}')
}
