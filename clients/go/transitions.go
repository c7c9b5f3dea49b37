package culvert

import "time"

// ending is how an attempt ended.
type ending struct {
	kind    endKind
	after   time.Duration // asked, busy, page, foreign: what we are asked to wait
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
	if l.open && age >= shortLife {
		l.short = 0 // it lived, however it ended
	}
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
	if e.kind == endForeign && e.after > 0 {
		// What it says of the way stands, and no event can come before then.
		l.up = false
		l.delay = max(l.delay, l.spread(e.after))
	}
}

// fault: nothing gets through at present, whichever way.
func (l *ladder) fault(least time.Duration) {
	l.up = false
	l.probe = true
	l.delay = max(l.spread(least), backoff(l.random, l.failures))
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
	if l.owed {
		l.fall(l.patience()) // it is held back, or all is
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
	if age < shortLife {
		if l.short++; l.short == 1 {
			l.longest = 0
		}
		l.longest = max(l.longest, age)
	}
	if l.short > 2 || l.short > 0 && constant {
		// A poll is cut at that age, too; where connections are older than the streams
		// on them, at that or earlier.
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

// fall goes down to polling.
func (l *ladder) fall(timedOutAfter time.Duration) {
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
	l.mode, l.unconfirmed, l.timedOutAfter = Poll, true, timedOutAfter
}

// postpone has the stream tried again later: a minute, two, four, up to an hour.
func (l *ladder) postpone() {
	l.retryStreamAt = l.now().Add(min(time.Minute<<min(l.round, 10), time.Hour))
	l.round++
	l.remember()
}

// share is any part of d (full jitter).
func (l *ladder) share(d time.Duration) time.Duration {
	return time.Duration(l.random() * float64(d))
}

// spread is d, or up to a quarter more, so that not all return in one moment.
func (l *ladder) spread(d time.Duration) time.Duration { return d + l.share(d/4) }

func (l *ladder) remember() {
	if l.mode == Stream && l.life == 0 {
		l.save(verdict{})
		return
	}
	l.save(verdict{l.mode, l.wait, l.life, l.retryStreamAt, l.round})
}
