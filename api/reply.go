package api

import (
	"net/http"
	"strconv"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// takeReply serves POST /v1/{ns}/reply. A backend that names no client replies
// as the one backend there is, to whatever event asks.
func (h *Handler) takeReply(c *call) error {
	media, err := mediaType(c.r)
	if err != nil {
		return err
	}
	if media != mediaJSON {
		return refuse(unsupported, "", "want Content-Type: application/json")
	}
	body := bodies.get() // what is decoded shares none of it
	defer bodies.put(body)
	if err := c.readJSON(body); err != nil {
		return err
	}
	r, err := replyBody(*body)
	if err != nil {
		return err
	}
	r.Namespace, r.From, r.May = c.ns, c.who.client, c.who.mayRead
	again, err := h.queue.Reply(c.r.Context(), r)
	if err != nil {
		return err
	}
	b := strconv.AppendInt([]byte(`{"offset":`), int64(r.To), 10)
	if again {
		return h.reply(c, http.StatusOK, append(b, `,"duplicate":true}`...))
	}
	return h.reply(c, http.StatusCreated, append(b, '}'))
}

// replyBody reads {"offset":…,"data":…}, or "binary" instead of "data".
func replyBody(body []byte) (r queue.Reply, err error) {
	var offset []byte
	var e envelope
	err = object(body, "", func(name string) *[]byte {
		switch name {
		case "offset":
			return &offset
		case "data", "binary":
			return e.member(name)
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	if offset == nil {
		return r, refuse(invalid, "offset", "offset is missing")
	}
	n, err := strconv.ParseUint(string(offset), 10, 53)
	if err != nil {
		return r, refuse(invalid, "offset", "offset must be a whole number below 2^53")
	}
	r.To = event.Offset(n)
	r.Data, err = e.payload()
	return r, err
}
