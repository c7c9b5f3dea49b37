package tail

import (
	"sync/atomic"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
)

// Reader is one subscription as the tail sees it: the rooms it reads, what is known of its client's
// memberships, and the volatile events that wait for it. Only one goroutine at a time may use it, except for
// Rouse.
type Reader struct {
	t       *Tail
	o       ReaderOptions
	wake    chan struct{}
	pending pending
	resting atomic.Bool      // nobody reads at the moment
	runs    [][]*event.Event // the rooms' events while it reads; empty otherwise

	// The tail's lock guards these, and o.May.
	attachments attachments
	known       event.Offset   // the attachments have all changes up to here
	missed      bool           // maybe there were events about the client since Postgres was asked for its intervals
	entries     []*event.Event // events about the client that came while known is unread
	ended       error          // why no more events come
}

// NewReader returns a reader without rooms: Attach gives it some. From now on it gets its client's membership
// changes, so the caller asks Postgres for the client's intervals after this call, not before. Close must be
// called.
func (t *Tail) NewReader(o ReaderOptions) *Reader {
	rd := &Reader{t: t, o: o, wake: make(chan struct{}, 1)}
	if o.Client == (event.Client{}) {
		return rd
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	ref := rd.ref()
	if t.clients[ref] == nil {
		t.clients[ref] = map[*Reader]struct{}{}
	}
	t.clients[ref][rd] = struct{}{}
	rd.known = unread
	return rd
}

// Wake returns a channel that receives when there may be something new to read. Spurious wakes happen.
func (rd *Reader) Wake() <-chan struct{} { return rd.wake }

// Rouse makes Wake receive. Any goroutine may call it, at any time.
func (rd *Reader) Rouse() { notify(rd.wake) }

// Allow replaces ReaderOptions.May. The caller then has to ask for the intervals again.
func (rd *Reader) Allow(may func(event.Room) bool) {
	rd.t.mu.Lock()
	rd.o.May = may
	rd.known, rd.missed = unread, true
	rd.t.mu.Unlock()
	notify(rd.wake)
}

// Asking must be called before Postgres is asked for the intervals again.
func (rd *Reader) Asking() {
	rd.t.mu.Lock()
	defer rd.t.mu.Unlock()
	rd.missed = false
}

// Attach replaces the reader's rooms. intervals are the client's as Postgres has them at the position known;
// changes that came after it are applied to them.
func (rd *Reader) Attach(intervals []Interval, known event.Offset) {
	t := rd.t
	t.mu.Lock()
	defer t.mu.Unlock()
	rd.detach()
	rd.attachments = rd.attachmentsOf(intervals)
	for _, a := range rd.attachments {
		a.tail.add(rd)
	}
	if rd.known = known; rd.missed {
		rd.known = unread
	}
	entries := rd.entries
	rd.entries = nil
	for _, e := range entries {
		rd.apply(e)
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
	if rd.ended != nil || rd.known == unread {
		return head, nil, t.isOf(l), rd.ended
	}
	intervals = make([]Interval, 0, len(rd.attachments))
	for _, a := range rd.attachments {
		if a.tail != nil {
			intervals = append(intervals, a.Interval)
		}
	}
	return head, intervals, t.isOf(l), nil
}

// Volatile returns the volatile events that wait, and removes them.
func (rd *Reader) Volatile() []*event.Event { return rd.pending.take() }

// Rest keeps the reader up to date while nobody reads. Volatile events are not kept for it meanwhile.
func (rd *Reader) Rest() {
	rd.resting.Store(true)
	rd.pending.take()
}

// Resume ends Rest. It returns false if no more events come, because the client was forgotten.
func (rd *Reader) Resume() bool {
	rd.resting.Store(false)
	rd.t.mu.RLock()
	defer rd.t.mu.RUnlock()
	return rd.ended == nil
}

// Size returns about how many bytes the reader's attachments take.
func (rd *Reader) Size() int {
	rd.t.mu.RLock()
	defer rd.t.mu.RUnlock()
	return len(rd.attachments) * attachmentBytes
}

// attachmentBytes is about what one attachment takes, with the entry in its room.
const attachmentBytes = 200

// Close removes the reader from the tail. It never blocks for long and may be called twice.
func (rd *Reader) Close() {
	t := rd.t
	t.mu.Lock()
	defer t.mu.Unlock()
	rd.detach()
	rd.pending.take()
	ref := rd.ref()
	if delete(t.clients[ref], rd); len(t.clients[ref]) == 0 {
		delete(t.clients, ref)
	}
}
