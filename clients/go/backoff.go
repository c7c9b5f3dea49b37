package culvert

import (
	"context"
	"time"
)

// backoff returns the wait after a number of failures: a random time below a bound that doubles,
// so that the clients of one server do not all return at once (full jitter).
func backoff(random func() float64, failures int) time.Duration {
	bound := min(500*time.Millisecond<<min(failures, 10), 30*time.Second)
	return time.Duration(random() * float64(bound))
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
