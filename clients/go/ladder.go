package culvert

import (
	"time"
)

// Transport is a way events come.
type Transport string

// The transports. Auto finds the best one that works; the others insist on one.
const (
	Auto   Transport = ""
	Stream Transport = "stream"
	Poll   Transport = "poll"
)

// plan is how one attempt to receive is made.
type plan struct {
	transport Transport
	wait      time.Duration // a long poll is held so long
	limit     int           // events of one poll
}

const (
	longestWait = 25 * time.Second
	fullPage    = 100
	helloTime   = 3 * time.Second  // a stream has at least so long to bring its first frame
	fewPauses   = 3                // of a stream that the server ends soon
	mostLate    = 30 * time.Second // a poll's answer may be on the way at most so long
	pageTime    = 30 * time.Second // reading a page may take so long
	shortLife   = 10 * time.Second // a stream cut earlier is worth less than long polls
	bearable    = 5                // bodies of polls that break, one after the other
)

// ladder finds the best way to receive that works. It does nothing itself: begin
// says what to try, the calls below it what happened, and end what follows, after
// delay.
//
//	stream --nothing, bursts, silence, refusal--> long poll --same age--> shorter
//	  ^                                              |                   poll, down
//	  +---- from time to time, later and later ------+                   to short
//
// A fall to polling stays in doubt until a poll has brought an answer: when that
// fails, too, the network was at fault and not the stream.
//
// Only one goroutine may use it.
type ladder struct {
	now    func() time.Time
	random func() float64 // from 0 up to, but not including, 1
	save   func(verdict)
	forced Transport

	deadline time.Time     // the attempt is given up; zero: never
	delay    time.Duration // until the next attempt
	up       bool          // the last attempt worked, or the next may still

	mode          Transport
	wait          time.Duration
	limit         int
	life          time.Duration // a stream may last so long; 0: as long as it likes
	retryStreamAt time.Time     // the stream is tried again
	round         int           // so often in vain
	unconfirmed   bool          // the fall to polling is not confirmed
	timedOutAfter time.Duration // the patience it was made with, when that ran out
	least         time.Duration // of patience

	probe bool // the next poll is not held: is there a way at all?
	rtt   time.Duration

	// In a row:
	failures int
	refused  int // streams
	silences int
	reach    time.Duration // the greatest age at which a frame came in those silent streams
	short    int           // streams cut soon
	longest  time.Duration // of those
	cut      time.Duration // age at which the last stream was cut
	missed   int           // polls that failed
	broken   int           // polls whose body broke off
	lates    int           // polls not answered in time
	fail     time.Duration // age at which the last held poll failed

	plan     plan
	trial    bool
	began    time.Time
	since    time.Time // the stream was not kept waiting by us
	heard    time.Time // when the last frame came
	answered bool
	open     bool
	deaf     bool // we let the stream wait ourselves, so ages say nothing
	beat     time.Duration
	pause    time.Duration // the server ends the first pauses so soon
	pauses   int           // of those, still to come
	owed     bool          // a heartbeat, for the pause after the last frame
	retry    time.Duration
	aged     bool
	young    time.Duration // least and greatest age of hello and heartbeats, by two clocks
	old      time.Duration
}

func newLadder(now func() time.Time, random func() float64, known verdict, save func(verdict), forced Transport) *ladder {
	l := &ladder{
		now: now, random: random, save: save, forced: forced,
		mode: Stream, wait: longestWait, limit: fullPage, retry: time.Second, probe: true, least: helloTime,
	}
	if known.transport != "" {
		l.mode, l.wait, l.retryStreamAt, l.round = known.transport, known.wait, known.retryStreamAt, known.round
		if now().Before(known.retryStreamAt) {
			l.life = known.life
		}
	}
	return l
}

// begin is the next attempt, which begins now.
func (l *ladder) begin() plan {
	l.began = l.now()
	l.since, l.heard = l.began, l.began
	l.answered, l.open, l.deaf = false, false, false
	l.trial = l.forced == Auto && l.mode == Poll && !l.unconfirmed && !l.began.Before(l.retryStreamAt)
	transport := l.mode
	switch {
	case l.forced != Auto:
		transport = l.forced
	case l.trial:
		transport = Stream
	}
	wait := l.wait
	if l.probe {
		wait = 0
	}
	l.plan = plan{transport, wait, l.limit}
	if transport == Stream {
		l.deadline = l.began.Add(l.patience())
	} else {
		l.deadline = l.began.Add(wait + min(l.patience()<<min(l.lates, 5), mostLate))
	}
	return l.plan
}

