package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/culvertmq/culvert/event"
)

// poll serves a long poll: what there is, or after a wait nothing.
func (h *Handler) poll(c *call, n *session, sub subscription, q receipt) error {
	h.metrics.polls.Inc()
	defer h.metrics.polls.Dec()
	wait := q.wait
	if !c.who.expires.IsZero() {
		wait = min(wait, time.Until(c.who.expires))
	}
	end := time.NewTimer(max(wait, 0))
	defer end.Stop()
	if q.applied {
		c.w.Header().Set("Preference-Applied", "wait="+strconv.FormatFloat(q.wait.Seconds(), 'f', -1, 64))
	}
	for {
		// The request's context, not the session's: a drain wants an answer.
		b, err := sub.Poll(c.r.Context(), q.limit)
		if errors.Is(err, event.ErrForgotten) || errors.Is(err, event.ErrDeleted) {
			return h.replyBatchOf(c, n, b) // there was nothing any more
		}
		if err != nil {
			return c.visit.account.explain(err)
		}
		b.Volatile = withoutSignals(b.Volatile)
		if b.Gap != nil || len(b.Events) > 0 || len(b.Volatile) > 0 || wait <= 0 || n.reason() != "" {
			return h.replyBatchOf(c, n, b)
		}
		select {
		case <-n.Done():
			if n.reason() == "" {
				return n.Err() // the client is gone
			}
		case <-end.C:
			wait = 0 // one last look: an event may have come together with the end
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

// page is a batch as JSON, assembled from the frames' parts.
type page struct {
	batch event.Batch
	retry time.Duration // 0: none
}

// tail is the page's JSON after the events.
func (p page) tail() []byte {
	b := appendCursor([]byte(`],"cursor":`), p.batch.Cursor)
	b = strconv.AppendBool(append(b, `,"more":`...), p.batch.More)
	if p.batch.Gap != nil {
		b = appendGap(append(b, `,"gap":`...), p.batch.Gap)
	}
	if p.retry > 0 {
		b = appendSeconds(append(b, `,"retry":`...), p.retry)
	}
	return append(b, '}')
}

// each calls f with the page's pieces, in order.
func (p page) each(f func([]byte) error) error {
	if err := f([]byte(`{"events":[`)); err != nil {
		return err
	}
	first := true
	for e := range p.batch.All() {
		if !first {
			if err := f([]byte{','}); err != nil {
				return err
			}
		}
		first = false
		if err := f(eventJSON(e)); err != nil {
			return err
		}
	}
	return f(p.tail())
}

// writePage answers with a page. A full one may be megabytes, so it is written
// in chunks, each with a deadline of its own.
func (h *Handler) writePage(c *call, p page) error {
	length := 0
	_ = p.each(func(b []byte) error { length += len(b); return nil })
	if err := c.holdAnswer(min(length, chunkSize)); err != nil {
		return err
	}
	header := c.w.Header()
	header.Set("Content-Type", mediaJSON)
	header.Set("Content-Length", strconv.Itoa(length))
	c.w.WriteHeader(http.StatusOK)

	out := h.outlet(c)
	chunk := newChunk(&out)
	defer chunk.free()
	if err := p.each(chunk.add); err == nil {
		_ = chunk.end() // a client that is gone needs no answer
	}
	return nil
}
