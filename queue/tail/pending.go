package tail

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/culvertmq/culvert/event"
)

// maxPending and maxPendingBytes bound the volatile events that wait for a slow reader, but one event always
// fits. The oldest ones are dropped first. Durable events are not affected.
const (
	maxPending      = 64
	maxPendingBytes = 1 << 20
)

// pending are volatile events that wait until a reader takes them.
type pending struct {
	mu     sync.Mutex
	events []pendingEvent
	bytes  int
}

// pendingEvent is a volatile event that waits for a reader. All readers of the event share held.
type pendingEvent struct {
	event *event.Event
	held  *held
}

// held counts the memory of one volatile event once, for all readers it waits for.
type held struct {
	readers atomic.Int32
	bytes   int
	all     *atomic.Int64
}

func (h *held) hold() {
	if h.readers.Add(1) == 1 {
		h.all.Add(int64(h.bytes))
	}
}

func (h *held) release() {
	if h.readers.Add(-1) == 0 {
		h.all.Add(-int64(h.bytes))
	}
}

// add adds an event, and returns how many events were dropped for it. While all readers together hold more than
// most bytes, each holds only its newest event. While they hold more than twice as much, nothing is added.
func (p *pending) add(e pendingEvent, most int64) (dropped int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := e.held.all.Load()
	for len(p.events) > 0 && (len(p.events) == maxPending || p.bytes+e.held.bytes > maxPendingBytes || all > most) {
		p.drop()
		dropped++
	}
	if all > 2*most {
		return dropped + 1
	}
	e.held.hold()
	p.events, p.bytes = append(p.events, e), p.bytes+e.held.bytes
	return dropped
}

// drop removes the oldest event.
func (p *pending) drop() {
	p.bytes -= p.events[0].held.bytes
	p.events[0].held.release()
	p.events = slices.Delete(p.events, 0, 1)
}

func (p *pending) take() []*event.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.events) == 0 {
		return nil
	}
	events := make([]*event.Event, len(p.events))
	for i, e := range p.events {
		events[i] = e.event
		e.held.release()
	}
	p.events, p.bytes = nil, 0
	return events
}
