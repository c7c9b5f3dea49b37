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

// The reasons why a connection ended.
var (
	errClosed  = errors.New("the connection to the server ended")
	errNoHello = errors.New("nothing came through the stream")
	errSilence = errors.New("the stream went silent")
	errBursts  = errors.New("a proxy holds back what comes through the stream")
	errLate    = errors.New("no answer came in time")
	errWoken   = errors.New("connecting anew")
)

// follower receives by either transport, one attempt after the other, as the
// ladder says, and continues from its position whenever a connection ends.
type follower struct {
	c      *Client
	ladder *ladder
	inbox  inbox
	acks   *acker
	queue  chan item
	watch  *time.Timer // ends the attempt at the ladder's deadline

	up        bool // as reported to OnConnect and OnLost
	transport Transport

	mu    sync.Mutex
	cut   context.CancelCauseFunc // ends the attempt; nil between two attempts
	wake  bool                    // the next attempt must begin at once
	moved bool                    // the machine is on another network
	woken chan struct{}           // ends the wait between attempts
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
		// Other endings are expected, or may be chance, while events can still come.
		news := f.ladder.state != stateTrying && !f.ladder.spent() && f.ladder.plan.transport == Stream
		f.ladder.end(e)
		if err != nil && e.kind != endWoken && (news || !f.ladder.up) {
			f.up = false
			f.c.o.OnLost(err)
		}
	}
}

// rest waits until the next attempt is due, or until it is woken.
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

// wakeUp ends the present attempt, or the wait between two attempts.
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

// ask sends a request to receive, which carries a due acknowledgement.
func (f *follower) ask(ctx context.Context, accept string, query url.Values) (*http.Response, error) {
	query["rooms"] = slices.Clone(f.c.o.Rooms)
	if len(f.c.o.Rooms) == 1 && strings.Contains(f.c.o.Rooms[0], ",") {
		query.Add("rooms", f.c.o.Rooms[0]) // if the parameter is repeated, a comma is part of the name
	}
	// The position is not in a header, which a proxy may remove. Each request has another
	// URL, so that no cache can answer.
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

// worked notes that events come by this transport.
func (f *follower) worked(t Transport) {
	f.acks.polls.Store(t == Poll)
	if !f.up || f.transport != t {
		f.up, f.transport = true, t
		f.c.o.OnConnect(t)
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
