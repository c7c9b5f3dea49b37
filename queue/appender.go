package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// appender stores what waits, one append at a time: emits that arrive while a
// commit is under way wait together and share the next one (group commit).
//
// A place is kept here for combining: an instance that finds the append lock
// taken could stage its batch durably and let the holder carry it.
type appender struct {
	q    *Queue
	wake chan struct{}           // something waits, or staged events may
	seen atomic.Pointer[horizon] // see culvert.append; only run sets it
	pid  atomic.Uint32           // of the server process the last append ran in

	// Only run uses these.
	away  outage
	carry carryBounds
	held  []*unit // in order; see hold.go
	now   horizon // of the last append; see culvert.append

	mu     sync.Mutex
	units  []*unit
	events int
	bytes  int
	staged bool // somebody announced staged events
	closed bool
}

// One append takes at most this much, so that no emit waits long behind others
// and a batch stays small beside Postgres' memory.
const (
	maxBatchEvents = 2_000
	maxBatchBytes  = 8 << 20
)

func newAppender(q *Queue) *appender {
	return &appender{q: q, wake: make(chan struct{}, 1), away: outage{log: q.o.Logger, what: "emits"}, carry: mostCarried}
}

// submit queues all units or none.
func (a *appender) submit(units ...*unit) error {
	events, bytes := 0, 0
	for _, u := range units {
		events += len(u.emits)
		bytes += u.bytes
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	if a.events+events > a.q.o.QueueEvents || a.bytes+bytes > a.q.o.QueueBytes {
		return ErrOverloaded
	}
	a.units = append(a.units, units...)
	a.events += events
	a.bytes += bytes
	notify(a.wake)
	return nil
}

// announce tells that staged events have been committed somewhere.
func (a *appender) announce() {
	a.mu.Lock()
	a.staged = true
	a.mu.Unlock()
	notify(a.wake)
}

// close refuses new emits and waits until the waiting ones are answered.
func (a *appender) close(ctx context.Context) error {
	last := newUnit(nil)
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.closed = true
	a.units = append(a.units, last)
	a.mu.Unlock()
	notify(a.wake)
	select {
	case <-last.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("appends under way: %w", ctx.Err())
	}
}

// take removes the next batch from the queue.
func (a *appender) take() (batch []*unit, staged bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, events, bytes := 0, 0, 0
	for _, u := range a.units {
		if n > 0 && (events+len(u.emits) > maxBatchEvents || bytes+u.bytes > maxBatchBytes) {
			break
		}
		n++
		events += len(u.emits)
		bytes += u.bytes
	}
	batch = a.units[:n:n]
	if a.units = a.units[n:]; len(a.units) == 0 {
		a.units = nil
	}
	a.events -= events
	a.bytes -= bytes
	staged, a.staged = a.staged, false
	return batch, staged
}

// waiting is the number of emits in the queue.
func (a *appender) waiting() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.events
}

// Staged events are looked for every Poll; after some were found, much sooner
// for a while: where one transaction commits, others do.
const soonest = 10 * time.Millisecond

// run is the appender's goroutine.
func (a *appender) run(ctx context.Context) {
	pause := a.q.o.Poll
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		look := false
		select {
		case <-ctx.Done():
			a.refuse()
			return
		case <-a.wake:
		case <-timer.C:
			look = true
		}
		found := a.drain(ctx, look)
		if found {
			pause = soonest
		} else if look {
			pause = min(2*pause, a.q.o.Poll)
		}
		if found || look {
			timer.Reset(pause)
		}
	}
}

// refuse answers what waits when Close does not.
func (a *appender) refuse() {
	a.mu.Lock()
	a.closed = true
	units := slices.Concat(a.held, a.units)
	a.held, a.units, a.events, a.bytes = nil, nil, 0, 0
	a.mu.Unlock()
	for _, u := range units {
		u.refuse(ErrClosed)
	}
}

// drain appends until nothing waits. It reports whether staged events were found.
func (a *appender) drain(ctx context.Context, look bool) (found bool) {
	for {
		batch, staged := a.take()
		if len(batch) == 0 && len(a.held) == 0 && !staged && (!look || !a.probe(ctx)) {
			return found
		}
		t := &turn{}
		a.store(ctx, append(a.releaseHeld(ctx, t), a.holdBehind(batch)...), t)
		found = found || t.moved > 0
		look = t.more
	}
}

// horizon is a transaction id of one server. To another one it says nothing: on one that
// was behind, all that is staged may have lower ids.
type horizon struct {
	of  *lineage
	xid uint64
}

// on is the id as culvert.append takes it; 0 on another server than its own.
func (h *horizon) on(l *lineage) int64 {
	if h == nil || h.of == nil || !h.of.sameHistory(l) {
		return 0
	}
	return int64(h.xid) //nolint:gosec // a transaction id counts up from 0
}

// notify wakes whoever receives from a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
