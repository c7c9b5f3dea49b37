package culvert

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLadderGatewaySaysSo: if a gateway says that it timed out, one failure makes polls shorter.
func TestLadderGatewaySaysSo(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		r.buffered()
		r.is(Poll, longestWait)
		r.ends(10*time.Second, ending{kind: endForeign, gateway: true})
		r.waits(0, 0)
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.is(Poll, 7*time.Second)
	})
}

// TestLadderPollsByChance: failures at different ages do not shorten polls.
func TestLadderPollsByChance(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		r.is(Poll, longestWait)
		r.cut(10 * time.Second)
		if !r.up {
			t.Error("one failure of a held poll does not count as a lost connection")
		}
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.is(Poll, longestWait)
		r.page(longestWait) // a full wait: the cut was chance
		r.is(Poll, longestWait)
		r.cut(10 * time.Second)
		r.begin()
		r.page(50 * time.Millisecond)
		r.is(Poll, longestWait)
	})
}

func TestLadderUnansweredPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := polling(t)
		r.is(Poll, longestWait)
		r.late()
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.is(Poll, longestWait)
		r.late()
		r.begin()
		r.page(50 * time.Millisecond)
		r.is(Poll, longestWait/2)
	})
}

// TestLadderPageSize: pages that are cut in the middle become smaller, and later larger again.
func TestLadderPageSize(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		for _, want := range []int{100, 50, 25} {
			if p := r.begin(); p.limit != want {
				t.Fatalf("the poll asks for %d events, want %d", p.limit, want)
			}
			r.gotHeaders()
			if want > 25 {
				r.cut(10 * time.Millisecond)
			}
		}
		r.page(0)
		if p := r.begin(); p.limit != 50 {
			t.Errorf("the client asks for %d events after a whole page", p.limit)
		}
	})
}

func TestLadderPoll(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		r.buffered()
		r.begin()
		r.page(10*time.Millisecond, ending{more: true})
		r.waits(0, 0)
		r.begin()
		r.page(10*time.Millisecond, ending{after: 3 * time.Second})
		r.waits(3*time.Second, 3*time.Second)
		r.begin()
		r.page(10 * time.Millisecond) // was not held: polls must not loop
		r.waits(500*time.Millisecond, 1500*time.Millisecond)
		r.begin()
		r.page(longestWait)
		r.waits(0, 0)
	})
}

// TestLadderTriesAgain: while polling, the stream is tried again at growing intervals, and
// the verdict is forgotten when a stream has lived for 2.5 heartbeats.
func TestLadderTriesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		last := time.Now()
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			for r.begin().transport == Poll {
				r.page(max(r.plan.wait, 50*time.Millisecond))
			}
			if took := time.Since(last); took < want*time.Minute || took > want*time.Minute+time.Minute/2 {
				t.Errorf("the stream was tried again after %v, want %v min", took, int(want))
			}
			r.late()
			r.waits(0, 0)
			if !r.up {
				t.Error("a failed trial counts as a lost connection")
			}
			last = time.Now()
		}
		for r.begin().transport == Poll {
			r.page(longestWait)
		}
		r.hello()
		if r.saved.transport != Poll {
			t.Error("the verdict was dropped after the first frame")
		}
		for range 3 {
			if r.saved.transport != Poll {
				t.Error("the verdict was dropped after too few heartbeats")
			}
			time.Sleep(beat)
			r.heartbeat(0)
		}
		if r.saved != (verdict{}) || r.round != 0 {
			t.Errorf("the ladder remembers %+v, in vain %d times", r.saved, r.round)
		}
		r.cut(time.Second)
		r.is(Stream)
	})
}

// TestLadderRemembers: a verdict holds for the next client, too, and expires.
func TestLadderRemembers(t *testing.T) {
	bubble(t, func(t *testing.T, first *rig) {
		first.buffered()
		r := newRig(t, first.saved, Auto)
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.is(Poll, longestWait)
		r.page(longestWait)
		time.Sleep(time.Minute)
		r.is(Stream)
		r.cut(10 * time.Millisecond) // one refusal is enough to end a trial
		r.is(Poll, 0)
		if r.saved.round != 2 {
			t.Errorf("the ladder remembers %+v", r.saved)
		}
	})
}

// TestLadderBackoff: full jitter below a bound that doubles up to 30 s.
func TestLadderBackoff(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.chance = 0.999
		var delays []time.Duration
		for range 12 {
			r.begin()
			r.cut(time.Millisecond)
			if r.delay > 0 {
				delays = append(delays, r.delay.Round(10*time.Millisecond))
			}
		}
		if delays[0] != 500*time.Millisecond || delays[1] != time.Second || delays[2] != 2*time.Second || delays[len(delays)-1] != 29970*time.Millisecond {
			t.Errorf("the ladder waits %v", delays)
		}
		r.chance = 0
		r.begin()
		r.cut(time.Millisecond)
		r.waits(0, 0)
	})
}

