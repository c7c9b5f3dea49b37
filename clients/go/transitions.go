package culvert

import "time"

// ending says how an attempt ended.
type ending struct {
	kind    endKind
	after   time.Duration // comeBack, busy, page, foreign: how long the client is asked to wait
	empty   bool          // page: without events
	more    bool          // page: there are more events
	gateway bool          // foreign: a gateway says that it timed out
}

type endKind string

const (
	endClosed   endKind = "closed"   // end of body, reset, or no connection at all
	endPage     endKind = "page"     // a poll brought its answer
	endComeBack endKind = "comeBack" // the server asks the client to connect again later
	endTimedOut endKind = "timedOut" // the deadline passed
	endForeign  endKind = "foreign"  // a proxy answered
	endBusy     endKind = "busy"     // the server cannot answer now
	endWoken    endKind = "woken"    // the client ended it to begin anew
	endRefused  endKind = "refused"  // no attempt may follow, so the ladder is not told
)

// end handles the end of the attempt.
func (l *ladder) end(e ending) {
	age, from := l.age(), l.state
	l.deadline = time.Time{}
	switch from {
	case stateStreaming:
		l.state = stateConnecting // unless the code below decides otherwise
		if age >= shortLife {
			l.short = 0 // it lived long enough, however it ended
		}
	case stateTrying:
		l.state = stateProbing
	}
	switch {
	case e.kind == endWoken:
		l.delay = 0
	case e.kind == endComeBack:
		l.cut, l.short = 0, 0 // not cut this time
		l.delay = e.after
	case e.kind == endBusy:
		l.fault(e.after)
	case e.kind == endPage:
		l.page(e, age)
	case l.plan.transport == Poll:
		l.pollFailed(e, age)
	case from != stateStreaming:
		l.nothingCame(e.kind == endTimedOut, from == stateTrying)
	case e.kind == endTimedOut:
		l.gaveUp(age)
	default:
		l.streamCut(age)
	}
	if e.kind == endForeign && e.after > 0 {
		// The proxy is judged in the same way, but no event can come before that time.
		l.up = false
		l.delay = max(l.delay, l.spread(e.after))
	}
}

// fault handles a failure of the network: nothing gets through at present, by any transport.
func (l *ladder) fault(least time.Duration) {
	l.up = false
	l.probe()
	l.delay = max(l.spread(least), backoff(l.random, l.failures))
	l.failures++
}

// nothingCame handles a stream that ended before its hello. A trial is not repeated, since polls work.
func (l *ladder) nothingCame(timedOut, trial bool) {
	if timedOut {
		l.fall(l.patience())
		return
	}
	l.refused++
	switch {
	case trial || l.refused > 1:
		l.fall(0)
	case l.up:
		l.delay = l.share(500 * time.Millisecond)
	default:
		l.fault(0)
	}
}

// gaveUp handles an open stream whose planned life is over, or that was silent for too long.
func (l *ladder) gaveUp(age time.Duration) {
	l.delay, l.cut, l.short = 0, 0, 0
	if l.batched() {
		l.fall(0)
		return
	}
	if l.life > 0 && age >= l.life {
		return
	}
	if l.owed {
		l.fall(l.patience()) // the stream is held back, or the network failed
		return
	}
	if l.silences == 0 {
		l.reach = 0
	}
	l.reach = max(l.reach, l.heard.Sub(l.began))
	if l.silences++; l.silences < 2 {
		return
	}
	// Something forgets connections at some age, also those of polls.
	if l.reach >= 2*time.Second {
		l.shorten(l.reach)
	}
	l.fall(0)
}

func (l *ladder) streamCut(age time.Duration) {
	constant := same(age, l.cut)
	l.cut = age
	if age < shortLife {
		if l.short++; l.short == 1 {
			l.longest = 0
		}
		l.longest = max(l.longest, age)
	}
	if l.short > 2 || l.short > 0 && constant {
		// Polls are cut at that age, too; or earlier, if connections are older than the streams
		// on them.
		limit := l.longest
		if constant {
			limit = age
		}
		if limit >= 2*time.Second {
			l.shorten(limit)
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
	l.retryStreamAt = l.now().Add(time.Hour)
	l.remember()
}

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

// fall changes to polling, unless the application insists on streams.
func (l *ladder) fall(timedOutAfter time.Duration) {
	l.refused, l.silences, l.cut, l.short = 0, 0, 0, 0
	if l.forced != Auto {
		l.fault(0)
		return
	}
	l.delay = 0
	if l.state == stateProbing {
		// The trial failed, as expected: polling continues, with longer polls.
		if l.wait *= 2; l.wait == 0 {
			l.wait = time.Second
		}
		l.wait = min(longestWait, l.wait)
		l.postpone()
		return
	}
	l.state, l.timedOutAfter = stateChecking, timedOutAfter
}

// postpone sets when the stream is tried again: after a minute, two, four, up to an hour.
func (l *ladder) postpone() {
	l.retryStreamAt = l.now().Add(min(time.Minute<<min(l.round, 10), time.Hour))
	l.round++
	l.remember()
}

// share returns a random part of d (full jitter).
func (l *ladder) share(d time.Duration) time.Duration {
	return time.Duration(l.random() * float64(d))
}

// spread returns d or up to a quarter more, so that not all clients return at the same moment.
func (l *ladder) spread(d time.Duration) time.Duration { return d + l.share(d/4) }

// same reports whether two ages may come from one timeout of a proxy.
func same(a, b time.Duration) bool {
	return b > 0 && (a-b).Abs() <= max(300*time.Millisecond, b/10)
}
