package culvert

import (
	"time"
)

// plan says how one attempt to receive is made.
type plan struct {
	transport Transport
	wait      time.Duration // how long a poll is held
	limit     int           // events of one poll
}

const (
	longestWait = 25 * time.Second
	fullPage    = 100
	helloTime   = 3 * time.Second  // the least time that a stream has for its first frame
	fewPauses   = 3                // how many pauses of a stream the server ends soon
	mostLate    = 30 * time.Second // the most time that a poll's answer may take on the network
	pageTime    = 30 * time.Second // how long reading a page may take
	shortLife   = 10 * time.Second // long polls are better than streams that are cut earlier
	bearable    = 5                // how many bodies of polls may break one after the other
)

// state is the state of the ladder. The package's doc comment draws the transitions.
type state string

const (
	stateConnecting state = "connecting" // the client asks for a stream, which has not said hello yet
	stateStreaming  state = "streaming"  // the stream has said hello
	stateChecking   state = "checking"   // the stream failed: does a poll get through?
	stateProbing    state = "probing"    // events come by polls; the next one is not held, to test whether polls work
	statePolling    state = "polling"    // events come by polls, which work
	stateTrying     state = "trying"     // events come by polls, and the client asks for a stream again
)

// ladder finds the best transport that works. It is a state machine without effects:
// begin says what to try, the calls below it tell the ladder what
// happened, and end decides what follows, after delay.
//
// While it is checking, the change to polling is not decided yet: if the poll fails,
// too, the network failed and not the stream.
//
// Only one goroutine may use it.
type ladder struct {
	now    func() time.Time
	random func() float64 // from 0 up to, but not including, 1
	save   func(verdict)
	forced Transport

	deadline time.Time     // when the attempt is given up; zero: never
	delay    time.Duration // until the next attempt
	up       bool          // the last attempt worked, or the next one may still work

	state         state
	wait          time.Duration
	limit         int
	life          time.Duration // how long a stream may last; 0: without a limit
	retryStreamAt time.Time     // when the stream is tried again
	round         int           // how often it was tried again and failed
	timedOutAfter time.Duration // while checking: the patience for the stream's first frame, if the stream timed out
	least         time.Duration // the least patience
	rtt           time.Duration

	// Counted in a row:
	failures int
	refused  int // refused streams
	silences int
	reach    time.Duration // the greatest age at which a frame came in those silent streams
	short    int           // streams that were cut soon
	longest  time.Duration // the longest life of these streams
	cut      time.Duration // age at which the last stream was cut
	missed   int           // failed polls
	broken   int           // polls with an incomplete body
	timeouts int           // polls not answered in time
	fail     time.Duration // age at which the last held poll failed

	plan     plan
	began    time.Time
	since    time.Time // since when the client reads the stream without delay
	heard    time.Time // when the last frame came
	answered bool
	deaf     bool // the client itself let the stream wait, so ages of frames mean nothing
	beat     time.Duration
	pause    time.Duration // after how long the server ends the first pauses
	pauses   int           // how many of those pauses are still to come
	owed     bool          // a heartbeat must end the pause after the last frame
	retry    time.Duration
	aged     bool
	young    time.Duration // least and greatest age of hello and heartbeats, as the difference of two clocks
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

// begin returns the plan of the next attempt, which begins now.
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

// polls reports whether events come by polls.
func (l *ladder) polls() bool { return l.state == stateProbing || l.state == statePolling }

// patience is how long a stream has for its first frame.
func (l *ladder) patience() time.Duration { return max(2*l.rtt, l.least) }

// age is how old the attempt is.
func (l *ladder) age() time.Duration { return l.now().Sub(l.began) }

// left is the time until the deadline.
func (l *ladder) left() time.Duration { return l.deadline.Sub(l.now()) }

// spent reports whether a stream ended because its planned life was over.
func (l *ladder) spent() bool { return l.state == stateStreaming && l.life > 0 && l.age() >= l.life }

// gotHeaders notes that the headers of a poll's answer have come; the body is still to be read.
func (l *ladder) gotHeaders() {
	l.answered = true
	l.timeouts = 0
	l.deadline = l.now().Add(pageTime)
	if l.plan.wait == 0 {
		l.rtt = l.age()
	}
}

// greeting is what culvert:hello says about a stream.
type greeting struct {
	heartbeat, retry time.Duration
	settle           time.Duration // how long the first pauses last; 0: an older server
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

// frame notes that a frame came; at is the server's time if the frame is a
// heartbeat. Only heartbeats show how old frames are when they arrive: they are sent
// when they are made, while events may be old.
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
		l.round = 0 // the stream works for more than its first frames
		l.remember()
	}
}

// stalled notes that the client itself let the stream wait until now. So the client caused the
// silence, and the age of the next frames. They may have arrived
// long ago, so they do not prove that the stream still lives.
func (l *ladder) stalled() {
	l.deaf, l.owed, l.since = true, false, l.now()
	l.extend()
}

// note records the age of a frame that is sent when it is made.
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

// batched reports whether a proxy holds frames back: it passes them on in bursts, or holds the
// last one until the next comes.
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

// wake makes the next attempt begin at once, because the machine was asleep, or, if moved, because it is on
// another network, where the stream is tried again.
func (l *ladder) wake(moved bool) {
	l.failures = 0
	l.delay = 0
	l.probe()
	if moved {
		l.retryStreamAt = time.Time{}
	}
}

// probe makes the next poll one that is not held, to test whether anything gets through.
func (l *ladder) probe() {
	if l.state == statePolling {
		l.state = stateProbing
	}
}

// remember saves what was found out, unless the application insists on polls, which says nothing about streams.
func (l *ladder) remember() {
	v := verdict{Stream, l.wait, l.life, l.retryStreamAt, l.round}
	switch {
	case l.forced == Poll:
		return
	case l.polls():
		v.transport = Poll
	case l.life == 0:
		v = verdict{}
	}
	l.save(v)
}
