package culvert

import "time"

// page handles the answer of a poll.
func (l *ladder) page(e ending, age time.Duration) {
	wait := l.plan.wait
	l.up = true
	l.failures, l.missed, l.broken = 0, 0, 0
	l.limit = min(fullPage, l.limit*2)
	if e.empty && wait > 0 && age >= wait*9/10 {
		l.fail = 0
	}
	from := l.state
	l.state = statePolling
	if from == stateChecking {
		if l.timedOutAfter > 0 && l.timedOutAfter < l.patience() {
			// The network is only slow, and the stream had too little time.
			l.state, l.delay = stateConnecting, e.after
			return
		}
		l.postpone()
	}
	switch {
	case e.after > 0:
		l.delay = e.after
	case e.more || from != statePolling && l.wait > 0:
		l.delay = 0
	case wait == 0:
		l.delay = time.Second + l.share(2*time.Second)
	case e.empty && age < wait/2:
		// A held poll that is empty at once was not held: wait, so that polls do not loop.
		l.delay = 500*time.Millisecond + l.share(time.Second)
	default:
		l.delay = 0
	}
}

// pollFailed handles a failed poll. The first failure in a row counts as chance. While checking, a failure
// means that the network failed and not the stream.
func (l *ladder) pollFailed(e ending, age time.Duration) {
	l.probe()
	if e.kind == endTimedOut && !l.answered {
		l.timeouts++
	}
	if l.answered && e.kind != endForeign {
		// The network works but cuts answers: ask again soon, for fewer events.
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
		l.remember()
		return
	}
	l.missed++
	switch {
	case l.state == stateChecking:
		l.state = stateConnecting
		l.fault(0)
	case l.missed > 1 || l.broken >= bearable:
		l.fault(0)
	default:
		l.delay = l.share(500 * time.Millisecond)
	}
}

// shorten makes polls shorter than the age at which a proxy cuts them.
func (l *ladder) shorten(age time.Duration) {
	l.wait = min(l.wait/2, age*7/10).Truncate(100 * time.Millisecond)
	if l.wait < time.Second {
		l.wait = 0
	}
}
