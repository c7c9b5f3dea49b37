package log

import (
	"context"
	"errors"

	"github.com/culvertmq/culvert/event"
)

// maxBatchRooms is the most rooms to which the emits of one Append may be addressed in all: they are stored in
// one transaction, and all other emits wait for it.
const maxBatchRooms = 2_000

// Append stores all emits in one transaction, or none of them. It returns when they are committed, with one
// Result each. Errors: an *InvalidError, ErrKeyReused, ErrRoomQuota, ErrOverloaded, ErrUnavailable, ErrClosed,
// or ctx's own; then the emits may be stored nevertheless.
func (lg *Log) Append(ctx context.Context, emits []event.Emit) ([]event.Result, error) {
	if len(emits) == 0 {
		return nil, nil
	}
	for i := range emits {
		if err := emits[i].Check(); err != nil {
			return nil, err
		}
	}
	emits = event.CloneEmits(emits)
	u := newUnit(emits)
	if u.Load.Rooms > maxBatchRooms {
		return nil, event.Invalidf("events", "address %d rooms in all, the limit is %d: send several batches", u.Load.Rooms, maxBatchRooms)
	}
	if u.contradicts() {
		return nil, event.ErrKeyReused
	}
	for i := range emits {
		if err := lg.claimFor(ctx, &emits[i]); err != nil {
			return nil, err
		}
	}
	if err := lg.expect(ctx, u); err != nil {
		return nil, err
	}
	if err := lg.appender.queue.Submit(u); err != nil {
		return nil, err
	}
	return u.wait(ctx)
}

// AppendEach stores each emit by itself, in order, and returns one Result each, with Err where one failed. Up
// to 8 MiB of them cost no more round trips than Append. An emit that is refused for what it is (ErrKeyReused,
// ErrRoomQuota, an *InvalidError, ErrDeleted) does not affect the others. After an emit that fails for another
// reason no later one is stored, so that a caller that sends again from there on keeps the order and stores
// nothing twice.
func (lg *Log) AppendEach(ctx context.Context, emits []event.Emit) []event.Result {
	emits = event.CloneEmits(emits)
	results := make([]event.Result, len(emits))
	units := make([]*unit, 0, len(emits))
	index := make([]int, 0, len(emits)) // of each unit's emit
	all := &series{}
	var stopped error // set when an emit failed before it was queued: why no later one is stored
	for i := range emits {
		err := emits[i].Check()
		if err == nil {
			err = stopped
		}
		if err == nil {
			if err = lg.claimFor(ctx, &emits[i]); err != nil && !isRefusal(err) {
				stopped = after(err)
			}
		}
		if err != nil {
			results[i].Err = err
			continue
		}
		u := newUnit(emits[i : i+1])
		u.series = all
		if len(units) > 0 {
			u.Caller = units[0].Caller // one lane, which keeps the order
		}
		units, index = append(units, u), append(index, i)
	}
	err := lg.expect(ctx, units...)
	for len(units) > 0 {
		n := atOnce(units)
		if err == nil {
			err = lg.appender.queue.Submit(units[:n]...)
		}
		if err != nil {
			break
		}
		for i, u := range units[:n] {
			r, err := u.wait(ctx)
			switch {
			case err == nil:
				results[index[i]] = r[0]
			case ctx.Err() != nil && errors.Is(err, ctx.Err()):
				for _, i := range index[i:] {
					results[i].Err = err // the caller does not wait for the rest
				}
				return results
			default:
				results[index[i]].Err = err
			}
		}
		units, index = units[n:], index[n:]
	}
	for _, i := range index {
		results[i].Err = err
	}
	return results
}

// claimFor makes the rooms of an emit, within its quota.
func (lg *Log) claimFor(ctx context.Context, e *event.Emit) error {
	return lg.rooms.claim(ctx, e.Namespace, e.From, e.Addressed(), e.Quota)
}

// eachBytes is how much AppendEach queues at once: far less than the queue gives to one caller.
const eachBytes = 8 << 20

// atOnce is how many of the units may wait together, at least one.
func atOnce(units []*unit) int {
	all := units[0].Load
	for n := 1; n < len(units); n++ {
		if all = all.Plus(units[n].Load); all.Bytes > eachBytes {
			return n
		}
	}
	return len(units)
}
