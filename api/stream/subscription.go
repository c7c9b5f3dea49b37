package stream

import (
	"context"
	"encoding/json"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/trusted"
)

// Subscription has the methods of *queue.Subscription that are used here.
type Subscription interface {
	PollShared(ctx context.Context, limit int, unchanged trusted.Shared) (event.Batch, error)
	PollRecent(limit int, unchanged trusted.Shared) (b event.Batch, ok bool)
	Wake() <-chan struct{}
	Rouse()
	Allow(may func(event.Room) bool)
	Cursor() event.Cursor
	Close()
}

// Poll returns the next events. They are those of all subscriptions: nothing here changes them, and their encoding
// is kept with them.
func Poll(ctx context.Context, s Subscription, limit int) (event.Batch, error) {
	return s.PollShared(ctx, limit, trusted.Unchanged())
}

// pollRecent is Poll without Postgres; ok is false if Postgres has to be asked.
func pollRecent(s Subscription, limit int) (b event.Batch, ok bool) {
	return s.PollRecent(limit, trusted.Unchanged())
}

// Outlet takes frames.
type Outlet interface {
	// Add adds a frame, which must not change until it is written. taken is false if Flush must be called first.
	Add(frame []byte) (taken bool, err error)
	// Flush sends what was added. done is false if the rest can only be sent later: Flush must be called again then.
	Flush() (done bool, err error)
	// End says, before Flush, that what was added last is the end of the answer.
	End()
}

// SignalToken is the name of the signal that carries a renewed token; SignalPrefix comes before it in an event.
const (
	SignalToken  = "token"
	SignalPrefix = "culvert:"
)

// WithoutSignals removes signals from volatile events, and calls follow with each renewal among them. follow
// may be nil: a long poll ignores renewals, since the next poll has the newer token anyway.
func WithoutSignals(events []*event.Event, follow func(*auth.Renewal)) []*event.Event {
	kept := events[:0]
	for _, e := range events {
		if e.Name != SignalPrefix+SignalToken {
			kept = append(kept, e)
			continue
		}
		var r auth.Renewal
		if follow != nil && json.Unmarshal([]byte(e.Data), &r) == nil {
			follow(&r)
		}
	}
	return kept
}
