package api

import (
	"context"
	"strconv"
	"time"

	"github.com/culvertmq/culvert/api/stream"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// reader is the part of the queue that reads the log.
type reader interface {
	HistoryOf(ctx context.Context, in queue.Interest, limit int) (event.Batch, error)
	Head() event.Cursor
}

// subscriptionSource is the part of the queue that delivers events as they come.
type subscriptionSource interface {
	Subscribe(ctx context.Context, in queue.Interest) (stream.Subscription, error)
}

// queueSubscriptions is the source of a real queue. Its Subscribe returns an interface.
type queueSubscriptions struct{ queue *queue.Queue }

// Subscribe implements subscriptionSource.
func (s queueSubscriptions) Subscribe(ctx context.Context, in queue.Interest) (stream.Subscription, error) {
	sub, err := s.queue.Subscribe(ctx, in)
	if err != nil {
		return nil, err // a nil *queue.Subscription must not become a non-nil interface
	}
	return sub, nil
}

// receipt holds the parsed parameters of a request for events.
type receipt struct {
	interest queue.Interest
	ack      event.Cursor // zero: nothing to acknowledge
	autoAck  bool         // ack=auto: ack is the cursor to start after; if it is not valid here, that is not an error
	wait     time.Duration
	applied  bool // wait was taken from Prefer
	limit    int
}

// receipt reads the parameters.
func (h *Handler) receipt(c *call) (q receipt, err error) {
	q.interest = queue.Interest{Namespace: c.ns, Client: c.who.Client, May: c.who.MayKeep(), Memory: &c.visit.Account}
	if q.limit, err = c.query.limit(); err != nil {
		return q, err
	}
	if q.wait, q.applied, err = c.wait(h.o.MaxWait); err != nil {
		return q, err
	}
	if q.interest.After, q.interest.Earliest, err = c.start(); err != nil {
		return q, err
	}
	if q.interest.Rooms, err = c.query.rooms(); err != nil {
		return q, err
	}
	for _, r := range q.interest.Rooms {
		if !c.who.MayRead(r) {
			return q, wire.Refuse(wire.Forbidden, "rooms", "the token does not allow reading room "+strconv.Quote(r.String()))
		}
	}
	if err := c.readAck(&q); err != nil {
		return q, err
	}
	if q.interest.Rooms == nil {
		err = c.needClient("client", "name the client with ?client=, or rooms with ?rooms=")
	}
	return q, err
}

// start returns where to begin. The header wins over the parameter, and that over from=; but all that are given
// must be valid. An EventSource that has no id yet sends an empty Last-Event-ID.
func (c *call) start() (after event.Cursor, earliest bool, err error) {
	if id := c.r.Header.Get("Last-Event-ID"); id != "" {
		if after, err = parseCursor("Last-Event-ID", id); err != nil {
			return after, false, err
		}
	}
	cursor, err := c.query.start()
	if err != nil {
		return after, false, err
	}
	after = first(after, cursor)
	from, given, err := c.query.one("from")
	if err == nil && given && from != "earliest" {
		err = wire.Refuse(wire.BadParameter, "from", "the only value is earliest")
	}
	return after, given && after.IsZero(), err
}

// start reads the cursor to start after, under any of its names. The one that an EventSource adds when it
// reconnects wins over the one that was in its URL from the beginning.
func (q query) start() (after event.Cursor, err error) {
	for _, name := range startParameters {
		text, given, err := q.one(name)
		if err != nil {
			return after, err
		}
		if !given || text == "" && name != "after" {
			continue
		}
		cursor, err := parseCursor(name, text)
		if err != nil {
			return after, err
		}
		after = first(after, cursor)
	}
	return after, nil
}

func first(a, b event.Cursor) event.Cursor {
	if a.IsZero() {
		return b
	}
	return a
}

// readAck reads ack=CURSOR and ack=auto. An ad hoc subscription cannot acknowledge: if its cursor became the
// client's, the client would miss the events of its own rooms.
func (c *call) readAck(q *receipt) error {
	text, given, err := c.query.one("ack")
	if err != nil || !given {
		return err
	}
	if q.interest.Rooms != nil {
		return wire.Refuse(wire.BadParameter, "ack", "ack and rooms are mutually exclusive: a subscription with rooms stores nothing")
	}
	if err := c.needClient("ack", "acknowledging needs a client: name it with ?client="); err != nil {
		return err
	}
	if q.autoAck = text == "auto"; q.autoAck {
		q.ack = q.interest.After
		return nil
	}
	q.ack, err = parseCursor("ack", text)
	return err
}
