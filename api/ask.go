package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// defaultAsk is how long replies are taken when "reply" names no timeout.
const defaultAsk = 30 * time.Second

// ask reads "reply": {"timeout": seconds, "count": n}; null asks for nothing.
func (e *envelope) ask() (event.Ask, error) {
	if isNull(e.reply) {
		return event.Ask{}, nil
	}
	var timeout, count []byte
	err := object(e.reply, "reply", func(name string) *[]byte {
		switch name {
		case "timeout":
			return &timeout
		case "count":
			return &count
		}
		return nil
	})
	if err != nil {
		return event.Ask{}, err
	}
	a := event.Ask{Timeout: defaultAsk}
	if !isNull(timeout) {
		seconds, err := strconv.ParseFloat(string(timeout), 64)
		if err != nil || seconds < event.MinAsk.Seconds() || seconds > event.MaxAsk.Seconds() {
			return a, refuse(invalid, "reply.timeout", "reply.timeout must be a number of seconds from 0.05 to 86400")
		}
		a.Timeout = time.Duration(seconds * float64(time.Second))
	}
	if !isNull(count) {
		n, err := strconv.ParseUint(string(count), 10, 16)
		if err != nil || n < 1 || n > event.MaxReplies {
			return a, refuse(invalid, "reply.count", "reply.count must be a whole number from 1 to 10000")
		}
		a.Count = int(n)
	}
	return a, nil
}

// asker is the part of the queue that knows of replies.
type asker interface {
	Reply(ctx context.Context, r queue.Reply) (again bool, err error)
	Await(ctx context.Context, ns event.Namespace, to event.Offset) (queue.Replies, error)
}

// replyWait reads ?wait= of an emit: how long its answer waits for replies;
// negative: it does not.
func (c *call) replyWait(longest time.Duration) (time.Duration, error) {
	if !c.query.values.Has("wait") {
		return -1, nil
	}
	wait, _, err := c.wait(longest)
	if err == nil && !c.who.expires.IsZero() {
		wait = max(0, min(wait, time.Until(c.who.expires)))
	}
	return wait, err
}

// await answers an emit that waits: with what came when that is complete, at the
// ask's timeout, at the end of the wait, or when the server drains.
func (h *Handler) await(c *call, wait time.Duration, r event.Result) error {
	n := h.enter(c)
	defer n.leave()
	h.metrics.waits.Inc()
	defer h.metrics.waits.Dec()
	ctx, cancel := context.WithTimeout(queue.For(n, c.who.client), wait)
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
	b = appendClient(append(b, `{"from":`...), a.From)
	if a.Data.Binary() {
		b = append(b, `,"binary":`...)
	} else {
		b = append(b, `,"data":`...)
	}
	return append(append(b, a.Data.JSON()...), '}')
}
