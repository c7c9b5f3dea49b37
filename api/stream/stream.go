package stream

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

const (
	pollLimit = 2000 // events of one poll

	// SettleTime is how long the first pauses of a stream are. A proxy may hold back the last bytes that were written
	// until more are written. So these pauses are ended soon, by a heartbeat, which releases those bytes. The client
	// expects this heartbeat: if it does not come, the client leaves the stream and tries another way.
	SettleTime  = time.Second
	settleTimes = 3

	retryLeast, retryMost = 250 * time.Millisecond, 2 * time.Second
)

// Reasons of culvert:reconnect.
const (
	MaxAge  = "max_age"
	Drain   = "drain"
	Expired = "expired"
)

// Session says whether a stream has been ended from outside. Its context is that of reads.
type Session interface {
	context.Context
	// Reason is why it was ended; "": it was not, or its client has left, which Err tells.
	Reason() string
}

// Shared is what the streams of one handler share.
type Shared struct {
	Keys      *auth.Authority
	Streamed  prometheus.Counter // events
	Log       *slog.Logger
	Heartbeat time.Duration
	Jitter    func(least, most time.Duration) time.Duration
}

// Options are what one stream is made of.
type Options struct {
	Shared    *Shared
	Session   Session
	Sub       Subscription
	Out       Outlet
	Memory    *limits.Account // what batches are charged to
	Namespace event.Namespace
	Who       auth.Identity
	Reads     []event.Room  // the rooms of an ad hoc subscription; nil: it is the client's own
	Age       time.Duration // how long it may last
}

// Stream is one open stream, whose hello frame has just been sent. One goroutine at a time may use it.
type Stream struct {
	o    Options
	last time.Time // of the last write

	settling int  // how many of the first pauses are left to end soon
	pausing  bool // the last frame was not a heartbeat

	oldest time.Time // when the stream reaches its maximum age
	ends   time.Time // when it ends by itself
	reason string    // the reason for ends

	retry  time.Duration // the last pause after an error of Postgres; 0: Postgres answered
	resume time.Time     // when to poll again; zero: polling is not paused

	writing writing
}

// New makes a stream.
func New(o Options) Stream {
	s := Stream{o: o, last: time.Now(), settling: settleTimes, pausing: true}
	s.oldest = s.last.Add(o.Age)
	s.plan()
	return s
}

// plan sets when and for what reason the stream ends by itself.
func (s *Stream) plan() {
	end := s.oldest
	s.reason = MaxAge
	if expires := s.o.Who.Expires; !expires.IsZero() && expires.Before(end) {
		end, s.reason = expires, Expired
	}
	s.ends = time.Now().Add(time.Until(end)) // monotonic: later changes of the wall clock have no effect
}

// Outcome is what Step returns.
type Outcome int

// Outcomes of Step.
const (
	Waits Outcome = iota // until the subscription wakes it, or Next
	More                 // nothing: it should be called again when others had their turn
	Full                 // until the client has read something
	Asks                 // until Step is called with block, since Postgres has to be asked
	Over                 // the stream has ended
)

// Next returns when Step has to be called although nothing has happened.
func (s *Stream) Next() time.Time {
	next := s.last.Add(s.patience())
	if s.ends.Before(next) {
		next = s.ends
	}
	if !s.resume.IsZero() && s.resume.Before(next) {
		next = s.resume
	}
	return next
}

// patience returns how long the stream may be silent before a heartbeat.
func (s *Stream) patience() time.Duration {
	if s.settling > 0 && s.pausing {
		return min(SettleTime, s.o.Shared.Heartbeat)
	}
	return s.o.Shared.Heartbeat
}

// Step does what there is to do; it names every way in which a stream may end. With block it may wait for Postgres.
func (s *Stream) Step(block bool) Outcome {
	for {
		if s.left() {
			return Over
		}
		done, err := s.writing.goOn(s.o.Out)
		switch {
		case err != nil:
			return Over // the client has left, or reads too slowly
		case !done:
			return Full
		case s.writing.ended:
			return Over
		}
		s.giveBack()
		if outcome, wrote := s.next(block); !wrote {
			return outcome
		}
	}
}

// left reports whether the client has left.
func (s *Stream) left() bool { return s.o.Session.Err() != nil && s.o.Session.Reason() == "" }

