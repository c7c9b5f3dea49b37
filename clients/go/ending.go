package client

import "time"

// ending is how an attempt ended.
type ending struct {
	kind    endKind
	after   time.Duration // asked, busy, page: what the server wants us to wait
	empty   bool          // page: without events
	more    bool          // page: there is more
	gateway bool          // foreign: it says that it waited too long
}

type endKind int

const (
	endClosed  endKind = iota // end of body, reset, or no connection at all
	endPage                   // a poll brought its answer
	endAsked                  // the server wants us back later
	endLate                   // the deadline passed
	endForeign                // something on the way answered
	endBusy                   // the server cannot now
	endWoken                  // we ended it ourselves, to begin anew
	endRefused                // there must be no other
)

// same reports whether two ages mean one clock on the way.
func same(a, b time.Duration) bool {
	return b > 0 && (a-b).Abs() <= max(300*time.Millisecond, b/10)
}

// end takes in how the attempt ended.
func (l *ladder) end(e ending) {
	age := l.age()
	l.deadline = time.Time{}
	switch {
	case e.kind == endWoken:
		l.delay = 0
	case e.kind == endAsked:
		l.cut, l.short = 0, 0 // not cut this time
		l.delay = e.after
	case e.kind == endBusy:
		l.fault(e.after)
	case e.kind == endPage:
		l.page(e, age)
	case l.plan.transport == Poll:
		l.pollFailed(e, age)
	case !l.open:
		l.nothingCame(e.kind == endLate)
	case e.kind == endLate:
		l.gaveUp(age)
	default:
		l.streamCut(age)
	}
}

// fault: nothing gets through at present, whichever way.
func (l *ladder) fault(least time.Duration) {
	l.up = false
	l.probe = true
	spread := time.Duration(float64(least) * (1 + l.random()/4))
	l.delay = max(spread, backoff(l.random, l.failures))
	l.failures++
}

func (l *ladder) nothingCame(late bool) {
	if late {
		l.fall(l.patience())
		return
	}
	l.refused++
	switch {
	case l.trial || l.refused > 1:
		l.fall(0)
	case l.up:
		l.delay = l.share(500 * time.Millisecond)
	default:
		l.fault(0)
	}
}

// gaveUp: an open stream ran out of time, of its life as planned or in silence.
func (l *ladder) gaveUp(age time.Duration) {
	l.delay, l.cut, l.short = 0, 0, 0
	if l.batched() {
		l.fall(0)
		return
	}
	if l.life > 0 && age >= l.life {
		return
	}
	if l.silences == 0 {
		l.reach = 0
	}
	l.reach = max(l.reach, l.heard.Sub(l.began))
	if l.silences++; l.silences < 2 {
		return
	}
	// Something forgets connections at some age, those of polls, too.
	if l.reach >= 2*time.Second {
		l.shorten(l.reach)
	}
	l.fall(0)
}

func (l *ladder) streamCut(age time.Duration) {
	constant := same(age, l.cut)
	l.cut = age
	l.short++
	if age >= shortLife {
		l.short = 0
	}
	if l.short > 2 || l.short > 0 && constant {
		if constant && age >= 2*time.Second {
			l.shorten(age)
		}
		l.fall(0)
		return
	}
	if !constant {
		l.delay = l.share(l.retry)
		return
	}
	l.delay = 0
	l.life = age * 85 / 100
	l.again = l.now().Add(time.Hour)
	l.remember()
}

// fall goes down to polling.
func (l *ladder) fall(hasty time.Duration) {
	if l.forced != Auto {
		l.fault(0)
	} else {
		l.delay = 0
	}
	l.refused, l.silences, l.cut, l.short = 0, 0, 0, 0
	l.probe = true
	if l.mode == Poll {
		// The trial failed, as was to be expected: polling goes on, a little bolder.
		if l.wait *= 2; l.wait == 0 {
			l.wait = time.Second
		}
		l.wait = min(longestWait, l.wait)
		l.postpone()
		return
	}
	l.mode, l.doubt, l.hasty = Poll, true, hasty
}

// postpone has the stream tried again later: a minute, two, four, up to an hour.
func (l *ladder) postpone() {
	l.again = l.now().Add(min(time.Minute<<min(l.round, 10), time.Hour))
	l.round++
	l.remember()
}

func (l *ladder) page(e ending, age time.Duration) {
	wait := l.plan.wait
	l.up = true
	l.failures, l.missed, l.broken = 0, 0, 0
	l.limit = min(fullPage, l.limit*2)
	if e.empty && wait > 0 && age >= wait*9/10 {
		l.fail = 0
	}
	if l.doubt && l.forced == Auto {
		l.doubt = false
		if l.hasty > 0 && l.hasty < l.patience() {
			// The way is only slow, and the stream was not given the time it takes.
			l.mode, l.delay = Stream, 0
			return
		}
		l.postpone()
	}
	probe := l.probe
	l.probe = false
	switch {
	case e.after > 0:
		l.delay = e.after
	case e.more || probe && l.wait > 0:
		l.delay = 0
	case wait == 0:
		l.delay = time.Second + l.share(2*time.Second)
	case e.empty && age < wait/2:
		// A held poll that is empty at once was not held: never ask in a circle.
		l.delay = 500*time.Millisecond + l.share(time.Second)
	default:
		l.delay = 0
	}
}

func (l *ladder) pollFailed(e ending, age time.Duration) {
	l.probe = true
	if e.kind == endLate && !l.answered {
		l.lates++
	}
	if l.answered && e.kind != endForeign {
		// The way is there, and cuts: soon again, for less.
		l.limit = max(1, l.limit/2)
		if l.broken++; l.broken < bearable {
			l.delay = l.share(300 * time.Millisecond)
			return
		}
	}
	if l.plan.wait > 0 && age >= time.Second {
		l.missed++
		if constant := e.gateway || same(age, l.fail); !constant {
			l.fail = age
			l.delay = l.share(500 * time.Millisecond)
			return
		}
		l.fail, l.delay = 0, 0
		l.shorten(age)
		if !l.doubt {
			l.remember()
		}
		return
	}
	l.missed++
	switch {
	case l.doubt:
		l.mode, l.doubt = Stream, false
		l.fault(0)
	case l.missed > 1:
		l.fault(0)
	default:
		l.delay = l.share(500 * time.Millisecond)
	}
}

// shorten has polls stay below an age at which something on the way cuts.
func (l *ladder) shorten(age time.Duration) {
	l.wait = min(l.wait/2, age*7/10).Truncate(100 * time.Millisecond)
	if l.wait < time.Second {
		l.wait = 0
	}
}

// share is any part of d (full jitter).
func (l *ladder) share(d time.Duration) time.Duration {
	return time.Duration(l.random() * float64(d))
}

func (l *ladder) remember() {
	if l.mode == Stream && l.life == 0 {
		l.save(verdict{})
		return
	}
	l.save(verdict{l.mode, l.wait, l.life, l.again, l.round})
}
