package culvert

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How a connection ends.
var (
	errClosed  = errors.New("the connection to the server ended")
	errNoHello = errors.New("nothing came through the stream")
	errSilence = errors.New("the stream went silent")
	errBursts  = errors.New("what comes through the stream is withheld on the way")
	errLate    = errors.New("no answer came in time")
	errWoken   = errors.New("connecting anew")
)

// follower receives over either transport, one attempt after the other, as the
// ladder says, and goes on from its position whenever a connection ends.
type follower struct {
	c      *Client
	ladder *ladder
	inbox  inbox
	acks   *acker
	queue  chan item
	watch  *time.Timer // ends the attempt at the ladder's deadline

	up        bool // as it was told
	transport Transport

	mu    sync.Mutex
	cut   context.CancelCauseFunc // ends the attempt; nil between two
	wake  bool                    // the next attempt is to begin at once
	moved bool                    // and on another network
	woken chan struct{}           // ends a rest
}

// run receives until ctx ends or the server refuses.
func (f *follower) run(ctx context.Context) error {
	for {
		f.rest(ctx)
		if ctx.Err() != nil {
			return nil
		}
		e, err := f.attempt(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if e.kind == endRefused || err != nil && f.c.o.GiveUp(err) {
			return err
		}
		// Of these it is no news, or may be chance, while events can come.
		news := f.ladder.state != stateTrying && !f.ladder.spent() && f.ladder.plan.transport == Stream
		f.ladder.end(e)
		if err != nil && e.kind != endWoken && (news || !f.ladder.up) {
			f.up = false
			f.c.o.OnLost(err)
		}
	}
}

// rest waits for the time of the next attempt, or to be woken.
func (f *follower) rest(ctx context.Context) {
	timer := time.NewTimer(f.ladder.delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-f.woken:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wake {
		f.ladder.wake(f.moved)
		f.wake, f.moved = false, false
	}
}

// wakeUp ends the attempt or the rest under way.
func (f *follower) wakeUp(moved bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake, f.moved = true, f.moved || moved
	if f.cut != nil {
		f.cut(errWoken)
	}
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

// ask sends a request to receive. It carries the acknowledgement that is due.
func (f *follower) ask(ctx context.Context, accept string, query url.Values) (*http.Response, error) {
	query["rooms"] = slices.Clone(f.c.o.Rooms)
	if len(f.c.o.Rooms) == 1 && strings.Contains(f.c.o.Rooms[0], ",") {
		query.Add("rooms", f.c.o.Rooms[0]) // said twice, the comma is part of the name
	}
	// The position is not in a header, which may get lost on the way; and no two
	// requests are alike, so that no cache can answer.
	query.Set("_", strconv.FormatUint(rand.Uint64(), 36))
	switch {
	case f.inbox.cursor != "":
		query.Set("after", f.inbox.cursor)
	case f.c.o.Earliest:
		query.Set("from", "earliest")
	}
	ack := f.acks.carry()
	if ack != "" {
		query.Set("ack", ack)
	}
	resp, err := f.c.Do(ctx, Request{Method: http.MethodGet, Path: "/events", Query: query, Accept: accept})
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

// worked notes that events come this way.
func (f *follower) worked(t Transport) {
	f.acks.polls.Store(t == Poll)
	if !f.up || f.transport != t {
		f.up, f.transport = true, t
		f.c.o.OnConnect(t)
	}
}

// push hands over what was received. While handlers are slow it waits, and nothing
// more is read: TCP and the server then know.
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

// deliver hands over an event, unless it came before.
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

// skip hands over a gap, if it is news.
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
