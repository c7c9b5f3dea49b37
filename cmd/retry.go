package cmd

import (
	"context"
	"math/rand/v2"
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
