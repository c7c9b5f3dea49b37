package api

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

const (
	streamLimit = 2000 // events of one Poll

	// Something on the way may hold back the last of what was written until more comes.
	// So the first pauses of a stream are ended soon, which frees what it holds, and by a
	// frame the client knows to expect: when it stays away, the client does, too.
	settleTime  = time.Second
	settleTimes = 3

	retryLeast, retryMost = 250 * time.Millisecond, 2 * time.Second
)

// Reasons of culvert:reconnect.
const (
	reasonMaxAge  = "max_age"
	reasonDrain   = "drain"
	reasonExpired = "expired"
)

// stream is one open SSE connection. Only its own goroutine touches it.
type stream struct {
	h    *Handler
	sub  subscription
	out  wire.Writer
	last time.Time // of the last write

	settling int  // so many pauses are still to be ended soon
	pausing  bool // something other than a heartbeat was written last

	memory *limits.Account // what batches are charged to
	ns     event.Namespace
	who    auth.Identity
	reads  []event.Room // of an ad hoc subscription
	oldest time.Time    // when its age ends it
	ends   time.Time    // when it ends by itself
	reason string       // and why
	timer  *time.Timer  // for that, or for a heartbeat
	rung   atomic.Bool  // it has fired

	retry  time.Duration // 0: Postgres answered last time
	paused *time.Timer   // until it fires; nil: not
	resume time.Time     // when it does
	again  atomic.Bool   // it has fired
}

// stream serves SSE until one of its ends, each of which the loop names.
//
// It waits for one channel alone: whatever else may happen is noted and rouses the
// subscription. A select of several takes as long as all the rest that a delivery
// takes beside its write.
func (h *Handler) stream(c *call, n *session, sub subscription, q receipt) error {
	h.metrics.streams.Inc()
	defer h.metrics.streams.Dec()
	header := c.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "private, no-cache, no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	c.w.WriteHeader(http.StatusOK)

	s := &stream{h: h, sub: sub, out: c.visit.Writer(), memory: &c.visit.Account, ns: c.ns, who: c.who, reads: q.interest.Rooms, last: time.Now(), settling: settleTimes, pausing: true}
	s.oldest = s.last.Add(h.age())
	s.timer = time.AfterFunc(h.o.Heartbeat, func() {
		s.rung.Store(true)
		sub.Rouse()
	})
	defer s.timer.Stop()
	defer func() {
		if s.paused != nil {
			s.paused.Stop()
		}
	}()
	s.plan()
	defer context.AfterFunc(n, sub.Rouse)()
	if s.send(h.greeting(c, sub, q).Frame()) != nil {
		return nil
	}
	more, due := n.reason() == "", false
	for {
		if more {
			var err error
			more, err = s.deliver(n, due)
			switch {
			case errors.Is(err, event.ErrClosed):
				s.part(reasonDrain)
				return nil
			case errors.Is(err, event.ErrForgotten), errors.Is(err, event.ErrDeleted):
				s.part(reasonExpired)
				return nil
			case err != nil:
				return nil // the client is gone, or reads too slowly
			}
			due = false
		}
		if !more {
			<-sub.Wake()
		}
		if n.Err() != nil {
			if reason := n.reason(); reason != "" {
				s.part(reason)
			}
			return nil // otherwise the client is gone
		}
		if s.again.Swap(false) && !time.Now().Before(s.resume) { // not that of a timer stopped too late
			s.paused = nil
		}
		more = s.paused == nil
		if !s.rung.Swap(false) {
			continue
		}
		if !time.Now().Before(s.ends) {
			s.part(s.reason)
			return nil
		}
		// Writes do not touch the timer: it finds out here whether there was silence.
		quiet := time.Since(s.last)
		if due = quiet >= s.patience(); due {
			more, quiet = true, 0
		}
		s.arm(quiet)
	}
}

func (h *Handler) greeting(c *call, sub subscription, q receipt) wire.Hello {
	return wire.Hello{
		Client: c.who.Client, Cursor: sub.Cursor(), Log: h.queue.Head().Log,
		Heartbeat: h.o.Heartbeat, MaxAge: h.o.MaxAge, Settle: min(settleTime, h.o.Heartbeat), At: time.Now(),
		Retry: h.jitter(time.Second, 3*time.Second), ID: q.interest.After.IsZero(),
	}
}

