package culvert

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// Listen receives events and calls their handlers, by whatever transport works, and
// continues where it was whenever a connection ends. It returns nil when ctx ended
// or Close was called, and otherwise the reason why it cannot continue: the server refused
// (*Problem), Options.GiveUp said so, or a handler returned ErrStop. All its goroutines
// have ended then, and what was handled is acknowledged if the server could be
// reached within seconds. Listen may be called again, and continues after what was handled.
//
// Register the handlers first: an event without a handler counts as handled.
func (c *Client) Listen(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	f, err := c.start(cancel)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.run(ctx) })
	g.Go(func() error { return f.dispatch(ctx) })
	g.Go(func() error { f.acks.run(ctx); return nil })
	g.Go(func() error { c.requests.tokens.watch(ctx, f.renewed, c.o.OnError); return nil })
	err = g.Wait()
	f.acks.flush(ctx)
	c.stop(f)
	return err
}

// start makes the follower of a Listen.
func (c *Client) start(cancel context.CancelFunc) (*follower, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		return nil, ErrClosed
	case c.follower != nil:
		return nil, ErrListening
	}
	save := func(v verdict) { saveVerdict(c.origin, v) }
	c.follower = &follower{
		o: c.o, requests: c.requests, handlers: c.handlers,
		ladder: newLadder(time.Now, rand.Float64, loadVerdict(c.origin), save, c.o.Transport),
		inbox:  inbox{place: c.handled},
		acks:   newAcker(c.o, c.requests, c.handled),
		queue:  make(chan item, queued),
		woken:  make(chan struct{}, 1),
	}
	c.follower.ladder.least = c.hello
	c.cancel, c.ended = cancel, make(chan struct{})
	return c.follower, nil
}

// stop remembers where the Listen ended.
func (c *Client) stop(f *follower) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handled = f.acks.position()
	c.follower, c.cancel = nil, nil
	close(c.ended)
}

// renewed sends a new token to the server, for the open stream.
func (f *follower) renewed(ctx context.Context) error {
	return f.requests.retry(ctx, func() error { return f.requests.postJSON(ctx, "/token", struct{}{}) })
}
