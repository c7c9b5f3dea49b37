package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// appender is the part of the queue that stores events, or delivers them without storing them.
type appender interface {
	Append(ctx context.Context, emits []event.Emit) ([]event.Result, error)
	PublishVolatile(ctx context.Context, emits []event.Emit) error
}

// emit serves POST /v1/{ns}/emit.
func (h *Handler) emit(c *call) error {
	err := h.store(c)
	if err != nil {
		h.metrics.rejected.Inc()
	}
	return err
}

func (h *Handler) store(c *call) error {
	media, err := wire.MediaType(c.r)
	if err != nil {
		return err
	}
	wait, err := c.replyWait(h.o.MaxWait)
	if err != nil {
		return err
	}
	key, err := keyHeader(c.r.Header)
	if err != nil {
		return err
	}
	if media == wire.MediaLines {
		if wait >= 0 {
			return wire.Refuse(wire.Invalid, "wait", "only a single event can wait for replies")
		}
		if key != nil {
			return wire.Refuse(wire.Invalid, "key", "Idempotency-Key is only for a single event; give each line a key of its own")
		}
		return h.emitLines(c)
	}
	if wait > 0 {
		release, err := h.limits.Connect(c.ns, &c.who, &c.visit.Account)
		if err != nil {
			return err
		}
		defer release()
	}
	// The token of one event is taken before the body is read, so that a bad body costs a token, too.
	if err := h.limits.TakeEvents(c.ns, &c.who, 1, 0); err != nil {
		return err
	}
	body := bodies.Get() // decoded values do not refer to it
	defer bodies.Put(body)
	if err := h.readJSON(c, body); err != nil {
		return err
	}
	var e envelope
	if err := e.open(*body); err != nil {
		return err
	}
	if e.events != nil {
		if wait >= 0 {
			return wire.Refuse(wire.Invalid, "wait", "only a single event can wait for replies")
		}
		if key != nil {
			return wire.Refuse(wire.Invalid, "key", "Idempotency-Key is only for a single event; give each event a key of its own")
		}
		return h.emitBatch(c, &e)
	}
	return h.emitOne(c, &e, key, wait)
}

// keyHeader reads Idempotency-Key; nil when it is absent.
func keyHeader(header http.Header) (*event.Key, error) {
	values := header["Idempotency-Key"]
	switch len(values) {
	case 0:
		return nil, nil
	case 1:
		k, err := event.ParseKey(values[0])
		return &k, err
	}
	return nil, wire.Refuse(wire.Invalid, "key", "duplicate Idempotency-Key header")
}

// emitOne stores one event and, unless wait is negative, waits for its replies.
func (h *Handler) emitOne(c *call, e *envelope, key *event.Key, wait time.Duration) error {
	m, err := e.emit(c)
	if err != nil {
		return err
	}
	if wait >= 0 && m.Reply == (event.Ask{}) {
		return wire.Refuse(wire.Invalid, "wait", "wait is only for an event that asks for replies")
	}
	if volatile, err := e.isVolatile(); err != nil {
		return err
	} else if volatile {
		if key != nil {
			return wire.Refuse(wire.Invalid, "key", "a volatile event is not stored: leave Idempotency-Key out")
		}
		return h.publishVolatile(c, []event.Emit{m})
	}
	if key != nil {
		if m.Key != (event.Key{}) && m.Key != *key {
			return wire.Refuse(wire.Invalid, "key", "key and Idempotency-Key differ")
		}
		m.Key = *key
	}
	results, err := h.queue.Append(c.r.Context(), []event.Emit{m})
	if err != nil {
		return err
	}
	h.metrics.count(results)
	if wait >= 0 {
		return h.await(c, wait, results[0])
	}
	status := http.StatusCreated
	if results[0].Duplicate {
		status = http.StatusOK
	}
	return h.reply(c, status, appendResult(make([]byte, 0, 96), results[0]))
}

func (h *Handler) emitBatch(c *call, e *envelope) error {
	if err := e.alone(); err != nil {
		return err
	}
	var emits []event.Emit
	volatile := 0
	isArray, err := wire.Elements(e.events, func(i int, value []byte) error {
		if i == maxBatch {
			return wire.Refuse(wire.Invalid, "events", "a batch may have at most 1000 events")
		}
		m, isVolatile, err := c.item(value)
		if err != nil {
			return inEvent(err, i)
		}
		if emits = append(emits, m); isVolatile {
			volatile++
		}
		return nil
	})
	switch {
	case !isArray:
		return wire.Refuse(wire.Invalid, "events", "events must be an array of objects")
	case err != nil:
		return err
	case len(emits) == 0:
		return wire.Refuse(wire.Invalid, "events", "a batch must have at least one event")
	}
	if err := h.limits.TakeEvents(c.ns, &c.who, len(emits), 1); err != nil {
		return err
	}
	switch volatile {
	case 0:
	case len(emits):
		return h.publishVolatile(c, emits)
	default:
		return wire.Refuse(wire.Invalid, "events", "a batch is stored as a whole or not at all: send volatile events in a batch of their own")
	}
	results, err := h.queue.Append(c.r.Context(), emits)
	if err != nil {
		return err
	}
	h.metrics.count(results)
	return h.replyBatch(c, results)
}

// replyBatch answers with the offsets in the order of the events. The cursor is the one with the highest
// offset: a duplicate may have a much lower one.
func (h *Handler) replyBatch(c *call, results []event.Result) error {
	var last event.Cursor
	var duplicates []int
	b := append(make([]byte, 0, 64+20*len(results)), `{"offsets":[`...)
	for i, r := range results {
		b = strconv.AppendInt(b, int64(r.Cursor.Offset), 10)
		b = append(b, ',')
		if r.Cursor.Offset >= last.Offset {
			last = r.Cursor
		}
		if r.Duplicate {
			duplicates = append(duplicates, i)
		}
	}
	b[len(b)-1] = ']'
	b = wire.AppendCursor(append(b, `,"cursor":`...), last)
	status := http.StatusCreated
	if len(duplicates) > 0 {
		b = append(b, `,"duplicates":[`...)
		for _, i := range duplicates {
			b = append(strconv.AppendInt(b, int64(i), 10), ',')
		}
		b[len(b)-1] = ']'
	}
	if len(duplicates) == len(results) {
		status = http.StatusOK
		b = append(b, `,"duplicate":true`...)
	}
	return h.reply(c, status, append(b, '}'))
}

// publishVolatile serves an emit of volatile events.
func (h *Handler) publishVolatile(c *call, emits []event.Emit) error {
	if err := h.queue.PublishVolatile(c.r.Context(), emits); err != nil {
		return err
	}
	h.metrics.volatile.Add(float64(len(emits)))
	return h.reply(c, http.StatusAccepted, []byte("{}"))
}

// inEvent adds to an error which event of a batch it is about.
func inEvent(err error, i int) error {
	p := wire.FaultOf(err)
	field := fmt.Sprintf("events[%d]", i)
	if p.Field != "" {
		field += "." + p.Field
	}
	return wire.Refuse(p.Kind, field, p.Detail)
}
