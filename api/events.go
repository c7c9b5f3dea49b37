package api

import (
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/culvertmq/culvert/api/stream"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// events serves GET /v1/{ns}/events as a stream or a long poll.
func (h *Handler) events(c *call) error {
	q, err := h.receipt(c)
	if err != nil {
		return err
	}
	asStream := wantsStream(c.r.Header)
	var held holding
	defer func() { held.end() }()
	if asStream || q.wait > 0 {
		if held.release, err = h.limits.Connect(c.ns, &c.who, &c.visit.Account); err != nil {
			return err
		}
	}
	if err := h.ackFirst(c, q); err != nil {
		return err
	}
	if !asStream {
		q.interest.Rights = c.who.Rights()
	}
	held.session = h.enter(c)
	if asStream {
		if held.conn = h.placeFor(c); held.conn != nil {
			q.interest.Waker = held.conn
		}
	}
	if held.sub, err = h.subscriptions.Subscribe(c.r.Context(), q.interest); err != nil {
		return err
	}
	if asStream {
		return h.stream(c, &held, q)
	}
	return h.poll(c, held.session, held.sub, q)
}

// poll serves a long poll: it answers with the events there are, or waits for some, or answers without any
// after the wait.
func (h *Handler) poll(c *call, n *session, sub stream.Subscription, q receipt) error {
	h.metrics.polls.Inc()
	defer h.metrics.polls.Dec()
	wait := q.wait
	if !c.who.Expires.IsZero() {
		wait = min(wait, time.Until(c.who.Expires))
	}
	end := time.NewTimer(max(wait, 0))
	defer end.Stop()
	if q.applied {
		c.w.Header().Set("Preference-Applied", "wait="+strconv.FormatFloat(q.wait.Seconds(), 'f', -1, 64))
	}
	for {
		// The request's context, not the session's: when the server drains, the client still gets an answer.
		b, err := stream.Poll(c.r.Context(), sub, q.limit)
		if errors.Is(err, event.ErrForgotten) || errors.Is(err, event.ErrDeleted) {
			return h.replyBatchOf(c, n, b) // the client or its namespace is gone: an empty page
		}
		if err != nil {
			return c.visit.Account.Explain(err)
		}
		b.Volatile = stream.WithoutSignals(b.Volatile, nil)
		if b.Gap != nil || len(b.Events) > 0 || len(b.Volatile) > 0 || wait <= 0 || n.Reason() != "" {
			return h.replyBatchOf(c, n, b)
		}
		select {
		case <-n.Done():
			if n.Reason() == "" {
				return n.Err() // the client has left
			}
		case <-end.C:
			wait = 0 // poll once more: an event may have arrived together with the end of the wait
		case <-sub.Wake():
		}
	}
}

func (h *Handler) replyBatchOf(c *call, n *session, b event.Batch) error {
	p := page{batch: b}
	if n.drained() {
		p.retry = h.jitter(500*time.Millisecond, 3*time.Second)
	}
	h.metrics.polled.Add(float64(len(b.Events) + len(b.Volatile)))
	return h.writePage(c, p)
}

func (h *Handler) ackFirst(c *call, q receipt) error {
	if q.ack.IsZero() {
		return nil
	}
	_, err := h.queue.Ack(c.r.Context(), c.ns, c.who.Client, q.ack)
	if q.autoAck && (errors.Is(err, event.ErrOtherLog) || errors.Is(err, event.ErrBeyondHead)) {
		return nil // the answer reports the gap
	}
	if err != nil {
		return wire.InField(err, "ack")
	}
	return nil
}

// wantsStream reports whether Accept names text/event-stream. "*/*" does not count: a client that does not say
// that it understands streams gets a long poll.
func wantsStream(h http.Header) bool {
	for _, line := range h.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			media, params, err := mime.ParseMediaType(part)
			if err != nil || media != "text/event-stream" {
				continue
			}
			q, given := params["q"]
			weight, err := strconv.ParseFloat(q, 64)
			return !given || err == nil && weight > 0
		}
	}
	return false
}
