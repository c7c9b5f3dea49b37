package localpg

import (
	"context"
	"errors"
	"time"
)

// errPatience means that a polled condition did not become true in time.
var errPatience = errors.New("the condition was not met in time")

// patient returns a context that ends with ctx, or with errPatience after limit.
func patient(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, errPatience)
}

// poll calls done every few milliseconds until it returns true or an error. It is for
// changes that another process makes without a notification.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