// TestLadderObeys: the client waits as long as the server asks.
func TestLadderObeys(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.begin()
		r.hello()
		r.ends(time.Second, ending{kind: endComeBack, after: 2500 * time.Millisecond})
		r.waits(2500*time.Millisecond, 2500*time.Millisecond)
		if !r.up {
			t.Error("the ladder is not up")
		}
		r.begin()
		r.ends(time.Millisecond, ending{kind: endBusy, after: 7 * time.Second})
		r.waits(7*time.Second, 9*time.Second)
		if r.up {
			t.Error("up")
		}
		r.is(Stream)
	})
}

func TestLadderWoken(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		r.buffered()
		r.is(Poll, longestWait)
		r.ends(0, ending{kind: endWoken})
		r.wake(false)
		r.is(Poll, 0)
		r.ends(0, ending{kind: endWoken})
		r.wake(true) // on another network
		r.waits(0, 0)
		r.is(Stream)
	})
}

// TestLadderForced: only the forced transport is used, with the usual delays.
func TestLadderForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, verdict{}, Stream)
		for range 5 {
			r.is(Stream)
			r.late()
			r.waits(time.Millisecond, 30*time.Second)
			if r.up {
				t.Error("up")
			}
		}
		r = newRig(t, verdict{}, Poll)
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		time.Sleep(2 * time.Hour)
		r.is(Poll, longestWait)
	})
}

// TestLadderBrokenPages: after a broken page the client asks again soon, and reports a lost connection only if that continues.
func TestLadderBrokenPages(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		r.chance = 0.999
		breaks := func(e ending) {
			r.begin()
			r.gotHeaders()
			r.ends(10*time.Millisecond, e)
		}
		for range 2 {
			for range 4 {
				breaks(ending{kind: endClosed})
				r.waits(0, 300*time.Millisecond)
				if !r.up {
					t.Error("the ladder is not up")
				}
			}
			r.begin()
			r.page(50 * time.Millisecond)
		}
		for range 5 {
			if !r.up {
				t.Error("the ladder is not up")
			}
			breaks(ending{kind: endClosed})
		}
		r.waits(400*time.Millisecond, 500*time.Millisecond)
		if r.up {
			t.Error("the ladder counts as up, though no page is complete")
		}
		r.begin()
		r.page(50 * time.Millisecond)
		breaks(ending{kind: endForeign}) // complete, but not from Culvert
		if p := r.begin(); p.limit != 2 {
			t.Errorf("the poll asks for %d events", p.limit)
		}
	})
}

// TestLadderBrokenBefore: pages that broke before a stream worked do not count afterwards.
func TestLadderBrokenBefore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		breaks := func() {
			r.is(Poll)
			r.gotHeaders()
			r.cut(10 * time.Millisecond)
		}
		for range 4 {
			breaks()
		}
		r.wake(true)
		r.is(Stream)
		r.hello()
		r.late()
		r.silentAfter()
		breaks()
		if !r.up {
			t.Error("the ladder is not up")
		}
	})
}

// TestLadderAskedByOthers: the client waits as long as a proxy asks, and judges the proxy as if it had not asked.
func TestLadderAskedByOthers(t *testing.T) {
	wait := ending{kind: endForeign, after: 8 * time.Second}
	least, most := 8*time.Second, 10*time.Second
	bubble(t, func(t *testing.T, r *rig) {
		r.is(Stream)
		r.hello()
		r.cut(20 * time.Second)
		for range 2 {
			r.is(Stream)
			r.ends(10*time.Millisecond, wait)
			r.waits(least, most)
			if r.up {
				t.Error("the ladder counts as up, while nothing can come")
			}
		}
		r.is(Poll, 0) // refused twice
		r.ends(10*time.Millisecond, wait)
		r.waits(least, most)
		r.is(Stream) // with a stream, too
		if r.saved != (verdict{}) {
			t.Errorf("the ladder remembers %+v", r.saved)
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		r.buffered()
		r.is(Poll, longestWait)
		r.ends(10*time.Millisecond, wait)
		r.waits(least, most)
		if r.up {
			t.Error("the ladder counts as up, while nothing can come")
		}
		r.is(Poll, 0)
		r.page(50 * time.Millisecond)
		r.chance = 0.999
		for range 9 {
			r.begin()
			r.cut(time.Millisecond)
		}
		r.begin()
		r.ends(time.Millisecond, wait)
		r.waits(20*time.Second, 30*time.Second) // not sooner than if the proxy had not asked
	})
}
