package stream

import (
	"context"
	"time"

	"github.com/culvertmq/culvert/api/wire"
)

// Writer is the Outlet of a stream that has a goroutine: it waits for the client. Frames are sent in chunks, so that
// many small ones cost one write, and the deadline of a slow client is for a piece of bounded size.
type Writer struct {
	out   wire.Writer
	chunk wire.Chunk
	open  bool // there is a chunk
}

// NewWriter makes an Outlet of a writer whose headers have been sent.
func NewWriter(out wire.Writer) *Writer { return &Writer{out: out} }

// Add implements Outlet.
func (w *Writer) Add(frame []byte) (taken bool, err error) {
	if !w.open {
		w.chunk, w.open = wire.NewChunk(&w.out), true
	}
	return true, w.chunk.Add(frame)
}

// Flush implements Outlet.
func (w *Writer) Flush() (done bool, err error) {
	if w.open {
		err = w.chunk.End()
		w.chunk.Free()
		w.open = false
	}
	if err != nil {
		return false, err
	}
	return true, w.out.Flush()
}

// End implements Outlet: the server ends the answer itself.
func (w *Writer) End() {}

// Send sends one frame.
func (w *Writer) Send(frame []byte) error {
	if _, err := w.Add(frame); err != nil {
		return err
	}
	_, err := w.Flush()
	return err
}

// Serve serves the stream until it ends. The subscription must have a channel.
//
// It waits for one channel only, Wake. Whatever else may happen calls Rouse. A select of several channels would take
// as long as all the other work of a delivery except its write.
func (s *Stream) Serve() {
	sub := s.o.Sub
	armed := s.Next()
	timer := time.AfterFunc(time.Until(armed), sub.Rouse)
	defer timer.Stop()
	defer context.AfterFunc(s.o.Session, sub.Rouse)()
	for s.Step(true) != Over {
		// Writes do not reset the timer: if it fires too early, it is set again.
		if next := s.Next(); next.Before(armed) || !armed.After(time.Now()) {
			armed = next
			timer.Reset(time.Until(next))
		}
		<-sub.Wake()
	}
}
