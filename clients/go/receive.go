package culvert

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// item is one received thing, in order: an event, a gap, or only a position.
type item struct {
	event *Event
	gap   *Gap
	at    place
	done  chan struct{} // closed when everything before it was handled; may be nil
}

// ask sends a request to receive, which carries a due acknowledgement.
func (f *follower) ask(ctx context.Context, accept string, query url.Values) (*http.Response, error) {
	query["rooms"] = slices.Clone(f.o.Rooms)
	if len(f.o.Rooms) == 1 && strings.Contains(f.o.Rooms[0], ",") {
		query.Add("rooms", f.o.Rooms[0]) // if the parameter is repeated, a comma is part of the name
	}
	// The position is not in a header, which a proxy may remove. Each request has another
	// URL, so that no cache can answer.
	query.Set("_", strconv.FormatUint(rand.Uint64(), 36))
	switch {
	case f.inbox.cursor != "":
		query.Set("after", f.inbox.cursor)
	case f.o.Earliest:
		query.Set("from", "earliest")
	}
	ack := f.acks.carry()
	if ack != "" {
		query.Set("ack", ack)
	}
	resp, err := f.requests.do(ctx, Request{Method: http.MethodGet, Path: "/events", Query: query, Accept: accept})
	if ack != "" && conflict(err) {
		f.acks.confirm(ack)
		f.acks.refused(ack, err)
		return nil, errWoken
	}
	if err == nil && ack != "" {
		f.acks.confirm(ack)
	}
	return resp, err
}

// worked notes that events come by this transport.
func (f *follower) worked(t Transport) {
	f.acks.polls.Store(t == Poll)
	if !f.up || f.transport != t {
		f.up, f.transport = true, t
		f.o.OnConnect(t)
	}
}

// push passes on what was received. While handlers are slow it waits, and nothing
// more is read, so that TCP slows the server down.
func (f *follower) push(ctx context.Context, it item) error {
	select {
	case f.queue <- it:
		return nil
	default:
	}
	f.watch.Stop()
	select {
	case f.queue <- it:
		f.ladder.stalled()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deliver passes on an event, unless it was seen before.
func (f *follower) deliver(ctx context.Context, e *Event, cursor string) error {
	if f.inbox.seen(e) {
		return nil
	}
	next := f.inbox
	next.take(e, cursor)
	if err := f.push(ctx, item{event: e, at: next.place}); err != nil {
		return err
	}
	f.inbox = next
	return nil
}

// skip passes on a gap, unless it was seen before.
func (f *follower) skip(ctx context.Context, g Gap) error {
	next := f.inbox
	if next.skip(g) {
		if err := f.push(ctx, item{gap: &g, at: next.place}); err != nil {
			return err
		}
	}
	f.inbox = next
	return nil
}

// reach moves on to a position without an event; done, if given, is closed when
// everything before it was handled.
func (f *follower) reach(ctx context.Context, cursor string, done chan struct{}) error {
	if cursor == "" {
		return nil
	}
	next := f.inbox.place
	next.cursor = cursor
	if err := f.push(ctx, item{at: next, done: done}); err != nil {
		return err
	}
	f.inbox.place = next
	return nil
}
