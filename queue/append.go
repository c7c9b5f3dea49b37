package queue

import (
	"context"

	"github.com/culvertmq/culvert/event"
)

// Append stores all emits in one transaction, or none of them. It returns when they are committed, with one
// Result each. They may be addressed to at most 2,000 rooms in all. Errors: an *InvalidError, ErrKeyReused,
// ErrRoomQuota, ErrOverloaded, ErrUnavailable, ErrClosed, or ctx's own; then the emits may be stored
// nevertheless.
func (q *Queue) Append(ctx context.Context, emits []event.Emit) ([]event.Result, error) {
	return q.log.Append(ctx, emits)
}

// AppendEach stores each emit by itself, in order, and returns one Result each, with Err where one failed. Up
// to 8 MiB of them cost no more round trips than Append. An emit that is refused for what it is (ErrKeyReused,
// ErrRoomQuota, an *InvalidError, ErrDeleted) does not affect the others. After an emit that fails for another
// reason no later one is stored, so that a caller that sends again from there on keeps the order and stores
// nothing twice.
func (q *Queue) AppendEach(ctx context.Context, emits []event.Emit) []event.Result {
	return q.log.AppendEach(ctx, emits)
}
