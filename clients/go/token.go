package culvert

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// tokens holds the token, from a constant or a callback. Goroutines that need a token while the
// callback runs wait for the same call.
type tokens struct {
	fetch   func(ctx context.Context) (string, error)
	static  bool
	turn    chan struct{} // a lock of the fields below: full while it is free
	current string
	known   bool
	fresh   chan struct{} // closed when there is another token
	pending chan gotToken // the result of a call that has not returned
}

// gotToken is what a callback returned.
type gotToken struct {
	token string
	err   error
}

// tokenTime is how long a callback may take.
const tokenTime = 30 * time.Second

var errSlowToken = fmt.Errorf("TokenFunc has not returned for %v", tokenTime)

func newTokens(o Options) *tokens {
	t := &tokens{fetch: o.TokenFunc, turn: make(chan struct{}, 1), fresh: make(chan struct{}, 1), current: o.Token}
	t.static = o.TokenFunc == nil
	t.known = t.static
	t.turn <- struct{}{}
	return t
}

// get returns the present token, or gets one.
func (t *tokens) get(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-t.turn:
	}
	defer func() { t.turn <- struct{}{} }()
	if t.known {
		return t.current, nil
	}
	token, err := t.call(ctx)
	if err == nil && token == "" {
		err = errors.New("TokenFunc returned an empty string")
	}
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	t.current, t.known = token, true
	select {
	case t.fresh <- struct{}{}:
	default:
	}
	return token, nil
}

// call calls the callback, unless an earlier call has not returned: there are never two
// calls at once. A callback that ignores its context is left running.
func (t *tokens) call(parent context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(parent, tokenTime, errSlowToken)
	defer cancel()
	earlier := t.pending != nil
	if !earlier {
		t.pending = make(chan gotToken, 1)
		go func(done chan<- gotToken) {
			token, err := t.fetch(ctx)
			done <- gotToken{token, err}
		}(t.pending)
	}
	select {
	case got := <-t.pending:
		t.pending = nil
		if earlier && got.err != nil {
			return t.call(parent) // the failure of that call was reported to other callers
		}
		return got.token, got.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// renew returns another token than the refused one, or the refused one if there is no
// other.
func (t *tokens) renew(ctx context.Context, refused string) (string, error) {
	if t.static {
		return refused, nil
	}
	t.drop(ctx, refused)
	return t.get(ctx)
}

// expire makes the next request get a new token.
func (t *tokens) expire(ctx context.Context) {
	t.dropIf(ctx, func() bool { return true })
}

// drop does the same if that token is still in use.
func (t *tokens) drop(ctx context.Context, token string) {
	t.dropIf(ctx, func() bool { return t.current == token })
}

// dropIf waits, at most until ctx ends, while the callback runs, which may take for ever.
func (t *tokens) dropIf(ctx context.Context, old func() bool) {
	select {
	case <-ctx.Done():
	case <-t.turn:
		if !t.static && old() {
			t.known = false
		}
		t.turn <- struct{}{}
	}
}

// watch gets a new token each time the old one is about to expire, and then calls
// renewed, until ctx ends.
func (t *tokens) watch(ctx context.Context, renewed func(ctx context.Context) error, failed func(error)) {
	for !t.static && ctx.Err() == nil {
		token, err := t.get(ctx)
		life, expires := lifetime(token, time.Now())
		if err != nil || !expires {
			life = time.Minute // look again
		}
		if t.changes(ctx, max(life-min(30*time.Second, life/3), time.Second)) || err != nil || !expires {
			continue
		}
		t.drop(ctx, token)
		if _, err = t.get(ctx); err == nil {
			err = renewed(ctx)
		}
		if err != nil && ctx.Err() == nil {
			failed(fmt.Errorf("renew the token: %w", err))
		}
	}
}

// changes waits for d, and reports whether ctx ended or there was another token before that.
func (t *tokens) changes(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-t.fresh:
		return true
	case <-timer.C:
		return false
	}
}

// lifetime returns how long a JWT is valid from the time it was made. This does not depend on the device's
// clock, which may be wrong.
func lifetime(token string, now time.Time) (life time.Duration, expires bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return 0, false // an API key
	}
	var claims struct {
		Exp float64 `json:"exp"`
		Iat float64 `json:"iat"`
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(raw, &claims) != nil || claims.Exp == 0 {
		return 0, false
	}
	if claims.Iat == 0 {
		claims.Iat = float64(now.Unix())
	}
	return time.Duration((claims.Exp - claims.Iat) * float64(time.Second)), true
}
