package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

const (
	streamLimit = 2000 // events of one Poll

	// A proxy may hold back the last bytes that were written until more are written. So the first pauses of a
	// stream are ended soon, by a heartbeat, which releases those bytes. The client expects this heartbeat: if
	// it does not come, the client leaves the stream and tries another way.
	settleTime  = time.Second
	settleTimes = 3

	retryLeast, retryMost = 250 * time.Millisecond, 2 * time.Second
)

// stream is one open SSE connection. Only its own goroutine touches it, except for the two flags that timers
// set.
type stream struct {
	sub       subscription
	keys      *auth.Authority
	metrics   *metrics
	log       *slog.Logger
	heartbeat time.Duration
	jitter    func(least, most time.Duration) time.Duration

	out  wire.Writer
	last time.Time // of the last write

	settling int  // how many of the first pauses are left to end soon
	pausing  bool // the last frame was not a heartbeat

	memory     *limits.Account // what batches are charged to
	ns         event.Namespace
	who        auth.Identity
	reads      []event.Room // the rooms of an ad hoc subscription; nil: it is the client's own
	oldest     time.Time    // when the stream reaches its maximum age
	ends       time.Time    // when it ends by itself
	reason     string       // the reason for ends
	timer      *time.Timer  // fires at ends, or when a heartbeat may be due
	timerFired atomic.Bool  // timer has fired

	retry     time.Duration // the last pause after an error of Postgres; 0: Postgres answered
	paused    *time.Timer   // fires at resume; nil: polling is not paused
	resume    time.Time     // when to poll again
	pauseOver atomic.Bool   // paused has fired
}

// stream serves SSE until the stream ends; the loop names every way in which it may end.
//
// It waits for one channel only, sub.Wake(). Whatever else may happen sets a flag and calls sub.Rouse. A select
// of several channels would take as long as all the other work of a delivery except its write.
func (h *Handler) stream(c *call, n *session, sub subscription, q receipt) error {
	h.metrics.streams.Inc()
	defer h.metrics.streams.Dec()
	header := c.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "private, no-cache, no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	c.w.WriteHeader(http.StatusOK)

	s := &stream{
		sub: sub, keys: h.keys, metrics: h.metrics, log: h.log, heartbeat: h.o.Heartbeat, jitter: h.jitter,
		out: c.visit.Writer(), memory: &c.visit.Account, ns: c.ns, who: c.who, reads: q.interest.Rooms, last: time.Now(), settling: settleTimes, pausing: true,
	}
	s.oldest = s.last.Add(h.age())
	s.timer = time.AfterFunc(h.o.Heartbeat, func() {
		s.timerFired.Store(true)
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
				s.sendReconnect(reasonDrain)
				return nil
			case errors.Is(err, event.ErrForgotten), errors.Is(err, event.ErrDeleted):
				s.sendReconnect(reasonExpired)
				return nil
			case err != nil:
				return nil // the client has left, or reads too slowly
			}
			due = false
		}
		if !more {
			<-sub.Wake()
		}
		if n.Err() != nil {
			if reason := n.reason(); reason != "" {
				s.sendReconnect(reason)
			}
			return nil // without a reason: the client has left
		}
		if s.pauseOver.Swap(false) && !time.Now().Before(s.resume) { // else the flag is of an earlier timer, stopped too late
			s.paused = nil
		}
		more = s.paused == nil
		if !s.timerFired.Swap(false) {
			continue
		}
		if !time.Now().Before(s.ends) {
			s.sendReconnect(s.reason)
			return nil
		}
		// Writes do not reset the timer. So when it fires, check whether the stream was silent that long.
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

// age returns how long a stream may last. It varies, so that streams that began together do not end together.
func (h *Handler) age() time.Duration { return h.o.MaxAge - h.jitter(0, h.o.MaxAge/10) }

// plan sets when and for what reason the stream ends by itself.
func (s *stream) plan() {
	end := s.oldest
	s.reason = reasonMaxAge
	if expires := s.who.Expires; !expires.IsZero() && expires.Before(end) {
		end, s.reason = expires, reasonExpired
	}
	s.ends = time.Now().Add(time.Until(end)) // monotonic: later changes of the wall clock have no effect
	s.arm(time.Since(s.last))
}

// renew gives the stream the expiry and the rooms of the newer token, if that token allows what the stream
// reads.
func (s *stream) renew(r *auth.Renewal) {
	who, ok := s.keys.Renewed(s.ns, s.who, r)
	if !ok {
		return
	}
	for _, room := range s.reads {
		if !who.MayRead(room) {
			return
		}
	}
	if !slices.Equal(s.who.Rooms, who.Rooms) {
		s.sub.Allow(who.MayKeep())
	}
	s.who = who
	s.plan()
}

// arm sets the timer for what comes first: the stream's end or its next heartbeat. The stream has been silent
// for quiet.
func (s *stream) arm(quiet time.Duration) {
	s.timer.Reset(min(time.Until(s.ends), s.patience()-quiet))
}

// patience returns how long the stream may be silent before a heartbeat.
func (s *stream) patience() time.Duration {
	if s.settling > 0 && s.pausing {
		return min(settleTime, s.heartbeat)
	}
	return s.heartbeat
}

// beat writes a heartbeat.
func (s *stream) beat() error {
	if s.pausing && s.settling > 0 {
		s.settling--
	}
	s.pausing = false
	return s.send(wire.HeartbeatFrame(s.sub.Cursor(), time.Now()))
}

// deliver writes what Poll returns now and reports whether there is more. If due is set and there was nothing
// else, it writes a heartbeat. That comes after Poll, so that its position moves with the head. An error is
// ErrClosed, ErrForgotten or ErrDeleted, or means that nothing more can be written.
func (s *stream) deliver(ctx context.Context, due bool) (more bool, err error) {
	b, err := pollShared(ctx, s.sub, streamLimit)
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

// pause plans the next Poll after a failed one. The stream stays open while Postgres is unavailable. An
// internal error is logged once.
func (s *stream) pause(err error) {
	if s.retry == 0 && wire.FaultOf(err).Kind == wire.Internal {
		s.log.Error("stream cannot read", "error", err)
	}
	s.retry = min(max(retryLeast, 2*s.retry), retryMost)
	if s.paused != nil {
		s.paused.Stop() // a heartbeat called deliver before this timer fired
	}
	wait := s.jitter(s.retry/2, s.retry)
	s.resume = time.Now().Add(wait)
	s.paused = time.AfterFunc(wait, func() {
		s.pauseOver.Store(true)
		s.sub.Rouse()
	})
}

// write sends a batch in chunks, so that many small frames cost one write, and the deadline of a slow client is
// for a piece of bounded size.
func (s *stream) write(b event.Batch) error {
	defer s.interrupt()
	if b.Gap != nil {
		if err := s.out.Add(wire.GapFrame(b.Gap)); err != nil {
			return err
		}
	}
	s.metrics.streamed.Add(float64(len(b.Events) + len(b.Volatile)))
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

// interrupt notes that a frame was written: the pause after it may have to end soon.
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

// sendReconnect writes the last frame of a stream.
func (s *stream) sendReconnect(reason string) {
	_ = s.send(wire.ReconnectFrame(reason, s.jitter(500*time.Millisecond, 3*time.Second)))
}
