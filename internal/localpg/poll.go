package localpg

import (
	"context"
	"errors"
	"time"
)

// errPatience means that what was polled for did not come in time.
var errPatience = errors.New("waited in vain")

// patient is ctx for a wait of at most limit, which ends with errPatience.
func patient(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, errPatience)
}

// poll calls done every few milliseconds until it says so or fails. It is for
// what another process does, of which nobody notifies us.
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
