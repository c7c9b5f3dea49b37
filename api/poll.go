package api

import (
	"errors"
	"strconv"
	"time"

	"github.com/culvertmq/culvert/event"
)

// poll serves a long poll: it answers with the events there are, or waits for some, or answers without any
// after the wait.
func (h *Handler) poll(c *call, n *session, sub subscription, q receipt) error {
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
		b, err := sub.Poll(c.r.Context(), q.limit)
		if errors.Is(err, event.ErrForgotten) || errors.Is(err, event.ErrDeleted) {
			return h.replyBatchOf(c, n, b) // the client or its namespace is gone: an empty page
		}
		if err != nil {
			return c.visit.Account.Explain(err)
		}
		b.Volatile = withoutSignals(b.Volatile, nil)
		if b.Gap != nil || len(b.Events) > 0 || len(b.Volatile) > 0 || wait <= 0 || n.reason() != "" {
			return h.replyBatchOf(c, n, b)
		}
		select {
		case <-n.Done():
			if n.reason() == "" {
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
