package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// reply answers a call with JSON.
func (h *Handler) reply(c *call, status int, body []byte) error {
	if err := c.visit.Account.ChargeAnswer(len(body)); err != nil {
		return err
	}
	wire.Answer(c.w, status, "application/json", body)
	return nil
}

// page is a batch as JSON. It is assembled from the JSON of its events' frames.
type page struct {
	batch event.Batch
	retry time.Duration // 0: none
}

// tail returns the page's JSON after the events.
func (p page) tail() []byte {
	b := wire.AppendCursor([]byte(`],"cursor":`), p.batch.Cursor)
	b = strconv.AppendBool(append(b, `,"more":`...), p.batch.More)
	if p.batch.Gap != nil {
		b = wire.AppendGap(append(b, `,"gap":`...), p.batch.Gap)
	}
	if p.retry > 0 {
		b = wire.AppendSeconds(append(b, `,"retry":`...), p.retry)
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
		if err := f(wire.EventJSON(e)); err != nil {
			return err
		}
	}
	return f(p.tail())
}

// upTo cuts a list to limit entries. The queue was asked for one entry more, which shows whether there are
// more.
func upTo[T any](list []T, limit int) (kept []T, more bool) {
	return list[:min(limit, len(list))], len(list) > limit
}

// appendList adds a page of a list: {"<name>":[…],"more":…}.
func appendList[T any](b []byte, name string, list []T, more bool, item func([]byte, T) []byte) []byte {
	b = wire.AppendString(append(b, '{'), name)
	b = append(b, `:[`...)
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, v)
	}
	b = strconv.AppendBool(append(b, `],"more":`...), more)
	return append(b, '}')
}

// writePage answers with a page. A full page may have megabytes, so it is written in chunks, each of which has
// its own deadline.
func (h *Handler) writePage(c *call, p page) error {
	length := 0
	_ = p.each(func(b []byte) error { length += len(b); return nil })
	if err := c.visit.Account.ChargeAnswer(min(length, wire.ChunkSize)); err != nil {
		return err
	}
	header := c.w.Header()
	header.Set("Content-Type", wire.MediaJSON)
	header.Set("Content-Length", strconv.Itoa(length))
	c.w.WriteHeader(http.StatusOK)

	out := c.visit.Writer()
	chunk := wire.NewChunk(&out)
	defer chunk.Free()
	if err := p.each(chunk.Add); err == nil {
		_ = chunk.End() // an error means that the client has left
	}
	return nil
}

// appendResult adds the answer to one event.
func appendResult(b []byte, r event.Result) []byte {
	b = append(b, `{"offset":`...)
	b = strconv.AppendInt(b, int64(r.Cursor.Offset), 10)
	b = wire.AppendCursor(append(b, `,"cursor":`...), r.Cursor)
	if r.Duplicate {
		b = append(b, `,"duplicate":true`...)
	}
	return append(b, '}')
}

func (h *Handler) replyCursor(c *call, cursor event.Cursor) error {
	return h.reply(c, http.StatusOK, append(wire.AppendCursor([]byte(`{"cursor":`), cursor), '}'))
}
