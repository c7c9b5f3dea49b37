package stream

import (
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// writing is what a stream still has to write: one frame, or a batch of events. While a client does not read, it is
// all that the stream keeps: the next poll comes after it.
type writing struct {
	frame    []byte // first
	events   []*event.Event
	volatile []*event.Event
	taken    int  // memory of the batch, to be given back when it is written
	flush    bool // something was added since the last Flush
	last     bool // it ends the stream
	ended    bool // it has

	more    bool // the last poll left something
	yielded bool // others had their turn since
}

// one is a single frame.
func (w *writing) one(frame []byte) { w.frame = frame }

// final is the last frame.
func (w *writing) final(frame []byte) { w.frame, w.last = frame, true }

// batch is valid until the next poll.
func (w *writing) batch(b event.Batch) {
	if b.Gap != nil {
		w.frame = wire.GapFrame(b.Gap)
	}
	w.events, w.volatile, w.taken = b.Events, b.Volatile, b.Taken
}

// goOn adds frames and sends them. done is false if the client has to read first.
func (w *writing) goOn(out Outlet) (done bool, err error) {
	for {
		frame := w.first()
		if frame == nil {
			break
		}
		taken, err := out.Add(frame)
		if err != nil {
			return false, err
		}
		if taken {
			w.drop()
			continue
		}
		if done, err := out.Flush(); !done || err != nil {
			return done, err
		}
	}
	if !w.flush {
		return true, nil
	}
	if w.last {
		out.End()
	}
	if done, err = out.Flush(); done {
		w.flush, w.ended = false, w.last
	}
	return done, err
}

// first returns the next frame; nil: there is none.
func (w *writing) first() []byte {
	switch {
	case w.frame != nil:
		return w.frame
	case len(w.events) > 0:
		return wire.EventFrame(w.events[0])
	case len(w.volatile) > 0:
		return wire.EventFrame(w.volatile[0])
	}
	return nil
}

// drop removes the first frame, which was taken.
func (w *writing) drop() {
	w.flush = true
	switch {
	case w.frame != nil:
		w.frame = nil
	case len(w.events) > 0:
		if w.events = w.events[1:]; len(w.events) == 0 {
			w.events = nil // not a reference to the list that was read
		}
	default:
		if w.volatile = w.volatile[1:]; len(w.volatile) == 0 {
			w.volatile = nil
		}
	}
}
