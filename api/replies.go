package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// asker is the part of the queue that stores replies and waits for them.
type asker interface {
	Reply(ctx context.Context, r queue.Reply) (again bool, err error)
	Await(ctx context.Context, ns event.Namespace, to event.Offset) (queue.Replies, error)
}

// replyWait reads ?wait= of an emit: how long its answer waits for replies; negative: it does not wait.
func (c *call) replyWait(longest time.Duration) (time.Duration, error) {
	if !c.query.values.Has("wait") {
		return -1, nil
	}
	wait, _, err := c.wait(longest)
	if err == nil && !c.who.Expires.IsZero() {
		wait = max(0, min(wait, time.Until(c.who.Expires)))
	}
	return wait, err
}

// await answers an emit that waits for replies. It answers with the replies so far when they are complete, at
// the ask's timeout, at the end of the wait, or when the server drains.
func (h *Handler) await(c *call, wait time.Duration, r event.Result) error {
	n := h.enter(c)
	defer n.leave()
	h.metrics.waits.Inc()
	defer h.metrics.waits.Dec()
	ctx, cancel := context.WithTimeout(queue.For(n, c.who.Client), wait)
	defer cancel()
	replies, err := h.queue.Await(ctx, c.ns, r.Cursor.Offset)
	if gone := c.r.Context().Err(); gone != nil {
		return gone
	}
	if err != nil {
		return err
	}
	b := appendResult(make([]byte, 0, 128), r)
	b = append(b[:len(b)-1], `,"replies":[`...)
	for i, a := range replies.Answers {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendAnswer(b, a)
	}
	b = strconv.AppendBool(append(b, `],"complete":`...), replies.Complete)
	if replies.Cut {
		b = append(b, `,"truncated":true`...)
	}
	status := http.StatusCreated
	if r.Duplicate {
		status = http.StatusOK
	}
	return h.reply(c, status, append(b, '}'))
}

func appendAnswer(b []byte, a queue.Answer) []byte {
	b = wire.AppendClient(append(b, `{"from":`...), a.From)
	if a.Data.Binary() {
		b = append(b, `,"binary":`...)
	} else {
		b = append(b, `,"data":`...)
	}
	return append(append(b, a.Data.JSON()...), '}')
}

// takeReply serves POST /v1/{ns}/reply. A backend that names no client replies as the backend of the namespace,
// and may reply to any event that asks for replies.
func (h *Handler) takeReply(c *call) error {
	media, err := wire.MediaType(c.r)
	if err != nil {
		return err
	}
	if media != wire.MediaJSON {
		return wire.Refuse(wire.Unsupported, "", "want Content-Type: application/json")
	}
	body := bodies.Get() // decoded values do not refer to it
	defer bodies.Put(body)
	if err := h.readJSON(c, body); err != nil {
		return err
	}
	r, err := replyBody(*body)
	if err != nil {
		return err
	}
	r.Namespace, r.From, r.May = c.ns, c.who.Client, c.who.MayRead
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
	err = wire.Object(body, "", func(name string) *[]byte {
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
		return r, wire.Refuse(wire.Invalid, "offset", "offset is missing")
	}
	n, err := strconv.ParseUint(string(offset), 10, 53)
	if err != nil {
		return r, wire.Refuse(wire.Invalid, "offset", "offset must be a whole number below 2^53")
	}
	r.To = event.Offset(n)
	r.Data, err = e.payload()
	return r, err
}
