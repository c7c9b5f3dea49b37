package culvert

import (
	"context"
	"sync"
	"time"
)

// follower receives by either transport, one attempt after the other, as the
// ladder says, and continues from its position whenever a connection ends.
type follower struct {
	o        Options
	requests *requests
	handlers *handlers
	ladder   *ladder
	inbox    inbox
	acks     *acker
	queue    chan item
	watch    *time.Timer // ends the attempt at the ladder's deadline

	up        bool // as reported to OnConnect and OnLost
	transport Transport

	mu    sync.Mutex
	cut   context.CancelCauseFunc // ends the attempt; nil between two attempts
	wake  bool                    // the next attempt must begin at once
	moved bool                    // the machine is on another network
	woken chan struct{}           // ends the wait between attempts
}

// run receives until ctx ends or the server refuses.
func (f *follower) run(ctx context.Context) error {
	for {
		f.rest(ctx)
		if ctx.Err() != nil {
			return nil
		}
		e, err := f.attempt(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if e.kind == endRefused || err != nil && f.o.GiveUp(err) {
			return err
		}
		// Other endings are expected, or may be chance, while events can still come.
		news := f.ladder.state != stateTrying && !f.ladder.spent() && f.ladder.plan.transport == Stream
		f.ladder.end(e)
		if err != nil && e.kind != endWoken && (news || !f.ladder.up) {
			f.up = false
			f.o.OnLost(err)
		}
	}
}

// rest waits until the next attempt is due, or until it is woken.
func (f *follower) rest(ctx context.Context) {
	timer := time.NewTimer(f.ladder.delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-f.woken:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wake {
		f.ladder.wake(f.moved)
		f.wake, f.moved = false, false
	}
}

// wakeUp ends the present attempt, or the wait between two attempts.
func (f *follower) wakeUp(moved bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake, f.moved = true, f.moved || moved
	if f.cut != nil {
		f.cut(errWoken)
	}
	select {
	case f.woken <- struct{}{}:
	default:
	}
}
