package cmd

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// backoff waits longer from time to time: up to base first, twice that next, up
// to limit. Each wait is anywhere below its bound (full jitter), so that many
// clients of one server do not return as one.
type backoff struct {
	base, limit time.Duration
	tries       int
}

// next is the length of the next wait, at least atLeast.
func (b *backoff) next(atLeast time.Duration) time.Duration {
	bound := min(b.base<<min(b.tries, 16), b.limit)
	b.tries++
	return max(atLeast, time.Duration(rand.Int64N(int64(bound))+1))
}

// wait waits for the next time, or until ctx ends.
func (b *backoff) wait(ctx context.Context, atLeast time.Duration) {
	pause(ctx, b.next(atLeast))
}

// reset begins again with the shortest wait, after a success.
func (b *backoff) reset() { b.tries = 0 }

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 5 * time.Minute

// retryAfter reads the header Retry-After in either of its forms, RFC 9110
// section 10.2.3; 0 when there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return min(at.Sub(now), maxRetryAfter)
	}
	return 0
}
