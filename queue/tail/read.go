package tail

import (
	"slices"

	"github.com/culvertmq/culvert/event"
)

// Reading is what the tail has for a reader.
type Reading struct {
	Events []*event.Event
	UpTo   event.Offset // Events has all up to here
	More   bool
	Over   bool // some intervals are over: see Trim

	intervals []Interval // the reader's, if some of the events except rooms
}

// Read appends the events of the reader's rooms after a cursor to dst, which is empty: at most limit events,
// and about MaxBatch bytes of them. run is the history that the cursor is known to be of. ok is false when the
// tail cannot tell: the cursor is older than the tail or not of its history, or the reader's intervals are not
// known.
func (rd *Reader) Read(after event.Cursor, run event.Offset, limit int, dst []*event.Event) (r Reading, ok bool) {
	r, ok = rd.readAll(after, run, limit, dst)
	r.Events = NotExcepted(r.Events, r.intervals)
	return r, ok
}

// readAll is Read, but leaves the events in that except the reader's client.
func (rd *Reader) readAll(after event.Cursor, run event.Offset, limit int, dst []*event.Event) (r Reading, ok bool) {
	t := rd.t
	t.mu.RLock()
	defer t.mu.RUnlock()
	if after.Log != t.log || run != t.run || after.Offset < t.floor || rd.s.known == unread || rd.s.ended != nil {
		return r, false
	}
	runs := rd.runs[:0]
	for i := range rd.s.attachments {
		a := &rd.s.attachments[i]
		r.Over = r.Over || a.over(after.Offset)
		if a.tail == nil {
			continue
		}
		if run := a.tail.between(max(after.Offset, a.Since), a.Until); len(run) > 0 {
			runs = append(runs, run)
		}
	}
	dst = mergeRooms(dst, runs, limit+1) // one more than asked for, to see whether there are more
	clear(runs)
	rd.runs = runs[:0]
	r.Events, r.More = cut(dst, limit)
	if r.UpTo = max(t.head, after.Offset); r.More {
		r.UpTo = r.Events[len(r.Events)-1].Offset
	}
	if slices.ContainsFunc(r.Events, Excepting) {
		r.intervals = rd.s.attachments.intervals() // compared without the lock, since it may take a while
	}
	return r, true
}

// between returns the events after one offset up to another. The slice is the tail's own and valid only under
// its lock.
func (r *roomTail) between(after, upTo event.Offset) []*event.Event {
	all := r.events.all()
	if n := len(all); n == 0 || all[n-1].Offset <= after {
		return nil // so it is for most rooms of a client, most of the time
	}
	all = all[firstAfter(all, after):]
	if upTo != event.MaxOffset {
		all = all[:firstAfter(all, upTo)]
	}
	return all
}

// firstAfter returns the index of the first event after an offset.
func firstAfter(events []*event.Event, o event.Offset) int {
	i, _ := slices.BinarySearchFunc(events, o+1, func(e *event.Event, o event.Offset) int { return int(e.Offset - o) })
	return i
}

// mergeRooms appends the events of several rooms, each of which is in order, to dst, which is empty: at most
// limit, and none after MaxBatch is exceeded. Its cost grows with the events it takes, not with those the rooms
// have: the tail is locked meanwhile, and a reader of many rooms must not hold up all the others. If an event
// is in several rooms, it takes the one of the room whose name comes first, so that every transport shows the
// same room.
func mergeRooms(dst []*event.Event, runs [][]*event.Event, limit int) []*event.Event {
	if len(runs) == 1 {
		return append(dst, runs[0][:min(len(runs[0]), limit)]...)
	}
	for i := len(runs)/2 - 1; i >= 0; i-- {
		siftDown(runs, i)
	}
	for bytes := 0; len(runs) > 0 && len(dst) < limit && bytes <= MaxBatch; siftDown(runs, 0) {
		next := runs[0][0]
		if n := len(dst); n == 0 || dst[n-1].Offset != next.Offset {
			dst = append(dst, next)
			bytes += len(next.Data)
		}
		if runs[0] = runs[0][1:]; len(runs[0]) == 0 {
			last := len(runs) - 1
			runs[0], runs = runs[last], runs[:last]
		}
	}
	return dst
}

// siftDown restores the heap below index i. The heap is ordered by the first event of each run.
func siftDown(runs [][]*event.Event, i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(runs); child++ {
			if comesBefore(runs[child][0], runs[first][0]) {
				first = child
			}
		}
		if first == i {
			return
		}
		runs[i], runs[first] = runs[first], runs[i]
		i = first
	}
}

func comesBefore(a, b *event.Event) bool {
	return a.Offset < b.Offset || a.Offset == b.Offset && a.Room.String() < b.Room.String()
}

// MaxBatch bounds the data of one event.Batch, in bytes; one event always fits.
const MaxBatch = 4 << 20

// cut shortens events to limit and to MaxBatch bytes.
func cut(events []*event.Event, limit int) (kept []*event.Event, more bool) {
	bytes := 0
	for i, e := range events {
		bytes += len(e.Data)
		if i == limit || i > 0 && bytes > MaxBatch {
			return events[:i], true
		}
	}
	return events, false
}
