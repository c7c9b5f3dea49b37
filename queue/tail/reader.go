package tail

import (
	"slices"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
)

// Reader is one subscription. Only one goroutine at a time may use it, except for Rouse.
type Reader struct {
	t    *Tail
	s    subscriber
	runs [][]*event.Event // the rooms' events while it reads; empty otherwise
}

// NewReader returns a reader without rooms: Attach gives it some. From now on it gets its client's membership
// changes, so the caller asks Postgres for the client's intervals after this call, not before. Close must be
// called.
func (t *Tail) NewReader(o ReaderOptions) *Reader {
	if o.Waker == nil {
		o.Waker = make(channel, 1)
	}
	rd := &Reader{t: t, s: subscriber{o: o, rooms: t.rooms, waker: o.Waker}}
	if o.Client == (event.Client{}) {
		return rd
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	ref := rd.s.ref()
	if t.clients[ref] == nil {
		t.clients[ref] = map[*subscriber]struct{}{}
	}
	t.clients[ref][&rd.s] = struct{}{}
	rd.s.known = unread
	return rd
}

// Wake returns a channel that receives when there may be something new to read; nil if the reader has a Waker of
// its own. Spurious wakes happen.
func (rd *Reader) Wake() <-chan struct{} {
	c, _ := rd.s.waker.(channel)
	return c
}

// Rouse wakes the reader. Any goroutine may call it, at any time.
func (rd *Reader) Rouse() { rd.s.waker.Wake(0) }

// Allow replaces ReaderOptions.May. The caller then has to ask for the intervals again.
func (rd *Reader) Allow(may func(event.Room) bool) {
	rd.t.mu.Lock()
	rd.s.o.May = may
	rd.s.known, rd.s.missed = unread, true
	rd.t.mu.Unlock()
	rd.s.waker.Wake(0)
}

// Asking must be called before Postgres is asked for the intervals again.
func (rd *Reader) Asking() {
	rd.t.mu.Lock()
	defer rd.t.mu.Unlock()
	rd.s.missed = false
}

// Attach replaces the reader's rooms. intervals are the client's as Postgres has them at the position known;
// changes that came after it are applied to them.
func (rd *Reader) Attach(intervals []Interval, known event.Offset) {
	t := rd.t
	t.mu.Lock()
	defer t.mu.Unlock()
	rd.s.detach()
	rd.s.attachments = rd.s.attachmentsOf(intervals)
	if rd.s.known = known; rd.s.missed {
		rd.s.known = unread
	}
	entries := rd.s.entries
	rd.s.entries = nil
	for _, e := range entries {
		rd.s.apply(e)
	}
}

// Intervals returns the intervals that the reader reads, and the head up to which they are known: the tail's,
// or cursor if that is beyond it. The intervals are nil when they must be asked for again. ok is false when the
// tail is of another history than l. Errors: event.ErrForgotten.
func (rd *Reader) Intervals(l *lineage.Lineage, cursor event.Offset) (head event.Cursor, intervals []Interval, ok bool, err error) {
	t := rd.t
	t.mu.RLock()
	defer t.mu.RUnlock()
	head = event.Cursor{Log: t.log, Offset: max(t.head, cursor)}
	if rd.s.ended != nil || rd.s.known == unread {
		return head, nil, t.isOf(l), rd.s.ended
	}
	intervals = make([]Interval, 0, len(rd.s.attachments))
	for _, a := range rd.s.attachments {
		if a.read {
			intervals = append(intervals, a.Interval)
		}
	}
	return head, intervals, t.isOf(l), nil
}

// NotExcepted removes the events that except the reader's client.
func (rd *Reader) NotExcepted(events []*event.Event) []*event.Event {
	if !slices.ContainsFunc(events, Excepting) {
		return events
	}
	rd.t.mu.RLock()
	now := rd.s.attachments.intervals()
	rd.t.mu.RUnlock()
	return NotExcepted(events, now)
}

// Trim drops the attachments that are over at a position.
func (rd *Reader) Trim(at event.Offset) {
	rd.t.mu.Lock()
	defer rd.t.mu.Unlock()
	rd.s.trim(at)
}

// Volatile returns the volatile events that wait, and removes them.
func (rd *Reader) Volatile() []*event.Event { return rd.s.pending.take() }

// Rest says that nobody reads until Resume. The reader goes on learning of changes of its client's memberships. It
// is not woken, and gets no volatile events. Events are not lost, because a Read begins at a position.
func (rd *Reader) Rest() {
	rd.t.mu.Lock()
	defer rd.t.mu.Unlock()
	rd.s.rest()
	rd.s.pending.take()
}

// Resume ends Rest. It returns false if no more events come, because the client was forgotten. The next Read has what
// came meanwhile, and Wake receives for what comes later.
func (rd *Reader) Resume() bool {
	rd.t.mu.Lock()
	defer rd.t.mu.Unlock()
	rd.s.resume()
	return rd.s.ended == nil
}

// Size returns about how many bytes the reader's attachments take.
func (rd *Reader) Size() int {
	rd.t.mu.RLock()
	defer rd.t.mu.RUnlock()
	return len(rd.s.attachments) * attachmentBytes
}

// attachmentBytes is about what one attachment takes, with the entry in its room.
const attachmentBytes = 200

// Close removes the reader from the tail. It never blocks for long and may be called twice.
func (rd *Reader) Close() {
	t := rd.t
	t.mu.Lock()
	defer t.mu.Unlock()
	rd.s.detach()
	rd.s.pending.take()
	ref := rd.s.ref()
	if delete(t.clients[ref], &rd.s); len(t.clients[ref]) == 0 {
		delete(t.clients, ref)
	}
}
