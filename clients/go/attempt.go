package culvert

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// attempt gets a token, by a call of TokenFunc if necessary, and then makes one attempt. The duration
// and failure of the call must not count against the transport.
func (f *follower) attempt(ctx context.Context) (ending, error) {
	err := f.token(ctx)
	p := f.ladder.begin()
	if err == nil {
		return f.try(ctx, p)
	}
	e := endingOf(err)
	if e.kind != endWoken && e.kind != endRefused {
		e.kind = endBusy
	}
	return e, err
}

func (f *follower) token(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	f.holds(cancel)
	defer f.holds(nil)
	ctx, stop := context.WithTimeoutCause(ctx, tokenTime, errSlowToken)
	defer stop()
	_, err := f.requests.tokens.get(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// try makes one attempt and returns how it ended, with the reason if it did not
// end normally.
func (f *follower) try(parent context.Context, p plan) (ending, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	f.holds(cancel)
	defer f.holds(nil)
	f.watch = time.AfterFunc(f.ladder.left(), func() { cancel(errLate) })
	defer f.watch.Stop()
	var e ending
	var err error
	if p.transport == Stream {
		e, err = f.stream(ctx)
	} else {
		e, err = f.poll(ctx, p)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // the reason why the connection was cut; err is only the effect
	}
	if err != nil {
		e = endingOf(err)
	}
	if errors.Is(err, errLate) {
		f.requests.http.CloseIdleConnections() // idle ones may be dead, too, and would be used next
		err = f.lateness(p.transport)
	}
	return e, err
}

func (f *follower) holds(cut context.CancelCauseFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = cut
}

// lateness returns the error for a passed deadline.
func (f *follower) lateness(t Transport) error {
	switch {
	case t == Poll:
		return errLate
	case f.ladder.state != stateStreaming:
		return errNoHello
	case f.ladder.batched(), f.ladder.owed:
		return errBursts
	}
	return errSilence
}

// endingOf returns the ending that an error means for the ladder.
func endingOf(err error) ending {
	var p *Problem
	switch {
	case errors.Is(err, errWoken):
		return ending{kind: endWoken}
	case errors.Is(err, errLate):
		return ending{kind: endTimedOut}
	case !errors.As(err, &p):
		return ending{kind: endClosed}
	case p.Foreign:
		gateway := p.Status == http.StatusRequestTimeout || p.Status == http.StatusGatewayTimeout || p.Status == 524
		return ending{kind: endForeign, gateway: gateway, after: p.RetryAfter}
	case p.Temporary():
		return ending{kind: endBusy, after: p.RetryAfter}
	}
	return ending{kind: endRefused}
}
