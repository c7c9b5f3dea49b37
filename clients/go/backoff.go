package culvert

import (
	"context"
	"time"
)

// backoff is the wait after so many failures: anywhere below a bound that doubles,
// so that many clients of one server do not return as one (full jitter).
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