// patience is how long a stream has to bring its first frame.
func (l *ladder) patience() time.Duration { return max(2*l.rtt, l.least) }

// age is how old the attempt is.
func (l *ladder) age() time.Duration { return l.now().Sub(l.began) }

// left is the time until the deadline.
func (l *ladder) left() time.Duration { return l.deadline.Sub(l.now()) }

// spent reports whether a stream ended because its life as planned was over.
func (l *ladder) spent() bool { return l.open && l.life > 0 && l.age() >= l.life }

// gotHeaders notes that a poll is answered; what remains is to read it.
func (l *ladder) gotHeaders() {
	l.answered = true
	l.lates = 0
	l.deadline = l.now().Add(pageTime)
	if l.plan.wait == 0 {
		l.rtt = l.age()
	}
}

// greeting is what a stream's culvert:hello says of it.
type greeting struct {
	heartbeat, retry time.Duration
	settle           time.Duration // its first pauses are no longer; 0: an older server
	at               time.Time     // by the server's clock
}

// hello notes that a stream has said culvert:hello.
func (l *ladder) hello(g greeting) {
	l.open, l.up, l.probe = true, true, true
	l.beat, l.retry = g.heartbeat, g.retry
	l.pause, l.pauses = g.settle, 0
	if g.settle > 0 {
		l.pauses = fewPauses
	}
	l.failures, l.refused, l.missed, l.broken = 0, 0, 0, 0
	l.aged, l.young, l.old = false, 0, 0
	l.note(g.at)
	l.hear(false)
	l.unconfirmed = false
	if l.mode == Poll {
		l.wait, l.limit, l.fail = longestWait, fullPage, 0
	}
	l.mode = Stream
}

// frame notes that a frame came; at is the server's clock where the frame is a
// heartbeat. Only heartbeats tell how old frames are when they come: they are sent
// when they are made, events may be old.
func (l *ladder) frame(at time.Time) {
	proven := l.now().Sub(l.since) > l.beat*5/2
	if proven {
		l.silences = 0
	}
	beat := !at.IsZero() && !l.deaf
	if beat {
		l.note(at)
	}
	l.hear(!at.IsZero())
	if beat && proven && l.round > 0 && !l.batched() {
		l.round = 0 // it works, and not only for its first frames
		l.remember()
	}
}

// stalled notes that we let the stream wait ourselves until now: its silence was
// ours, and the frames to come are old through our own fault. They may have come
// long ago, so they do not prove that it still lives.
func (l *ladder) stalled() {
	l.deaf, l.owed, l.since = true, false, l.now()
	l.extend()
}

// note takes in the age of a frame that is sent when it is made.
func (l *ladder) note(at time.Time) {
	if at.IsZero() {
		return
	}
	age := l.now().Sub(at)
	if !l.aged {
		l.aged, l.young, l.old = true, age, age
	}
	l.young, l.old = min(l.young, age), max(l.old, age)
}

// batched reports whether something holds frames back: lets them go in bursts, or the
// last one only when the next comes.
func (l *ladder) batched() bool {
	most := 2 * time.Second
	if l.pauses == 0 {
		most = max(most, l.beat*3/4)
	}
	return l.old-l.young > most
}

func (l *ladder) hear(heartbeat bool) {
	l.heard = l.now()
	l.owed = !heartbeat && l.pauses > 0
	l.extend()
	if heartbeat && l.pauses > 0 {
		l.pauses--
	}
}

// extend gives the stream time for its next frame.
func (l *ladder) extend() {
	now := l.now()
	silence := l.beat * 5 / 2
	if l.owed {
		silence = min(silence, l.pause+l.patience())
	}
	l.deadline = now.Add(silence)
	if end := l.began.Add(l.life); l.life > 0 && end.Before(l.deadline) {
		l.deadline = end
	}
	if l.batched() {
		l.deadline = now
	}
}

// wake has the next attempt made at once: the machine was asleep, or the network
// is another one, where the stream is tried again, too.
func (l *ladder) wake(moved bool) {
	l.failures = 0
	l.delay = 0
	l.probe = true
	if moved {
		l.retryStreamAt = time.Time{}
	}
}
