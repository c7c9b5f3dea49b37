package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
)

// Append stores all emits in one transaction, or none, and returns once they are
// committed, one Result each. They may be addressed to 2,000 rooms in all. Errors: an *InvalidError, ErrKeyReused, ErrRoomQuota, ErrOverloaded,
// ErrUnavailable, ErrClosed, ctx's own (the emits may then be stored all the same).
func (q *Queue) Append(ctx context.Context, emits []event.Emit) ([]event.Result, error) {
	return q.log.Append(ctx, emits)
}

// AppendEach stores each emit by itself, in order, and returns one Result each,
// with Err where one failed. Up to 8 MiB of them cost no more round trips than Append. An emit that
// is refused for what it is (ErrKeyReused, ErrRoomQuota, an *InvalidError, ErrDeleted) leaves the
// others alone; after one that fails otherwise, none that follows is stored, so that
// who sends again from there on keeps the order and stores nothing twice.
func (q *Queue) AppendEach(ctx context.Context, emits []event.Emit) []event.Result {
	return q.log.AppendEach(ctx, emits)
}