// next finds what to write next. If there is nothing, wrote is false.
func (s *Stream) next(block bool) (outcome Outcome, wrote bool) {
	if s.o.Session.Err() != nil {
		s.end(s.o.Session.Reason())
		return 0, true
	}
	now := time.Now()
	if !now.Before(s.ends) {
		s.end(s.reason)
		return 0, true
	}
	if !now.Before(s.resume) {
		s.resume = time.Time{}
	}
	due := now.Sub(s.last) >= s.patience()
	if !s.resume.IsZero() && !due {
		return Waits, false
	}
	if s.writing.more && !block && !s.writing.yielded {
		s.writing.yielded = true
		return More, false
	}
	s.writing.yielded = false
	if !block {
		b, ok := pollRecent(s.o.Sub, pollLimit)
		if !ok {
			return Asks, false
		}
		return s.deliver(b, due, now)
	}
	b, err := Poll(s.o.Session, s.o.Sub, pollLimit)
	switch {
	case err == nil:
		return s.deliver(b, due, time.Now())
	case errors.Is(err, event.ErrClosed):
		s.end(Drain)
		return 0, true
	case errors.Is(err, event.ErrForgotten), errors.Is(err, event.ErrDeleted):
		s.end(Expired)
		return 0, true
	}
	return s.failed(err, due)
}

// deliver writes a batch, and a heartbeat if one is due and there was nothing else. That comes after the poll, so that
// its position moves with the head.
func (s *Stream) deliver(b event.Batch, due bool, now time.Time) (outcome Outcome, wrote bool) {
	s.retry = 0
	b.Volatile = WithoutSignals(b.Volatile, s.renew)
	s.writing.more = b.More
	switch {
	case b.Gap != nil, len(b.Events) > 0, len(b.Volatile) > 0:
		s.o.Shared.Streamed.Add(float64(len(b.Events) + len(b.Volatile)))
		s.pausing = true
		s.writing.batch(b)
	case due:
		s.beat()
	default:
		s.o.Memory.Give(b.Taken)
		if b.More {
			return 0, true // polls again
		}
		return Waits, false
	}
	s.last = now
	return 0, true
}

// failed plans the next poll after a failed one. The stream stays open while Postgres is unavailable. An internal
// error is logged once.
func (s *Stream) failed(err error, due bool) (outcome Outcome, wrote bool) {
	if s.o.Session.Err() != nil {
		return 0, true // the read was ended with the session
	}
	if s.retry == 0 && wire.FaultOf(err).Kind == wire.Internal {
		s.o.Shared.Log.Error("stream cannot read", "error", err)
	}
	s.retry = min(max(retryLeast, 2*s.retry), retryMost)
	s.resume = time.Now().Add(s.o.Shared.Jitter(s.retry/2, s.retry))
	if !due {
		return Waits, false
	}
	s.beat()
	s.last = time.Now()
	return 0, true
}

// beat writes a heartbeat.
func (s *Stream) beat() {
	if s.pausing && s.settling > 0 {
		s.settling--
	}
	s.pausing = false
	s.writing.one(wire.HeartbeatFrame(s.o.Sub.Cursor(), time.Now()))
}

// end writes the last frame of the stream.
func (s *Stream) end(reason string) {
	s.last = time.Now()
	s.writing.final(wire.ReconnectFrame(reason, s.o.Shared.Jitter(500*time.Millisecond, 3*time.Second)))
}

// giveBack gives back the memory of a batch that was written.
func (s *Stream) giveBack() {
	if n := s.writing.taken; n > 0 {
		s.writing.taken = 0
		s.o.Memory.Give(n)
	}
}

// renew gives the stream the expiry and the rooms of the newer token, if that token allows what the stream
// reads.
func (s *Stream) renew(r *auth.Renewal) {
	who, ok := s.o.Shared.Keys.Renewed(s.o.Namespace, s.o.Who, r)
	if !ok {
		return
	}
	for _, room := range s.o.Reads {
		if !who.MayRead(room) {
			return
		}
	}
	if !slices.Equal(s.o.Who.Rooms, who.Rooms) {
		s.o.Sub.Allow(who.MayKeep())
	}
	s.o.Who = who
	s.plan()
}
