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

// state is where the ladder stands. The package's doc draws how one follows another.
type state string

const (
	stateConnecting state = "connecting" // a stream is asked for, and has not said hello yet
	stateStreaming  state = "streaming"  // it has said hello
	stateChecking   state = "checking"   // the stream failed: does a poll get through?
	stateProbing    state = "probing"    // polls are the way; the next one is not held, to see whether it works
	statePolling    state = "polling"    // polls are the way, and work
	stateTrying     state = "trying"     // a stream is asked for again, though polls are the way
)

// ladder finds the best way to receive that works. It is a state machine that does
// nothing itself: begin says what to try, the calls below it tell the ladder what
// happened, and end decides what follows, after delay.
//
// While it is checking, the fall to polling is not confirmed: when the poll fails,
// too, the network was at fault and not the stream.
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

	state         state
	wait          time.Duration
	limit         int
	life          time.Duration // a stream may last so long; 0: as long as it likes
	retryStreamAt time.Time     // the stream is tried again
	round         int           // so often in vain
	timedOutAfter time.Duration // while checking: the patience that the stream was given, when that ran out
	least         time.Duration // of patience
	rtt           time.Duration

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
	timeouts int           // polls not answered in time
	fail     time.Duration // age at which the last held poll failed

	plan     plan
	began    time.Time
	since    time.Time // the stream was not kept waiting by us
	heard    time.Time // when the last frame came
	answered bool
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
		state: stateConnecting, wait: longestWait, limit: fullPage, retry: time.Second, least: helloTime,
	}
	if forced == Poll || forced == Auto && known.transport == Poll {
		l.state = stateProbing
	}
	if known.transport != "" {
		l.wait, l.retryStreamAt, l.round = known.wait, known.retryStreamAt, known.round
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
	l.answered, l.deaf = false, false
	if l.polls() && l.forced == Auto && !l.began.Before(l.retryStreamAt) {
		l.state = stateTrying
	}
	l.plan = plan{Stream, 0, l.limit}
	if l.polls() || l.state == stateChecking {
		l.plan.transport = Poll
	}
	if l.state == statePolling {
		l.plan.wait = l.wait
	}
	if l.plan.transport == Stream {
		l.deadline = l.began.Add(l.patience())
	} else {
		l.deadline = l.began.Add(l.plan.wait + min(l.patience()<<min(l.timeouts, 5), mostLate))
	}
	return l.plan
}

// polls reports whether polls are the way.
func (l *ladder) polls() bool { return l.state == stateProbing || l.state == statePolling }

// patience is how long a stream has to bring its first frame.
func (l *ladder) patience() time.Duration { return max(2*l.rtt, l.least) }

// age is how old the attempt is.
func (l *ladder) age() time.Duration { return l.now().Sub(l.began) }

// left is the time until the deadline.
func (l *ladder) left() time.Duration { return l.deadline.Sub(l.now()) }

// spent reports whether a stream ended because its life as planned was over.
func (l *ladder) spent() bool { return l.state == stateStreaming && l.life > 0 && l.age() >= l.life }

// gotHeaders notes that a poll is answered; what remains is to read it.
func (l *ladder) gotHeaders() {
	l.answered = true
	l.timeouts = 0
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
	l.up = true
	l.beat, l.retry = g.heartbeat, g.retry
	l.pause, l.pauses = g.settle, 0
	if g.settle > 0 {
		l.pauses = fewPauses
	}
	l.failures, l.refused, l.missed, l.broken = 0, 0, 0, 0
	l.aged, l.young, l.old = false, 0, 0
	l.note(g.at)
	l.hear(false)
	if l.state == stateTrying {
		l.wait, l.limit, l.fail = longestWait, fullPage, 0
	}
	l.state = stateStreaming
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
	l.probe()
	if moved {
		l.retryStreamAt = time.Time{}
	}
}
