package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/culvertmq/culvert/api/wire"
)

// maxEmptyBody is the most bytes that an empty body ({} and blanks) may have.
const maxEmptyBody = 64

// withoutBody refuses a body where the route takes none, since the sender would expect it to have an effect.
// Empty bodies are accepted, however they are framed: some proxies send an empty chunked body, or end an HTTP/2
// request with an empty DATA frame. {} is accepted, too, except with GET, since some clients always send it.
// The body must be read to its end: until then net/http does not notice when the client leaves.
func (h *Handler) withoutBody(c *call, route string) error {
	if c.r.ContentLength == 0 || bodyRoutes[c.r.Method+" "+route] {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxEmptyBody))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case err != nil:
		return wire.ErrEndedEarly
	}
	if err := h.stillGood(c); err != nil {
		return err
	}
	switch {
	case len(body) == 0:
		return nil
	case c.r.Method == http.MethodGet:
		return wire.Refuse(wire.BadParameter, "", "a GET with a body is not accepted")
	}
	nothing := false
	if len(body) < maxEmptyBody && json.Valid(body) {
		nothing, err = wire.Members(body, func(name string, _ []byte) error {
			return wire.Refuse(wire.Malformed, wire.Clip(name), noBodyText)
		})
	}
	if err == nil && !nothing {
		err = wire.Refuse(wire.Malformed, "", noBodyText)
	}
	return err
}

const noBodyText = "this route takes no body: leave it out, or send {}"

// bodies is the pool of buffers for readJSON.
var bodies wire.Buffers

// readJSON reads a body that is one JSON value into buf.
func (h *Handler) readJSON(c *call, buf *[]byte) error {
	if err := h.readRaw(c, buf); err != nil {
		return err
	}
	return wire.CheckJSON(*buf)
}

func (h *Handler) readRaw(c *call, buf *[]byte) error {
	if err := wire.ReadBody(c.r.Body, c.r.ContentLength, buf, c.visit.Account.Cover); err != nil {
		return err
	}
	return h.stillGood(c)
}

// stillGood refuses a request whose credentials expired or were revoked while its body arrived, which may take
// bodyTimeout.
func (h *Handler) stillGood(c *call) error { return h.keys.Check(c.ns, &c.who) }