// age is how long a stream may last: less for some, so that those opened together
// do not return together.
func (h *Handler) age() time.Duration { return h.o.MaxAge - h.jitter(0, h.o.MaxAge/10) }

// plan sets when the stream ends by itself, and why.
func (s *stream) plan() {
	end := s.oldest
	s.reason = reasonMaxAge
	if expires := s.who.Expires; !expires.IsZero() && expires.Before(end) {
		end, s.reason = expires, reasonExpired
	}
	s.ends = time.Now().Add(time.Until(end)) // what the clock does from now on is no matter
	s.arm(time.Since(s.last))
}

// arm sets the timer for what comes first: the end, or a heartbeat after so much silence.
func (s *stream) arm(quiet time.Duration) {
	s.timer.Reset(min(time.Until(s.ends), s.patience()-quiet))
}

// patience is how long the stream may be silent now.
func (s *stream) patience() time.Duration {
	if s.settling > 0 && s.pausing {
		return min(settleTime, s.h.o.Heartbeat)
	}
	return s.h.o.Heartbeat
}

// beat writes a heartbeat.
func (s *stream) beat() error {
	if s.pausing && s.settling > 0 {
		s.settling--
	}
	s.pausing = false
	return s.send(wire.HeartbeatFrame(s.sub.Cursor(), time.Now()))
}

// deliver writes what Poll has now and reports whether there is more. With due,
// a heartbeat is written when there was nothing else; it comes after Poll so
// that its position moves with the head. An error is ErrClosed, ErrForgotten or
// ErrDeleted, or means that nothing more can be written.
func (s *stream) deliver(ctx context.Context, due bool) (more bool, err error) {
	b, err := s.sub.Poll(ctx, streamLimit)
	switch {
	case errors.Is(err, event.ErrClosed), errors.Is(err, event.ErrForgotten), errors.Is(err, event.ErrDeleted):
		return false, err
	case err == nil:
		s.retry = 0
		defer s.memory.Give(b.Taken)
		b.Volatile = withoutSignals(b.Volatile, s.renew)
		if b.Gap != nil || len(b.Events) > 0 || len(b.Volatile) > 0 {
			return b.More, s.write(b)
		}
	case ctx.Err() == nil:
		s.pause(err)
	}
	if due {
		return b.More, s.beat()
	}
	return b.More, nil
}

// pause plans the next Poll after a failed one: the stream stays open while
// Postgres is away, and what is at fault is logged once.
func (s *stream) pause(err error) {
	if s.retry == 0 && wire.FaultOf(err).Kind == wire.Internal {
		s.h.log.Error("stream cannot read", "error", err)
	}
	s.retry = min(max(retryLeast, 2*s.retry), retryMost)
	if s.paused != nil {
		s.paused.Stop() // a heartbeat was due meanwhile
	}
	wait := s.h.jitter(s.retry/2, s.retry)
	s.resume = time.Now().Add(wait)
	s.paused = time.AfterFunc(wait, func() {
		s.again.Store(true)
		s.sub.Rouse()
	})
}

// Add sends a batch in chunks, so that many small frames cost one write and a
// slow client's deadline counts for a bounded piece.
func (s *stream) write(b event.Batch) error {
	defer s.interrupt()
	if b.Gap != nil {
		if err := s.out.Add(wire.GapFrame(b.Gap)); err != nil {
			return err
		}
	}
	s.h.metrics.streamed.Add(float64(len(b.Events) + len(b.Volatile)))
	if len(b.Events) == 1 && len(b.Volatile) == 0 {
		return s.send(wire.EventFrame(b.Events[0]))
	}
	chunk := wire.NewChunk(&s.out)
	defer chunk.Free()
	for e := range b.All() {
		if err := chunk.Add(wire.EventFrame(e)); err != nil {
			return err
		}
	}
	s.last = time.Now()
	if err := chunk.End(); err != nil {
		return err
	}
	return s.out.Flush()
}

// interrupt notes that something was written: the pause to come may have to end soon.
func (s *stream) interrupt() {
	if s.pausing {
		return
	}
	if s.pausing = true; s.settling > 0 {
		s.arm(0)
	}
}

func (s *stream) send(b []byte) error {
	s.last = time.Now()
	return s.out.Send(b)
}

// part is the last word of a stream.
func (s *stream) part(reason string) {
	_ = s.send(wire.ReconnectFrame(reason, s.h.jitter(500*time.Millisecond, 3*time.Second)))
}
