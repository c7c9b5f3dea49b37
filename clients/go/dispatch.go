package culvert

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/sync/errgroup"
)

const (
	queued        = 64 // received and not yet handled
	repliesAtOnce = 16 // being sent to the server
)

// dispatch calls the handlers of received events until ctx ends or a handler
// ends it. Replies are sent in parallel with the handlers; an event is handled when its
// reply has arrived.
func (f *follower) dispatch(ctx context.Context) error {
	var replies errgroup.Group
	replies.SetLimit(repliesAtOnce)
	defer func() { _ = replies.Wait() }() // its goroutines return no errors
	for {
		var it item
		select {
		case <-ctx.Done():
			return nil
		case it = <-f.queue:
		}
		if ctx.Err() != nil {
			return nil // handlers are not called after the end
		}
		p := f.acks.begin(it.at, it.event != nil && it.event.Offset != 0)
		switch {
		case it.event != nil:
			reply, err := f.handle(ctx, it.event)
			if err != nil {
				return err
			}
			if reply != nil && it.event.Asks != nil {
				replies.Go(func() error {
					if f.reply(ctx, it.event, reply) {
						f.acks.finish(p)
					}
					return nil
				})
				continue
			}
		case it.gap != nil:
			f.o.OnGap(*it.gap)
		}
		f.acks.finish(p)
		if it.done != nil {
			close(it.done)
		}
	}
}

// handle calls the handlers of an event. Its error ends Listen.
func (f *follower) handle(ctx context.Context, e *Event) (reply any, err error) {
	for _, h := range f.handlers.get(e.Name) {
		r, err := h(ctx, e)
		if errors.Is(err, ErrStop) {
			return nil, err
		}
		if err != nil {
			f.o.OnError(err)
		}
		if reply == nil {
			reply = r
		}
	}
	return reply, nil
}

// reply sends a reply and reports whether it is settled: accepted or
// refused.
func (f *follower) reply(parent context.Context, e *Event, data any) bool {
	ctx, cancel := context.WithDeadline(parent, e.Asks.Until)
	defer cancel()
	body := map[string]any{"offset": e.Offset}
	setData(body, data)
	err := f.requests.retry(ctx, func() error { return f.requests.postJSON(ctx, "/reply", body) })
	if parent.Err() != nil && err != nil {
		return false
	}
	var p *Problem
	if errors.As(err, &p) && p.Status == http.StatusGone {
		return true // too late, or enough replies came before: nobody waits for it any more
	}
	if err != nil {
		f.o.OnError(err)
	}
	return true
}
